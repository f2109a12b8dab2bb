"""A check passes what is right and finds what is wrong, whatever the dtype."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tilewright.kernels.access import Accesses
from tilewright.kernels.config import Config
from tilewright.kernels.device import Device
from tilewright.kernels.epilogue import STEPS
from tilewright.kernels.families import FAMILIES
from tilewright.kernels.operands import Operands, call, poisoned, random_operands, torch_dtype
from tilewright.kernels.problem import DTYPES, LAYOUTS, Problem
from tilewright.kernels.scratch import Scratch
from tilewright.tuner.evaluate.check import Reference, compare, ragged_companion, reference, with_library

CPU = torch.device("cpu")


def made(problem: Problem, seed: int = 0) -> tuple[Operands, Reference]:
    generator = torch.Generator("cpu")
    generator.manual_seed(seed)
    operands = random_operands(problem, generator)
    return operands, reference(problem, operands)


def right(against: Reference) -> torch.Tensor:
    """The product as a kernel may leave it: rounded to D's dtype."""
    return against.expected.to(torch_dtype(against.problem.out_dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 64, 4096), (33, 47, 129), (128, 96, 1000)])
def test_what_is_right_passes(shape: tuple[int, int, int], dtype: str, layout: str) -> None:
    operands, against = made(Problem(*shape, dtype, layout))
    assert compare(right(against), against).passed
    held = (operands.a, operands.b)
    a, b = (one.float() if DTYPES[dtype].bytes == 1 else one for one in held)  # torch sums these in their own range
    library = a @ b
    assert compare(library.to(right(against).dtype), against).passed


def test_tf32_may_round_its_inputs() -> None:
    operands, against = made(Problem(64, 64, 2048, "tf32"))
    rounded = [(matrix.view(torch.int32) & ~0x1FFF).view(torch.float32) for matrix in (operands.a, operands.b)]
    result = rounded[0].contiguous() @ rounded[1].contiguous()
    assert compare(result, against).passed
    assert not compare(result, made(Problem(64, 64, 2048, "fp32"))[1]).passed


def test_what_is_beyond_the_range_of_d_is_infinite_there() -> None:
    """As a gated pair is in fp16: a product of two long sums."""
    _, against = made(Problem(64, 96, 65536, "fp16", epilogue="up"))
    result = right(against)
    assert result.isinf().any()
    assert compare(result, against).passed
    held = against.expected.abs().argmin()
    result.view(-1)[held] = torch.inf
    assert not compare(result, against).passed


def test_a_short_sum_of_fp8_is_cut_off_too() -> None:
    """To 13 bits behind the point, once at the least: as much as a hundredth of the rounding of D in bf16."""
    _, against = made(Problem(64, 96, 6, "e5m2", out_dtype="fp32"))
    cut = against.expected * (1 - 2.0**-14)
    assert compare(cut, against).passed
    assert not compare(against.expected * (1 - 2.0**-8), against).passed


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_wrong_is_found(dtype: str) -> None:
    problem = Problem(64, 96, 512, dtype)
    operands, against = made(problem)
    wide = against.expected.dtype
    one = right(against)
    one[17, 5] += 3.0
    found = compare(one, against)
    assert (found.row, found.column) == (17, 5)
    assert not found.passed
    unwritten = right(against)
    unwritten[63, 95] = float("nan")
    assert not compare(unwritten, against).passed
    assert not compare(poisoned(problem, CPU), against).passed
    short = (operands.a[:, :-16].to(wide) @ operands.b[:-16].to(wide)).to(one.dtype)
    assert not compare(short, against).passed, "sixteen columns of A were left out"
    swapped = right(against).flip(0)
    assert not compare(swapped, against).passed


@pytest.mark.parametrize("epilogue", [*STEPS, "bias+gelu", "scale+bias+silu+residual"])
def test_an_epilogue_left_out_is_found_and_the_library_computes_it(epilogue: str) -> None:
    problem = Problem(33, 47, 129, "fp32", epilogue=epilogue)
    operands, against = made(problem)
    family, device = FAMILIES["cpu_blas"], Device("host", "cpu", 1, 0, 0, 1 << 33)
    family.bind(call(problem, device, operands, Scratch("cpu")), Config.of("cpu_blas"))()
    assert compare(operands.d, against).passed
    plain = replace(problem, epilogue="")
    family.bind(call(plain, device, operands, Scratch("cpu")), Config.of("cpu_blas"))()
    assert not compare(operands.d, against).passed


def test_each_step_is_what_torch_calls_so() -> None:
    operands, against = made(Problem(8, 16, 32, "fp32", epilogue="scale+bias+gelu+residual"))
    assert operands.scale is not None
    assert operands.bias is not None
    assert operands.residual is not None
    total = operands.a.double() @ operands.b.double() * operands.scale + operands.bias
    expected = torch.nn.functional.gelu(total) + operands.residual
    assert torch.allclose(against.expected, expected, rtol=1e-12, atol=1e-12)


def test_a_message_names_the_place_and_both_values() -> None:
    _, against = made(Problem(8, 8, 8, "fp32"))
    wrong = right(against)
    wrong[3, 2] = 1000.0
    text = str(compare(wrong, against))
    assert all(part in text for part in ("[3, 2]", "1000", "8x8x8-fp32-nt", "bound"))


def test_nothing_to_compute_is_right() -> None:
    _, against = made(Problem(0, 8, 8))
    assert compare(right(against), against).passed
    _, against = made(Problem(8, 8, 0))
    assert compare(torch.zeros(8, 8, dtype=torch.bfloat16), against).passed


def test_the_library_widens_the_bound_and_never_narrows_it() -> None:
    _, against = made(Problem(8, 8, 8))
    assert with_library(against, 0.1).bound == 1.0
    assert with_library(against, 3.0).bound == 6.0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 4096, 4096), (16, 6144, 4096), (33, 47, 129), (4096, 4096, 4096)])
def test_a_companion_is_compiled_as_its_problem_is(shape: tuple[int, int, int], dtype: str, layout: str) -> None:
    problem = Problem(*shape, dtype, layout)
    companion = ragged_companion(problem)
    assert Accesses.dense(companion) == Accesses.dense(problem)
    assert all(extent % 64 or extent == 1 for extent in companion.shape)
