"""Every family computes the right thing on real memory: any form that it takes, and nothing but D is written."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tilewright.benchmarks.checked import elements_wrong
from tilewright.benchmarks.drawn import all_alike
from tilewright.kernels.config import Config
from tilewright.kernels.epilogue import OPERANDS, steps_of
from tilewright.kernels.families import FAMILIES, heights
from tilewright.kernels.family import Call, Family
from tilewright.kernels.operands import Operands, call, current_device, poisoned, random_operands, torch_dtype
from tilewright.kernels.problem import DTYPES, LAYOUTS, Problem
from tilewright.kernels.scratch import Scratch
from tilewright.tuner.evaluate.check import compare, reference

pytestmark = pytest.mark.gpu

OURS = sorted(name for name, family in FAMILIES.items() if family.axes)
TMA = (
    "descriptor", "swapped", "warp_specialized", "mixed_tiles", "swapped_tiles", "shared_tiles", "half_by_half",
    "clustered",
)  # fmt: skip
ON_GPU = sorted(name for name, family in FAMILIES.items() if family.runs_on == "gpu")
# Whole tiles, ragged ones, one row, tiny, a long sum, many tiles of a short one for each program that stays.
SHAPES = (
    (256, 256, 256), (200, 328, 264), (197, 331, 259), (1, 512, 1024), (3, 5, 7), (16, 64, 65536), (13, 96, 40),
    (200, 328, 16392), (3000, 2008, 72),
)  # fmt: skip
EPILOGUES = (
    "", "scale", "row_scale", "column_scale", "bias", "relu", "gelu", "gelu_tanh", "silu", "up", "residual",
    "bias+gelu", "bias+residual", "silu+up", "scale+bias+silu+residual", "scale+bias+gelu_tanh+up+residual",
)  # fmt: skip
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
}
FORMS = ("dense", "padded", "offset", "spread", "repeated")
ONE_BYTE = tuple(dtype for dtype in DTYPES if DTYPES[dtype].bytes == 1)
TAKEN = {"half_by_half": "gelu"}  # of a family that is for some epilogues alone, one of them without an operand
CASES = 20  # a family; each compiles for half a second
SENTENCE = re.compile(r"[ABD] .{10,}: .{10,}")


def matrix(rows: int, columns: int, transposed: bool, *, dtype: torch.dtype, form: str) -> torch.Tensor:
    """A standard normal matrix in a form: padded rows, an odd start, no unit stride, or one row repeated."""
    if transposed:
        return matrix(columns, rows, False, dtype=dtype, form=form).T
    made = torch.randn((rows + 2, 2 * columns + 32), device="cuda").to(dtype)
    if form == "repeated":
        return made[1:2, :columns].expand(rows, columns)
    if form == "spread":
        return made[1 : rows + 1, 3 : 3 + 2 * columns : 2]
    if form == "dense":
        return made[1 : rows + 1, :columns].contiguous()
    first = 1 if form == "offset" else 16
    return made[1 : rows + 1, first : first + columns]


def surrounded(problem: Problem, form: str) -> tuple[torch.Tensor, torch.Tensor]:
    """D, and the larger memory of NaN that it lies in."""
    size = (problem.m + 4, 2 * problem.n + 48)
    around = torch.full(size, float("nan"), dtype=torch_dtype(problem.out_dtype), device="cuda")
    first, step = {"offset": (17, 1), "spread": (16, 2)}.get(form, (16, 1))
    return around[2 : 2 + problem.m, first : first + step * problem.n : step], around


def draw(chance: random.Random, family: Family) -> tuple[Problem, Config]:
    """A problem that the family has a space for, and a point of it."""
    while True:
        epilogue = TAKEN.get(family.name, "")
        forms = chance.choice(tuple(DTYPES)), chance.choice(LAYOUTS)
        problem = Problem(*chance.choice(SHAPES), *forms, epilogue=epilogue)
        space = family.space(problem, current_device())
        if len(space):
            return problem, chance.choice(list(space))


def assert_right(family: Family, wanted: Call, config: Config, around: torch.Tensor) -> None:
    given = Operands(wanted.a, wanted.b, wanted.d, **{name: getattr(wanted, name) for name in OPERANDS})
    launch = family.bind(wanted, config)
    launch()
    torch.cuda.synchronize()
    found = wanted.d.clone()
    against = reference(wanted.problem, given)
    wrong = elements_wrong(found, against)
    assert not wrong, f"{config}: {wrong} elements are wrong: {compare(found, against)}"
    for _ in range(3):
        wanted.d.fill_(float("nan"))
        launch()
        assert torch.equal(found, wanted.d), f"{config} on {wanted.problem}: a repeat differs"
    wanted.d.fill_(float("nan"))
    assert around.isnan().all(), f"{config} on {wanted.problem} wrote beside D"


@pytest.mark.parametrize("name", OURS)
def test_random_problems_forms_and_configs(name: str) -> None:
    family, chance, device = FAMILIES[name], random.Random(name), current_device()
    torch.manual_seed(1)
    scratch, served = Scratch("cuda"), 0
    for case in range(CASES):
        problem, config = draw(chance, family)
        dtype, form = torch_dtype(problem.dtype), FORMS[case % len(FORMS)]
        form_b = "offset" if all_alike(problem, (form, form)) else form
        a = matrix(problem.m, problem.k, problem.a_transposed, dtype=dtype, form=form)
        b = matrix(problem.k, problem.n, problem.b_transposed, dtype=dtype, form=form_b)
        d, around = surrounded(problem, form)
        wanted = call(problem, device, Operands(a, b, d), scratch)
        refused = family.refuses(wanted, config)
        if refused:
            assert SENTENCE.fullmatch(refused), refused
            continue
        assert_right(family, wanted, config, around)
        served += 1
    assert served == CASES if name not in TMA else served >= CASES // len(FORMS)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [72, 1032])
def test_tiles_of_both_heights(k: int, layout: str) -> None:
    """Several rounds of them, with fewer steps than stages and with more."""
    family, device, problem = FAMILIES["mixed_tiles"], current_device(), Problem(3000, 3080, k, layout=layout)
    space = family.space(problem, device)
    if not len(space):
        pytest.skip("the family is for sm_90 alone")
    scratch, dtype = Scratch("cuda"), torch_dtype(problem.dtype)
    a = matrix(3000, k, problem.a_transposed, dtype=dtype, form="padded")
    b = matrix(k, 3080, problem.b_transposed, dtype=dtype, form="padded")
    both = 0
    for block_m, block_n in ((192, 256), (128, 256), (192, 128), (128, 128)):
        config = next(one for one in space if (one["block_m"], one["block_n"]) == (block_m, block_n))
        tall = heights.tall_rows(problem, device, config)
        both += tall > 0 and heights.short_rows(problem.m, block_m, tall) > 0
        d, around = surrounded(problem, "padded")
        assert_right(family, call(problem, device, Operands(a, b, d), scratch), config, around)
    assert both, "on so many multiprocessors another shape has to be found"


@pytest.mark.parametrize(
    ("layout", "epilogue"),
    [
        *((layout, "bias+gelu") for layout in LAYOUTS),
        *(("nt", "silu+up"), ("tt", "silu+up"), ("nt", "scale+bias+silu+residual")),
    ],
)
def test_halves_of_tiles(layout: str, epilogue: str) -> None:
    """Several rounds of tiles, with as few steps as may be and with more; D in 16 bits and in 32."""
    family, device, generator = FAMILIES["half_by_half"], current_device(), torch.Generator("cuda").manual_seed(6)
    served = 0
    for k, out_dtype, halved, block_n in (
        (264, "bf16", 2, 256), (1032, "bf16", 4, 256), (1032, "bf16", 3, 128), (1032, "fp32", 4, 128)
    ):  # fmt: skip
        problem = Problem(3000, 3080, k, layout=layout, out_dtype=out_dtype, epilogue=epilogue)
        fitting = [one for one in family.space(problem, device) if (one["halved"], one["block_n"]) == (halved, block_n)]
        for config in fitting[-1:]:
            d, around = surrounded(problem, "padded")
            given = replace(random_operands(problem, generator), d=d)
            assert_right(family, call(problem, device, given, Scratch("cuda")), config, around)
            served += 1
    if not served:
        assert device.arch != "sm90"
        pytest.skip("the family is for sm_90 alone")


@pytest.mark.parametrize("k", [8, 72, 264])
def test_halves_of_tiles_of_a_shorter_k_than_they_are_for(k: int) -> None:
    """As the companion of a problem is, which the same machine code serves."""
    family, device, generator = FAMILIES["half_by_half"], current_device(), torch.Generator("cuda").manual_seed(8)
    if not family.space(Problem(512, 512, 4096, epilogue="gelu"), device):
        pytest.skip("the family is for sm_90 alone")
    problem = Problem(3000, 3080, k, epilogue="bias+gelu")
    for config in family.defaults(problem, device):
        d, around = surrounded(problem, "padded")
        given = replace(random_operands(problem, generator), d=d)
        assert_right(family, call(problem, device, given, Scratch("cuda")), config, around)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("out_dtype", ["bf16", "fp32"])
def test_tiles_that_lie_on_their_side(out_dtype: str, layout: str) -> None:
    """Of both heights, in several rounds; the epilogue's operands by row and by column."""
    family, device, generator = FAMILIES["swapped_tiles"], current_device(), torch.Generator("cuda").manual_seed(9)
    epilogue = "row_scale+column_scale+bias+residual"
    problem = Problem(1000, 6200, 520, layout=layout, out_dtype=out_dtype, epilogue=epilogue)
    space = family.space(problem, device)
    if not len(space):
        pytest.skip("the family is for sm_90 alone")
    for block_m, block_n in ((128, 192), (256, 192), (128, 128), (256, 128)):
        config = [one for one in space if (one["block_m"], one["block_n"]) == (block_m, block_n)][-1]
        d, around = surrounded(problem, "padded")
        given = replace(random_operands(problem, generator), d=d)
        given = replace(
            given, residual=torch.empty_strided(d.shape, d.stride(), dtype=d.dtype, device="cuda").normal_()
        )
        assert_right(family, call(problem, device, given, Scratch("cuda")), config, around)


