"""`clustered`: which of its configs are no use, and what a launch is told that Triton does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import torch

from tilewright.kernels.access import Accesses
from tilewright.kernels.binary import compile_binary
from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.families.clustered_limits import BUFFERS, FEWEST_STAGES, MOST_STAGES, form_of, shared_memory
from tilewright.kernels.families.form import ROWS, SWIZZLES
from tilewright.kernels.launch import Bound
from tilewright.kernels.operands import call, random_operands
from tilewright.kernels.problem import Problem
from tilewright.kernels.scratch import Scratch

SM90: Final = nominal("sm90")
CLUSTERED: Final = FAMILIES["clustered"]
VALID: Final = Config.of(
    "clustered", block_m=128, block_n=80, block_k=64, group_m=8, cluster_m=2, cluster_n=1, in_flight=1
)
LARGE: Final = Problem(512, 5120, 5120)
INT8: Final = replace(LARGE, dtype="int8", out_dtype="bf16")
E4M3: Final = replace(LARGE, dtype="e4m3", out_dtype="bf16")
COLUMNS: Final = replace(LARGE, layout="tn")  # neither operand is K-major
# As the CUDA driver API numbers them (CUtensorMapSwizzle), and a matrix descriptor of wgmma the other way round.
TMA_SWIZZLES: Final = {128: 3, 64: 2, 32: 1}


def valid(problem: Problem, **axes: int) -> Config:
    """The first config with these values."""
    found = CLUSTERED.space(problem, SM90)
    return next(config for config in found if all(config[name] == value for name, value in axes.items()))


@pytest.mark.parametrize(
    ("problem", "changes", "constraint"),
    [
        (LARGE, {}, None),
        (LARGE, {"block_n": 256, "block_k": 128}, "shared_memory"),
        (LARGE, {"cluster_n": 2}, "cluster"),
        (LARGE, {"cluster_m": 1, "cluster_n": 2}, None),
        (replace(LARGE, m=128), {"group_m": 1}, "cluster"),
        (replace(LARGE, m=128), {"group_m": 1, "cluster_m": 1}, None),
        (replace(LARGE, m=128), {"cluster_m": 1}, "group_m"),
        (replace(LARGE, m=64), {"group_m": 1, "cluster_m": 1}, "block_m"),
        (replace(LARGE, n=80), {"cluster_m": 1, "cluster_n": 2}, "cluster"),
        (replace(LARGE, n=64), {}, "block_n"),
        (LARGE, {"block_k": 256, "block_m": 64, "block_n": 64}, "step_bytes"),
        (INT8, {}, "step_bytes"),
        (INT8, {"block_k": 128}, None),
        (E4M3, {"block_k": 128}, None),
        (E4M3, {"block_k": 128, "block_n": 128}, "accumulator"),
        (E4M3, {"block_k": 128, "in_flight": 0}, None),
        (E4M3, {"block_k": 256, "in_flight": 0}, "promotion"),
        (E4M3, {"block_k": 128, "in_flight": 0, "block_n": 192}, None),
        (E4M3, {"block_k": 128, "in_flight": 0, "block_n": 208}, "accumulator"),
    ],
    ids=str,
)
def test_a_config_is_rejected_for_what_is_wrong_with_it(
    problem: Problem, changes: dict[str, int], constraint: str | None
) -> None:
    rejection = CLUSTERED.space(problem, SM90).rejection(VALID.replace(**changes))
    assert (rejection.constraint if rejection else None) == constraint


@pytest.mark.parametrize("dtype", ["bf16", "e4m3", "int8"])
def test_a_tile_is_given_all_the_stages_that_fit(dtype: str) -> None:
    problem = Problem(512, 5120, 5120, dtype)
    counts = set()
    for config in CLUSTERED.space(problem, SM90):
        form, used = form_of(problem, SM90, config), shared_memory(problem, SM90, config)
        assert used <= SM90.shared_memory_bytes
        assert form.stages == MOST_STAGES or used + form.stage_bytes > SM90.shared_memory_bytes
        counts.add(form.stages)
    assert min(counts) >= FEWEST_STAGES
    assert max(counts) > 8


@pytest.mark.parametrize("dtype", ["bf16", "e4m3", "int8"])
def test_the_ring_is_the_largest_allocation(dtype: str) -> None:
    """It has to be at the beginning of shared memory, and Triton puts the largest there, whatever the order."""
    problem = replace(LARGE, dtype=dtype, out_dtype="fp32")
    for config in CLUSTERED.space(problem, SM90):
        form = form_of(problem, SM90, config)
        assert form.stages * form.stage_bytes > form.consumers * BUFFERS * ROWS * form.width * 4, config


@pytest.mark.parametrize(
    ("problem", "axes", "boxes"),
    [
        (LARGE, {"block_n": 80, "cluster_m": 2}, ((128, 64), (40, 64))),
        (LARGE, {"block_n": 176, "cluster_n": 2}, ((64, 64), (176, 64))),
        (COLUMNS, {"block_n": 96, "cluster_m": 1, "cluster_n": 1}, ((64, 64), (64, 32))),
        (COLUMNS, {"block_n": 80, "cluster_m": 2}, ((64, 64), (32, 16))),
        (INT8, {"block_n": 48, "cluster_m": 2}, ((128, 128), (24, 128))),
    ],
    ids=str,
)
def test_a_launch_is_of_clusters_and_boxes(
    problem: Problem,
    axes: dict[str, int],
    boxes: tuple[tuple[int, int], ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Triton's launcher and ours read them off what was compiled: the programs of a cluster, and each tensor map's box.

    What swizzles a row there has to be what a matrix descriptor says of it.
    """
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    config = valid(problem, block_m=128, block_k=64 if problem.dtype == "bf16" else 128, **axes)
    built = CLUSTERED.binary(problem, SM90, config, Accesses.dense(problem)) if CLUSTERED.binary else None
    assert built is not None
    assert (built.cluster, built.boxes) == (config.number("cluster_m") * config.number("cluster_n"), boxes)
    for _from_cache in (False, True):
        compiled = compile_binary(built, 90)
        warps, cluster, shared_bytes = compiled.packed_metadata
        assert (cluster, shared_bytes) == (built.cluster, compiled.metadata.shared)
        assert warps == 12  # two consumers, and the group that loads
        a, b, d = compiled.metadata.tensordesc_meta
        assert (tuple(a["block_size"]), tuple(b["block_size"])) == boxes
        assert d["block_size"] == [64, min(64, config.number("block_n") & -config.number("block_n"))]
        for one in (a, b):
            row_bytes = one["block_size"][1] * one["elem_size"]
            assert row_bytes in SWIZZLES
            assert one["swizzle"] == TMA_SWIZZLES[row_bytes]


