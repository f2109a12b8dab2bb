"""Every family compiles for several GPUs without one, to the shared memory that its constraint predicts."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import triton

from tilewright.kernels import fused
from tilewright.kernels.access import Accesses
from tilewright.kernels.config import Config
from tilewright.kernels.device import Device, nominal
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.families.assembly import MAPS
from tilewright.kernels.families.clustered_limits import form_of
from tilewright.kernels.families.limits import result_bytes
from tilewright.kernels.family import Family
from tilewright.kernels.problem import DTYPES, LAYOUTS, Problem
from tilewright.tuner.evaluate.compiler import Built, Job, compile_all

PTXAS: Final = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
INSTRUCTION: Final = re.compile(r"setmaxnreg\.dec|wgmma\.mma_async|cp\.async\.bulk\.tensor")
LONG: Final = 1 << 15  # a k that every family takes; it is not compiled in
SHAPES: Final = (
    (4096, 4096, 4096),
    (1, 4096, 4096),
    (197, 331, 259),
    (128, 4096, 1000),
    (255, 512, LONG),
    (16, 77, 4096),
)
ONE_BYTE: Final = (
    ("e4m3", "nt"), ("e4m3", "nn"), ("e5m2", "nt"), ("e4m3fast", "nt"), ("int8", "nt"), ("int8", "tn")
)  # fmt: skip
TAKEN: Final = {"half_by_half": "bias+gelu"}  # of a family that is for some epilogues alone, one of them
KERNELS: Final = {name: family for name, family in FAMILIES.items() if not family.is_library}
TARGETS: Final = [
    (arch, name)
    for arch in ("sm80", "sm90", "sm100")
    for name, family in KERNELS.items()
    if family.space(Problem(256, 256, LONG, epilogue=TAKEN.get(name, "")), nominal(arch))
]
FUSED: Final = ("bias+gelu", "scale+bias+silu+residual", "silu+up")
# Where no row is on 16 bytes, each element of a tile has an address in registers. split_k's tile of 64 x 64 in steps of
# 128 needs a few too many under Triton 3.6, and tiled's of 128 x 128 needs two under 3.7.
SPILLED_BYTES_WHEN_RAGGED: Final = 72


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compilation cache of this test's own: what is found in it was compiled here."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    return tmp_path


def problems(number: int, epilogue: str) -> Iterator[Problem]:
    """One for each dtype and layout, in shapes that go round; `number` shifts them. Of one byte, less."""
    wide = itertools.product((dtype for dtype in DTYPES if DTYPES[dtype].bytes > 1), LAYOUTS)
    for index, (dtype, layout) in enumerate((*wide, *ONE_BYTE)):
        m, n, k = SHAPES[(index + number) % len(SHAPES)]
        yield Problem(m, n, k, dtype, layout, ("", "fp32")[index % 3 == 0], epilogue)


def tried(family: Family, device: Device, problem: Problem, chance: random.Random, count: int) -> list[Config]:
    """Some of the valid configs of a problem, drawn, and its first default."""
    space = family.space(problem, device)
    valid = list(space)
    drawn = chance.sample(valid, min(count, len(valid)))
    return list(dict.fromkeys((*drawn, *(one for one in family.defaults(problem, device)[:1] if one in space))))


def deviation(built: Built, device: Device) -> str:
    """How a compiled config is not as it should be; empty when it is.

    The tile of D leaves through the memory of the loads. Where that is smaller, the compiler may take as much as the
    tile: in the dtype of D, or in fp32 where partial sums are exchanged.
    """
    problem, config = built.job.problem, built.job.config
    where = f"{problem} {config}"
    if built.reason or built.resources is None:
        return f"{where}: {built.reason}"
    limit = next(one for one in FAMILIES[config.family].constraints if one.name == "shared_memory")
    predicted, compiled = limit.amount(problem, device, config), built.resources.shared_memory_bytes
    tile = result_bytes(problem, config)
    if "split" in config:
        tile = 4 * config.number("block_m") * config.number("block_n")
    if predicted == compiled or predicted < compiled <= tile:
        return ""
    if DTYPES[problem.dtype].bytes == 1 and compiled < predicted:
        return ""  # through registers to where the tensor cores want it, the ring of one operand or of both gone
    return f"{where}: {compiled} bytes of shared memory; predicted are {predicted:g}, and the tile of D takes {tile}"


@pytest.mark.parametrize(("arch", "name"), TARGETS)
def test_a_sample_compiles_as_predicted(arch: str, name: str) -> None:
    family, device = FAMILIES[name], nominal(arch)
    chance = random.Random(f"{arch} {name}")

    def few(problem: Problem) -> list[Config]:
        """What was drawn, and the default where it is compiled soon and for what is tuned most."""
        return tried(family, device, problem, chance, 1)[
            : 1 if DTYPES[problem.dtype].bytes == 4 or arch != "sm90" else 2
        ]

    every = 1 if arch == "sm90" else 3  # of others, that are not tuned, every third: dtypes and layouts take turns
    jobs = [
        Job(problem, config)
        for problem in itertools.islice(problems(chance.randrange(len(SHAPES)), TAKEN.get(name, "")), None, None, every)
        for config in few(problem)
    ]
    assert [text for built in compile_all(device, jobs) if (text := deviation(built, device))] == []


@pytest.mark.parametrize("name", KERNELS)
def test_an_epilogue_compiles_without_spills_and_within_the_predicted_memory(name: str) -> None:
    family, device = FAMILIES[name], nominal("sm90")
    limit = next(one for one in family.constraints if one.name == "shared_memory")
    one_product = fused.ONE_PRODUCT in family.constraints
    m = {"split_k": 64, "swapped": 64, "swapped_tiles": 512, "shared_tiles": 512}.get(name, 4096)
    problems = [Problem(m, 4096, LONG, epilogue=epilogue) for epilogue in FUSED]
    problems += [
        Problem(m, 4096, LONG, dtype, epilogue="row_scale+column_scale") for dtype in ("e4m3", "e4m3fast", "int8")
    ]
    problems = [one for one in problems if len(family.space(one, device))]
    jobs = [
        Job(problem, config)
        for problem in problems
        for config in family.defaults(problem, device)[:1]
        if config in family.space(problem, device)
    ]
    scaled = 0 if name == "half_by_half" else 2  # its operands are of 16 bits, and scales alone are soon applied
    assert len(jobs) == len(problems) >= len(FUSED) + scaled - one_product
    for built in compile_all(device, jobs):
        problem, config = built.job.problem, built.job.config
        assert built.resources is not None, built.reason
        predicted = max(limit.amount(problem, device, config), result_bytes(problem, config))
        assert built.resources.shared_memory_bytes <= predicted
        assert built.resources.spill_bytes == 0, f"{problem} {config}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("arch", "name"), TARGETS)
def test_a_large_sample_compiles_as_predicted(arch: str, name: str) -> None:
    family, device = FAMILIES[name], nominal(arch)
    chance = random.Random(f"{arch} {name} large")
    jobs = [
        Job(problem, config)
        for number in range(len(SHAPES))
        for problem in problems(number, TAKEN.get(name, ""))
        for config in tried(family, device, problem, chance, 1)
    ]
    assert [text for built in compile_all(device, jobs) if (text := deviation(built, device))] == []


@pytest.mark.parametrize("name", KERNELS)
def test_no_default_spills(name: str) -> None:
    """On sm90, in bf16; hardly, where operands are loaded element by element."""
    family, device = FAMILIES[name], nominal("sm90")
    m = {"swapped_tiles": 512, "shared_tiles": 512}.get(name, 4096)
    jobs = [
        Job(problem, config)
        for shape, layout in (((m, 4096, LONG), "nt"), ((1, 4096, 4096), "nn"), ((197, 331, 259), "nt"))
        for problem in [Problem(*shape, layout=layout, epilogue=TAKEN.get(name, ""))]
        for config in family.defaults(problem, device)
        if config in family.space(problem, device)
    ]
    built = compile_all(device, jobs)
    assert len(built) > 1
    for one in built:
        assert one.resources is not None, one.reason
        aligned = one.job.problem.k % 8 == 0
        assert one.resources.spill_bytes <= (0 if aligned else SPILLED_BYTES_WHEN_RAGGED), one


@pytest.mark.parametrize(
    ("name", "layout", "epilogue"),
    [
        *((name, layout, "") for name in ("warp_specialized", "mixed_tiles") for layout in LAYOUTS),
        *((name, "nt", one) for name in ("warp_specialized", "mixed_tiles") for one in FUSED),
        *(("swapped_tiles", *one) for one in (("nt", ""), ("nn", ""), ("nt", "scale+bias+silu+residual"))),
        *(("shared_tiles", *one) for one in (("nn", ""), ("nt", "scale+bias+silu+residual"))),
        *(("half_by_half", *one) for one in (("nt", "bias+gelu"), ("nt", "silu+up"))),
        *(("clustered", *one) for one in (("tn", ""), ("nt", "scale+bias+silu+residual"), ("nt", "row_scale"))),
    ],
)
def test_warp_groups_multiply_asynchronously(name: str, layout: str, epilogue: str, cache: Path) -> None:
    """Where ptxas cannot follow the registers it waits after each multiplication, at half the speed, and says so. With
    `row_scale` of fp8, whose sums are promoted."""
    family, device = FAMILIES[name], nominal("sm90")
    dtype = {"row_scale": "e4m3"}.get(epilogue, "bf16")
    problem = Problem(1024, 4096, LONG, dtype, layout, epilogue=epilogue, out_dtype="bf16")
    space = family.space(problem, device)
    others = {"half_by_half": {"block_n": 256, "halved": 2}, "swapped_tiles": {"block_m": 128, "block_n": 128}}
    others["shared_tiles"] = {"block_m": 192, "block_n": 128, "store_slices": 2}
    others["clustered"] = {"block_m": 128, "block_n": 160, "cluster_m": 2, "in_flight": 1}
    if dtype == "e4m3":
        others["clustered"]["block_n"] = 112
    other = others.get(name, {"block_m": 192, "block_n": 128})
    second = next(config for config in space if all(config[axis] == value for axis, value in other.items()))
    built = compile_all(device, [Job(problem, config) for config in (family.defaults(problem, device)[0], second)])
    assert [one.resources.spill_bytes if one.resources else one.reason for one in built] == [0, 0]
    found = list(cache.rglob("*.ptx"))
    assert len(found) == 2
    for ptx in found:
        assert {"setmaxnreg.dec", "wgmma.mma_async", "cp.async.bulk.tensor"} <= set(
            INSTRUCTION.findall(ptx.read_text())
        )
        said = subprocess.run(
            [PTXAS, "-v", "--gpu-name=sm_90a", ptx, "-o", cache / "again.cubin"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert "registers" in said.stderr
        assert "serialized" not in said.stderr


@pytest.mark.parametrize("epilogue", ["", "scale+bias+silu+residual"])
@pytest.mark.parametrize(("block_m", "block_n"), [(64, 208), (128, 256)])
def test_nothing_else_lies_where_clustered_addresses_memory_by_number(
    block_m: int, block_n: int, epilogue: str, cache: Path
) -> None:
    """Its ring with the barriers is at the beginning and alive to the end; its first two parameters are tensor maps."""
    family, device = FAMILIES["clustered"], nominal("sm90")
    problem = Problem(1024, 4096, 4096, out_dtype="fp32", epilogue=epilogue)
    wanted = ("block_m", block_m), ("block_n", block_n), ("cluster_m", 2)
    config = next(one for one in family.space(problem, device) if set(wanted) <= set(one.items()))
    (built,) = compile_all(device, [Job(problem, config)])
    assert deviation(built, device) == ""
    (text,) = (path.read_text() for path in cache.rglob("*.llir"))
    used = [int(offset or 0) for offset in re.findall(r"@global_smem(?! =)(?:, i32 (\d+))?", text)]
    form = form_of(problem, device, config)
    assert built.resources is not None
    assert len(used) > 10
    assert form.stages * (form.stage_bytes + 16) <= min(used)
    assert max(used) < built.resources.shared_memory_bytes
    (text,) = (path.read_text() for path in cache.rglob("*.ptx"))
    maps = re.findall(r"\.param \.align 64 \.b8 clustered_kernel_param_(\d+)\[128\]", text)
    assert [int(at) for at in maps[:2]] == [*MAPS.values()]


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_binary_serves_every_shape(name: str, layout: str, dtype: str) -> None:
    """Of an alignment: only whether the extent that a matrix is stored along fills 16-byte vectors is compiled in."""
    family, device = FAMILIES[name], nominal("sm90")
    assert family.binary is not None
    # Extents that no matrix is stored along do not count: m, where A is stored in rows, n never, k where neither is.
    any_m = (1, 16, 17, 4096) if layout[0] == "n" else (16, 512, 4096)
    any_k = (16, 512, 4096) if layout != "tn" else (1, 16, 513)
    keys = set()
    for m, n, k in itertools.product(any_m, (16, 528, 8192), any_k):
        problem = Problem(m, n, k, dtype, layout, epilogue=TAKEN.get(name, ""))
        for config in run_time_variants(family):
            keys.add(family.binary(problem, device, config, Accesses.dense(problem)).key)
    assert len(keys) == (2 if "programs_per_sm" in {axis.name for axis in family.axes} else 1)


def run_time_variants(family: Family) -> Iterator[Config]:
    """Configs that differ in nothing that is compiled in, but for whether programs stay."""
    run_time = {"group_m", "group_n", "split", "programs_per_sm"} - (
        {"split"} if family.name == "shared_tiles" else set()
    )
    for values in itertools.product(
        *(axis.values if axis.name in run_time else axis.values[-1:] for axis in family.axes)
    ):
        yield Config.of(family.name, dict(zip((axis.name for axis in family.axes), values, strict=True)))


@pytest.mark.parametrize("name", KERNELS)
def test_what_is_not_aligned_is_compiled_anew(name: str) -> None:
    """And for each dtype and layout: else one kernel would be launched on another one's memory."""
    family, device = FAMILIES[name], nominal("sm90")
    assert family.binary is not None
    config = next(run_time_variants(family))
    taken = TAKEN.get(name, "")
    every = [Problem(512, 512, 1024, dtype, layout, epilogue=taken) for dtype in DTYPES for layout in LAYOUTS]
    different = [problem for problem in every if len(family.space(problem, device))]
    keys = {family.binary(problem, device, config, Accesses.dense(problem)).key for problem in different}
    assert len(keys) == len(different)
    if family.space(Problem(512, 512, 513, epilogue=taken), device):  # it takes such memory at all
        ragged = Problem(512, 512, 513, epilogue=taken)
        aligned = Accesses.dense(Problem(512, 512, 512))
        assert family.binary(ragged, device, config, Accesses.dense(ragged)).key not in keys
        assert family.binary(ragged, device, config, aligned).key in keys