@pytest.mark.parametrize("name", TMA)
@pytest.mark.parametrize("form", ["offset", "spread", "repeated"])
def test_tma_refuses_in_a_sentence(form: str, name: str) -> None:
    problem, family = Problem(128, 128, 128), FAMILIES[name]
    a = matrix(128, 128, False, dtype=torch.bfloat16, form=form)
    b = matrix(128, 128, True, dtype=torch.bfloat16, form="dense")
    d, _ = surrounded(problem, "dense")
    config = family.defaults(problem, current_device())[0]
    assert SENTENCE.fullmatch(
        family.refuses(call(problem, current_device(), Operands(a, b, d), Scratch("cuda")), config)
    )


@pytest.mark.parametrize("name", ON_GPU)
def test_replayed_graph_gives_the_same_bits(name: str) -> None:
    problem = Problem(128, 512, 1024, epilogue=TAKEN.get(name, ""))
    family, device = FAMILIES[name], current_device()
    operands = random_operands(problem, torch.Generator("cuda").manual_seed(2))
    launch = family.bind(call(problem, device, operands, Scratch("cuda")), family.defaults(problem, device)[0])
    launch()
    direct = operands.d.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launch()
    operands.d.fill_(float("nan"))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(direct, operands.d)


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("name", ON_GPU)
def test_an_epilogue_is_right_and_no_less_accurate_than_its_steps_one_by_one(name: str, epilogue: str) -> None:
    family, device, generator = FAMILIES[name], current_device(), torch.Generator("cuda").manual_seed(3)
    served = 0
    for shape, dtype in itertools.product(
        ((200, 328, 520), (197, 331, 259), (16, 512, 4096), (200, 328, 16392)), ("bf16", "fp16", "tf32")
    ):
        problem = Problem(*shape, dtype, epilogue=epilogue)
        space = family.space(problem, device)
        given = random_operands(problem, generator)
        unfused = replace(given, d=poisoned(problem, generator.device))
        against = reference(problem, given)
        FAMILIES["cublas"].bind(call(problem, device, unfused, Scratch("cuda")), Config.of("cublas"))()
        allowed = max(1.0, compare(unfused.d, against).error)
        for config in family.defaults(problem, device):
            if config in space:
                family.bind(call(problem, device, given, Scratch("cuda")), config)()
                check = compare(given.d, against)
                assert check.error <= allowed, f"{config}: {check}; one by one the error is {allowed:.3g}"
                served += 1
    soon_done = not set(steps_of(epilogue)) & {*ACTIVATIONS, "up", "residual"}
    one_product = name in ("split_k", "swapped", "swapped_tiles", "shared_tiles", "clustered")
    assert served or (one_product and "up" in epilogue) or (name == "half_by_half" and soon_done)


