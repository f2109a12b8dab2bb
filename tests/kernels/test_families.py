"""What every family promises, tested for each that is in the table."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from tilewright.kernels import families
from tilewright.kernels.config import Config
from tilewright.kernels.device import ARCHES, Device, nominal
from tilewright.kernels.families import FAMILIES, family, space, tiled, tiles
from tilewright.kernels.family import Family, source_hash
from tilewright.kernels.problem import DTYPES, LAYOUTS, OUT_DTYPES, Problem
from tilewright.tests import faults

KERNELS: Final = [name for name, one in FAMILIES.items() if not one.is_library]
GLUON: Final = ("warp_specialized", "mixed_tiles", "swapped_tiles", "shared_tiles", "half_by_half", "clustered")
TMA: Final = ("descriptor", "swapped", *GLUON)
LEAST_ROWS: Final = dict.fromkeys(GLUON[1:-1], 65)  # of a problem that a family is for
LONG: Final = 1 << 15  # a k that every family takes
EXTENTS: Final = ("block_m", "block_n", "block_k")  # of a tile: read by limits and guesses where there is no choice too
TAKEN: Final = {"half_by_half": "bias+gelu"}  # of a family that is for some epilogues alone, one of them
SM90: Final = nominal("sm90")
HOST: Final = Device("host", "cpu", 8, 0, 32 << 20, 16 << 30)
SHAPES: Final = ((4096, 4096, 4096), (1, 4096, 4096), (16, 6144, 4096), (64, 64, 64), (300, 512, 1000), (3, 1, 5))
PROBLEMS: Final = [
    *(Problem(*shape, dtype, layout) for shape in SHAPES for dtype in DTYPES for layout in LAYOUTS),
    *(Problem(4096, 4096, 4096, epilogue=epilogue) for epilogue in ("bias+gelu", "silu+up")),
]
SENTENCE: Final = re.compile(r"[a-z_]+: [\d.e+]+ [^,]+, [\d.e+]+ over the limit of -?[\d.e+]+ \(.{10,}\)")


def some(name: str, seed: object = 0) -> Iterator[tuple[Problem, Device, Config]]:
    """Points of a family's axes, valid or not, on problems and devices of all kinds."""
    chance = random.Random(f"{name} {seed}")
    devices = [*ARCHES.values(), HOST]
    while True:
        axes = {axis.name: chance.choice(axis.values) for axis in FAMILIES[name].axes}
        shape = chance.choice(
            [
                *SHAPES,
                (0, 4096, 4096),
                (64, 0, 64),
                (64, 64, 0),
                (2**31 - 1, 64, 64),
                (300, 96, 520),
                (500, 1024, 520),
                (900, 9000, LONG),
                (300, 2048, LONG),
            ]
        )
        forms = chance.choice([*DTYPES]), chance.choice(LAYOUTS), chance.choice(["", *OUT_DTYPES])
        problem = Problem(*shape, *forms, chance.choice(["", "", "bias+gelu", "silu+up"]))
        yield problem, chance.choice(devices), Config.of(name, axes)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_called_by_its_key(name: str) -> None:
    assert family(name) is FAMILIES[name]
    assert FAMILIES[name].name == name
    assert FAMILIES[name].summary
    assert FAMILIES[name].runs_on in ("gpu", "cpu")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_library_has_neither_axes_nor_anything_to_compile(name: str) -> None:
    assert FAMILIES[name].is_library == (not FAMILIES[name].axes) == (FAMILIES[name].binary is None)


@pytest.mark.parametrize("name", FAMILIES)
def test_axes_are_in_order_without_a_value_twice(name: str) -> None:
    axes = FAMILIES[name].axes
    assert len({axis.name for axis in axes}) == len(axes)
    for axis in axes:
        assert len(axis.values) > 1 or axis.name in EXTENTS
        assert len(set(axis.values)) == len(axis.values)
        if axis.ordinal:
            assert list(axis.values) == sorted(axis.values)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("device", [*ARCHES.values(), HOST], ids=lambda device: device.arch)
def test_defaults_are_points_of_the_axes(name: str, device: Device) -> None:
    one = FAMILIES[name]
    for problem in PROBLEMS:
        defaults = one.defaults(problem, device)
        assert defaults
        for config in defaults:
            one.space(problem, device).rejection(config)  # raises for one that is no point


