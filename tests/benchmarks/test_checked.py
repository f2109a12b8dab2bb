"""What looks at thousands of problems on a GPU takes what is right for right, and sees an error of a tenth.

Of a pair, where each product may be the other one's factor, it sees one of a half.
"""

from __future__ import annotations

import pytest
import torch

from tilewright.benchmarks.checked import Memory, elements_wrong
from tilewright.benchmarks.drawn import place
from tilewright.kernels.operands import Operands, epilogue_operands, poisoned, sigma_of, torch_dtype
from tilewright.kernels.problem import DTYPES, Problem
from tilewright.tuner.evaluate.check import Reference, reference

EPILOGUES = ("", "bias", "scale", "row_scale+column_scale", "scale+gelu", "scale+silu+up")


def drawn(problem: Problem, form: str) -> Reference:
    memory, dtype, sigma = Memory(3, "cpu"), torch_dtype(problem.dtype), sigma_of(problem)
    at_a, at_b = place(problem.m, problem.k, False, "padded"), place(problem.k, problem.n, False, form)
    more = epilogue_operands(problem, memory.generator)
    if "up" in more:
        more["up"] = memory.input(at_b, dtype)
    a, b = (memory.input(at, dtype, sigma) for at in (at_a, at_b))
    return reference(problem, Operands(a, b, poisoned(problem, torch.device("cpu")), **more))


@pytest.mark.parametrize("form", ["padded", "repeated"])
@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_too_much_is_seen_whatever_the_scale(dtype: str, epilogue: str, form: str) -> None:
    against = drawn(Problem(48, 40, 256, dtype, "nn", epilogue=epilogue), form)
    right = against.expected.to(against.operands.d.dtype)
    assert elements_wrong(right, against) == 0
    factor = 1.1 if against.problem.products == 1 else 1.5
    assert elements_wrong((factor * against.expected).to(right.dtype), against) > right.numel() / 4
    right[7, 11] = torch.nan
    assert elements_wrong(right, against) == 1


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("form", ["padded", "repeated"])
def test_operands_cut_off_to_tf32_are_right(form: str, epilogue: str) -> None:
    """Also where all rows of B are one and the same, so that one element's error is in all products of a sum."""
    problem = Problem(240, 200, 4096, "tf32", "nn", epilogue=epilogue)
    against = drawn(problem, form)
    given = against.operands
    products = {name: cut(getattr(given, name)) for name in ("a", "b", "up") if getattr(given, name) is not None}
    others = {name: getattr(given, name) for name in problem.epilogue_operands if name != "up"}
    found = reference(problem, Operands(d=given.d, **products, **others)).expected
    assert elements_wrong(found.float(), against) == 0


def cut(matrix: torch.Tensor) -> torch.Tensor:
    return (matrix.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)