@pytest.mark.parametrize("dtype", ONE_BYTE)
@pytest.mark.parametrize("name", [name for name in ON_GPU if name != "half_by_half"])
def test_operands_of_one_byte_that_use_their_range(name: str, dtype: str) -> None:
    """Long sums too: what the tensor cores cut off grows with k."""
    family, device, generator = FAMILIES[name], current_device(), torch.Generator("cuda").manual_seed(4)
    served = 0
    shapes = ((208, 336, 272), (1, 512, 1024), (72, 512, 65536), (512, 1024, 8192))
    for shape, epilogue in itertools.product(shapes, ("", "scale", "row_scale+column_scale", "row_scale+bias+gelu")):
        if family.is_library and dtype == "int8" and "bias" in epilogue:
            continue  # it rounds each step into D: what a bias cancels leaves that beside almost nothing
        problem = Problem(*shape, dtype, epilogue=epilogue)
        space = family.space(problem, device)
        given = random_operands(problem, generator)
        against = reference(problem, given)
        for config in family.defaults(problem, device):
            if config in space:
                given.d.fill_(float("nan"))
                family.bind(call(problem, device, given, Scratch("cuda")), config)()
                check = compare(given.d, against)
                assert check.error <= (2.0 if family.is_library else 1.0), f"{config}: {check}"
                served += 1
    unpromoted = name in ("mixed_tiles", "swapped_tiles", "shared_tiles") and dtype in ("e4m3", "e5m2")
    assert served or unpromoted or (name, dtype) == ("cublas", "e5m2")