@pytest.mark.parametrize("name", FAMILIES)
def test_a_rejection_says_what_is_passed_by_how_much_and_who_says_so(name: str) -> None:
    seen = set()
    for problem, device, config in islice(some(name), 25000):
        rejection = FAMILIES[name].space(problem, device).rejection(config)
        if rejection is not None:
            seen.add(rejection.constraint)
            assert rejection.amount > rejection.limit
            assert SENTENCE.fullmatch(str(rejection)), str(rejection)
    assert seen == {constraint.name for constraint in FAMILIES[name].constraints}, "a constraint that never acts"


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_space_holds_is_what_it_does_not_reject(name: str) -> None:
    for problem, device, config in islice(some(name, "membership"), 200):
        one = FAMILIES[name].space(problem, device)
        assert (config in one) == (one.rejection(config) is None)
    whole = FAMILIES[name].space(Problem(512, 4096, LONG, epilogue=TAKEN.get(name, "")), SM90)
    assert set(whole) == {config for config in whole.product() if config in whole}
    assert len(whole) == len(set(whole))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_is_something_to_try_on_hopper(name: str, layout: str) -> None:
    for shape in ((1, 4096, 4096), (16, 6144, 4096), (256, 4096, LONG)):
        # TMA addresses rows of 16 bytes: a column of one or few rows stored as such is not for it.
        if name in TMA and (layout[0], shape[0]) == ("t", 1):
            continue
        if shape[0] < LEAST_ROWS.get(name, 1):
            continue
        problem = Problem(*shape, layout=layout, epilogue=TAKEN.get(name, ""))
        one = FAMILIES[name].space(problem, SM90)
        assert len(one) > 20
        assert any(config in one for config in FAMILIES[name].defaults(problem, SM90))