def test_other_kernels_are_launched_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    family, problem = FAMILIES["warp_specialized"], Problem(512, 4096, 4096)
    config = family.defaults(problem, SM90)[0]
    assert family.binary is not None
    built = family.binary(problem, SM90, config, Accesses.dense(problem))
    compiled = compile_binary(built, 90)
    assert compiled.packed_metadata[1] == built.cluster == 1
    assert [one["block_size"] for one in compiled.metadata.tensordesc_meta[:2]] == [[64, 64], [config["block_n"], 64]]


@pytest.mark.parametrize(("m", "across", "programs"), [(512, 1, 14), (512, 2, 14), (64, 2, 8)])
def test_programs_are_whole_clusters(
    m: int, across: int, programs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As many as fit the multiprocessors, of which one is left over here, or as D needs; the last may be beyond D."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    problem, device = Problem(m, 560, 64), replace(SM90, sm_count=15)
    config = valid(problem, block_m=64, block_n=80, cluster_n=across, cluster_m=3 - across)
    operands = random_operands(problem, torch.Generator().manual_seed(0))
    launch = CLUSTERED.bind(call(problem, device, operands, Scratch(torch.device("cpu"))), config)
    assert isinstance(launch, Bound)
    assert launch.grid == (programs, 1, 1)
    assert launch.binary.cluster == 2