def test_one_row_needs_no_compilation_of_its_own(cache: Path) -> None:
    """Triton would compile in that an integer is 1: 95 s in place of 2 s were seen for a decode shape."""
    device = nominal("sm90")
    one = {name: Problem(1, 512, 512, epilogue=TAKEN.get(name, "")) for name in KERNELS}
    first = [config for name, family in KERNELS.items() for config in family.defaults(one[name], device)[:1]]
    compile_all(device, [Job(replace(one[config.family], m=4096), config) for config in first])
    before = sorted(path.name for path in cache.rglob("*.cubin"))
    assert len(before) == len(KERNELS)
    built = compile_all(device, [Job(one[config.family], config) for config in first])
    assert [one.reason for one in built] == [""] * len(KERNELS)
    assert sorted(path.name for path in cache.rglob("*.cubin")) == before


KEYS: Final = """
import sys
from tilewright.kernels.access import Accesses
from tilewright.kernels.binary import settle_key
from tilewright.kernels.device import nominal
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.problem import Problem

for name in sys.argv[1:]:
    problem, device = Problem(256, 256, 1 << 15, epilogue="bias+gelu"), nominal("sm90")
    config = next(iter(FAMILIES[name].space(problem, device)))
    kernel = FAMILIES[name].binary(problem, device, config, Accesses.dense(problem)).kernel
    settle_key(kernel)
    print(name, kernel.cache_key)
"""


def test_one_process_finds_what_another_has_compiled() -> None:
    """Whatever either of them compiled before: else who measures compiles again, and the GPU waits."""
    names = list(KERNELS)
    keys = [
        sorted(
            subprocess.run(
                [sys.executable, "-P", "-c", KEYS, *order], capture_output=True, text=True, timeout=60, check=True
            ).stdout.splitlines()
        )
        for order in (names, names[::-1])
    ]
    assert len(keys[0]) == len(names)
    assert keys[0] == keys[1]