@pytest.mark.parametrize(
    ("name", "problem", "device", "constraint"),
    [
        ("descriptor", Problem(512, 512, 512), nominal("sm80"), "arch"),
        ("descriptor", Problem(512, 512, 511), SM90, "alignment"),
        ("descriptor", Problem(512, 512, 512, "fp32"), SM90, "tensor_cores"),
        ("descriptor", Problem(512, 512, 512, "tf32", "nn"), SM90, "tensor_cores"),
        ("warp_specialized", Problem(512, 512, 512), nominal("sm80"), "arch"),
        ("warp_specialized", Problem(512, 512, 512), nominal("sm100"), "arch"),
        ("warp_specialized", Problem(512, 512, 511), SM90, "alignment"),
        ("warp_specialized", Problem(512, 512, 512, "tf32"), SM90, "dtype"),
        ("mixed_tiles", Problem(512, 512, 512), nominal("sm100"), "arch"),
        ("mixed_tiles", Problem(64, 512, 512), SM90, "rows"),
        ("mixed_tiles", Problem(512, 512, 511), SM90, "alignment"),
        ("mixed_tiles", Problem(512, 512, 512, "tf32"), SM90, "dtype"),
        ("swapped_tiles", Problem(512, 512, 512), nominal("sm100"), "arch"),
        ("swapped_tiles", Problem(64, 512, 512), SM90, "block_m"),
        ("swapped_tiles", Problem(512, 64, 512), SM90, "rows"),
        ("swapped_tiles", Problem(2048, 512, 512), SM90, "many_rows"),
        ("swapped_tiles", Problem(512, 512, 511), SM90, "alignment"),
        ("swapped_tiles", Problem(512, 512, 512, epilogue="silu+up"), SM90, "products"),
        ("shared_tiles", Problem(512, 512, 8192), nominal("sm100"), "arch"),
        ("shared_tiles", Problem(64, 512, 8192), SM90, "rows"),
        ("shared_tiles", Problem(512, 512, 8191), SM90, "alignment"),
        ("shared_tiles", Problem(512, 512, 8064), SM90, "split_steps"),
        ("shared_tiles", Problem(4096, 4096, 8192), SM90, "split_programs"),
        ("shared_tiles", Problem(512, 512, 8192, "e4m3"), SM90, "promotion"),
        ("shared_tiles", Problem(512, 512, 8192, epilogue="silu+up"), SM90, "products"),
        ("half_by_half", Problem(512, 512, 512, epilogue="gelu"), nominal("sm100"), "arch"),
        ("half_by_half", Problem(512, 512, 511, epilogue="gelu"), SM90, "alignment"),
        ("half_by_half", Problem(512, 512, 512, "int8", epilogue="silu"), SM90, "dtype"),
        ("half_by_half", Problem(512, 512, 512, "tf32", epilogue="silu"), SM90, "dtype"),
        ("half_by_half", Problem(512, 512, 512), SM90, "epilogue"),
        ("half_by_half", Problem(512, 512, 512, epilogue="scale+bias"), SM90, "epilogue"),
        ("half_by_half", Problem(512, 512, 512, layout="nn", epilogue="silu+up"), SM90, "layout"),
        ("half_by_half", Problem(512, 512, 192, epilogue="residual"), SM90, "halved"),
        ("clustered", Problem(512, 512, 512), nominal("sm80"), "arch"),
        ("clustered", Problem(512, 512, 512), nominal("sm100"), "arch"),
        ("clustered", Problem(512, 512, 511), SM90, "alignment"),
        ("clustered", Problem(512, 512, 512, "tf32"), SM90, "dtype"),
        ("clustered", Problem(512, 512, 512, "e4m3", "nn"), SM90, "dtype"),
        ("clustered", Problem(512, 512, 512, epilogue="silu+up"), SM90, "products"),
        ("split_k", Problem(257, 512, 512), SM90, "rows"),
        ("swapped", Problem(257, 512, 512), SM90, "rows"),
        ("swapped", Problem(16, 512, 512), nominal("sm100"), "arch"),
        ("swapped", Problem(16, 512, 512, "int8", "nn"), SM90, "tensor_cores"),
        ("warp_specialized", Problem(512, 512, 512, "e4m3", "nn"), SM90, "dtype"),
        ("mixed_tiles", Problem(512, 512, 512, "e4m3"), SM90, "promotion"),
        ("descriptor", Problem(512, 512, 512, "int8", "tn"), SM90, "tensor_cores"),
        ("tiled", Problem(512, 512, 512, "e4m3"), nominal("sm80"), "dtype_arch"),
        ("cublas", Problem(512, 512, 512, "e4m3", "nn"), SM90, "one_byte"),
        ("cublas", Problem(512, 512, 512, "e5m2"), SM90, "one_byte"),
        ("cublas", Problem(512, 512, 520, "e4m3"), SM90, "one_byte"),
        ("cublas", Problem(16, 512, 512, "int8"), SM90, "one_byte"),
        ("tiled", Problem(2**31 - 1, 16, 16), SM90, "extent"),
        ("cublas", Problem(16, 16, 16), HOST, "gpu"),
        ("cublas", Problem(16, 16, 16, "fp32", out_dtype="bf16"), SM90, "out_dtype"),
        ("split_k", Problem(16, 256, 256, epilogue="silu+up"), SM90, "products"),
        ("cpu_blas", Problem(16, 16, 16), SM90, "host"),
        ("cpu_blas", Problem(16, 16, 16, "tf32"), HOST, "dtype"),
        *[(name, Problem(*shape), SM90, "extents") for name in KERNELS for shape in ((0, 8, 8), (8, 0, 8), (8, 8, 0))],
    ],
    ids=str,
)
def test_an_empty_space_has_a_reason(name: str, problem: Problem, device: Device, constraint: str) -> None:
    one = FAMILIES[name].space(problem, device)
    assert len(one) == 0
    reasons = {str(one.rejection(config)).split(":")[0] for config in one.product()}
    assert constraint in reasons


@pytest.mark.parametrize("name", KERNELS)
def test_a_gpu_kernel_is_not_for_the_host(name: str) -> None:
    assert len(FAMILIES[name].space(Problem(512, 512, 512), HOST)) == 0


@pytest.mark.parametrize("name", KERNELS)
def test_neighbours_are_valid_and_mutual(name: str) -> None:
    one = FAMILIES[name].space(Problem(256, 4096, LONG, epilogue=TAKEN.get(name, "")), SM90)
    for config in random.Random(name).sample(list(one), 10):
        near = one.neighbours(config)
        assert near
        assert all(other in one and config in one.neighbours(other) for other in near)


@pytest.mark.parametrize("name", KERNELS)
def test_constraints_are_pure(name: str) -> None:
    for problem, device, config in islice(some(name, "pure"), 50):
        first, second = (FAMILIES[name].space(problem, device).rejection(config) for _ in range(2))
        assert first == second