@pytest.mark.parametrize("out_dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("name", OURS)
def test_an_activation_is_as_exact_as_torch_all_along_the_line(name: str, out_dtype: str) -> None:
    """A is 0 and the bias the argument: what is lost is the activation's own error and one rounding."""
    family, device, dtype = FAMILIES[name], current_device(), "fp16" if out_dtype == "fp16" else "bf16"
    ends = torch.tensor([0.0, -0.0, 88.0, -88.0, 3e4, -3e4, 1e-7, torch.inf, -torch.inf, torch.nan], device="cuda")
    line = torch.cat([torch.linspace(-8, 8, 4096 - len(ends), device="cuda"), ends])
    for activation, in_torch in ACTIVATIONS.items():
        problem = Problem(128, 4096, 16384, dtype, out_dtype=out_dtype, epilogue=f"bias+{activation}")
        given = random_operands(problem, torch.Generator("cuda").manual_seed(4))
        assert given.bias is not None
        given.a.zero_()
        given.bias.copy_(line)
        space = family.space(problem, device)
        config = next(one for one in (*family.defaults(problem, device), *space) if one in space)
        family.bind(call(problem, device, given, Scratch("cuda")), config)()
        wide = in_torch(given.bias.double())
        theirs = in_torch(given.bias)
        assert torch.equal(given.d[7].isnan(), theirs.isnan())
        finite = wide.isfinite()
        error, allowed = ((one.double() - wide)[finite].abs() for one in (given.d[7], theirs))
        unit = wide[finite].abs() * DTYPES[out_dtype].epsilon + 1e-6
        assert float((error / unit).max()) <= max(2.0, float((allowed / unit).max())), activation