@pytest.mark.parametrize("name", FAMILIES)
def test_the_sources_are_those_that_decide(name: str) -> None:
    sources = FAMILIES[name].sources
    assert all(path.is_file() for path in sources)
    assert any(path.name == f"{name}.py" for path in sources)


def test_the_hash_is_of_every_byte(tmp_path: Path) -> None:
    def written(*texts: str) -> tuple[Path, ...]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        paths = [folder / str(index) for index in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return tuple(paths)

    assert source_hash(written("a", "b")) == source_hash(written("a", "b"))
    assert re.fullmatch("[0-9a-f]{16}", source_hash(written("a")))
    different = [("a", "b"), ("a", "c"), ("b", "a"), ("a",), ("a ",), ("",)]
    assert len({source_hash(written(*texts)) for texts in different}) == len(different)


def test_all_families_make_one_space() -> None:
    problem = Problem(256, 4096, LONG)
    parts = [set(FAMILIES[name].space(problem, SM90)) for name in FAMILIES]
    assert set(space(problem, SM90)) == set().union(*parts)
    assert set(space(problem, SM90, ("split_k",))) == set(FAMILIES["split_k"].space(problem, SM90))


def test_a_family_that_this_triton_cannot_have_says_so() -> None:
    """In a process of its own, in which Gluon's descriptors have gone elsewhere."""
    program = f"""
import sys
sys.modules["triton.experimental.gluon.nvidia.hopper"] = None
from tilewright.kernels.device import nominal
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.problem import Problem
for name in {GLUON}:
    space = FAMILIES[name].space(Problem(512, 512, 512), nominal("sm90"))
    print(len(space), {{str(space.rejection(config)) for config in space.product()}})
"""
    ran = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    told = ran.stdout.splitlines()
    assert len(told) == len(GLUON)
    for line in told:
        count, _, reasons = line.partition(" ")
        assert count == "0"
        assert "toolchain: 1 parts missing, 1 over the limit of 0 (this Triton has no Gluon for Hopper" in reasons


def test_a_parameter_that_nobody_gives_is_told() -> None:
    """Also one with a default: a launch passes every parameter by its place."""
    problem = Problem(512, 512, 512)
    config = FAMILIES["tiled"].defaults(problem, SM90)[0]
    with pytest.raises(ValueError, match=r"tiled_kernel lacks a, b.*: give each parameter a type or a value"):
        tiles.ordered(tiled.tiled_kernel, {}, {}, {}, config)


def test_the_document_has_every_family_with_its_axes() -> None:
    text = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    told = {row[1].strip().strip("`"): tuple(re.findall(r"`(\w+)`", row[4])) for row in rows}
    assert told == {name: tuple(axis.name for axis in one.axes) for name, one in FAMILIES.items()}


def test_an_unknown_family_is_told() -> None:
    with pytest.raises(ValueError, match=r"family 'nonsense' is not known: use one of tiled, .*package\.module:NAME"):
        family("nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        space(Problem(1, 1, 1), SM90, ("nonsense",))


def test_a_family_of_ones_own_is_found_by_its_place() -> None:
    assert family("tilewright.tests.faults:HONEST") is faults.HONEST
    assert len(space(Problem(8, 8, 8), HOST, ("tilewright.tests.faults:HONEST", "cpu_blas"))) == faults.VARIANTS + 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tilewright.tests.nowhere:HONEST", "cannot be imported .*No module named"),
        ("tilewright.tests.faults:NOTHING", "cannot be imported .*has no attribute 'NOTHING'"),
        ("tilewright.tests.faults:MODULE", "is no family of that name"),
        ("tilewright.kernels.families.tiled:FAMILY", "is no family of that name: make it a .*Family named so"),
        (":", "cannot be imported"),
        (".faults:HONEST", "cannot be imported"),
    ],
)
def test_what_is_no_family_is_told(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refusal:
        family(name)
    assert "\n" not in str(refusal.value)
    assert name in str(refusal.value)


def test_the_table_is_of_families_and_cannot_be_changed() -> None:
    assert all(isinstance(one, Family) for one in FAMILIES.values())
    assert {"name", "axes", "constraints", "defaults", "binary", "refuses", "bind"} <= {f.name for f in fields(Family)}
    with pytest.raises(TypeError):
        families.FAMILIES["mine"] = faults.HONEST  # type: ignore[index]
