"""Whether a config computes the right thing: its output against a reference of higher precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch

from ...kernels.access import Accesses
from ...kernels.epilogue import OPERANDS, steps_of
from ...kernels.fused import TABLE
from ...kernels.operands import Operands, torch_dtype
from ...kernels.problem import DTYPES, PROMOTED, Problem
from ..trial import Check

# An element may deviate by twice the rounding of its own dtype, and by what summing k products in fp32 costs: at most
# k * 2**-24 of the operands' scale, times 16 for tensor cores that truncate partial sums.
_RESULT_ROUNDINGS: Final = 2.0
_SUM_ERROR: Final = 2.0**-20
_STEP: Final = 16  # products that tensor cores add at once; each sum of theirs is cut off, not rounded, to fp32
_CUT: Final = 2.0**-24  # so 64x64x65536 with D in fp32 ends 1.2e-4 short of the sum, on an H100 (2026-11)
_NARROW_STEP: Final = 32  # the same for fp8 on Hopper, whose sums are cut off to 13 bits behind the point
_NARROW_CUT: Final = 2.0**-13
_NARROW_SIGMAS: Final = 6.0  # 4096x28672x4096 scaled by row comes to half of that, on an H200 (2026-11)
_INPUT_SIGMAS: Final = 16.0  # tf32 rounds the operands: a random walk over k of that many standard deviations
_FACTOR_SIGMAS: Final = 6.0  # of a sum of k products: what another one's error may be multiplied by
_LIBRARY_SLACK: Final = 2.0
_CHUNK: Final = 1 << 26  # elements compared at once


@dataclass(frozen=True, slots=True)
class Reference:
    """Operands, and what their product must be: `expected[m, n]`, in fp32 for 16-bit inputs and in fp64 otherwise."""

    problem: Problem
    operands: Operands
    expected: torch.Tensor
    bound: float = 1.0


def reference(problem: Problem, operands: Operands) -> Reference:
    """Multiplies inputs of 16 bits and of fp8 in fp32 (IEEE), where their products are exact, and others in fp64, where
    the sums of int8 are; then the epilogue, in the same precision."""
    exact = DTYPES[problem.dtype].bytes == 4 or problem.dtype == "int8"
    wide = torch.float64 if exact else torch.float32
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        expected = operands.a.to(wide) @ operands.b.to(wide)
        for step in steps_of(problem.epilogue):
            operand = [getattr(operands, step).to(wide)] if step in OPERANDS else []
            if step == "up":
                operand = [operands.a.to(wide) @ operand[0]]
            TABLE[step].in_place(expected, *operand)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return Reference(problem, operands, expected)


def with_library(found: Reference, library_error: float) -> Reference:
    """The reference with a bound that a library, on the same inputs, keeps with room to spare."""
    return Reference(found.problem, found.operands, found.expected, max(1.0, _LIBRARY_SLACK * library_error))


def compare(result: torch.Tensor, against: Reference) -> Check:
    """The worst element of `result[m, n]`, its deviation in units of its own tolerance; infinite for a NaN."""
    problem = against.problem
    if result.numel() == 0:
        return Check(0.0, against.bound, 0, 0, 0.0, 0.0, problem.key)
    worst, place = -1.0, 0
    rows = max(1, _CHUNK // max(1, problem.n))
    for start in range(0, problem.m, rows):
        expected = against.expected[start : start + rows]
        deviation = (_held(result[start : start + rows], problem).to(expected.dtype) - _held(expected, problem)).abs_()
        deviation /= tolerance(problem, expected)
        deviation = torch.where(deviation.isnan(), torch.inf, deviation).flatten()
        index = int(deviation.argmax())
        if float(deviation[index]) > worst:
            worst, place = float(deviation[index]), start * problem.n + index
    row, column = divmod(place, problem.n)
    value, expected_value = float(result[row, column]), float(against.expected[row, column])
    return Check(worst, against.bound, row, column, value, expected_value, problem.key)


def _held(matrix: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Within the range of D's dtype: what is beyond it is infinite there, as it should be."""
    largest = torch.finfo(torch_dtype(problem.out_dtype)).max
    return matrix.clamp(-largest, largest)


def tolerance(problem: Problem, expected: torch.Tensor, size: torch.Tensor | float | None = None) -> torch.Tensor:
    """What each element may deviate.

    Args:
        problem, expected: of what, and what must come out.
        size: of a sum on its way, where the operands are not standard normal: the root of the sum of the products'
            squares. The square root of k otherwise.
    """
    size = problem.k**0.5 if size is None else size
    relative = _RESULT_ROUNDINGS * DTYPES[problem.out_dtype].epsilon
    absolute: torch.Tensor | float = _SUM_ERROR * max(problem.k, 1)
    if problem.dtype == "tf32":
        absolute = absolute + _INPUT_SIGMAS * DTYPES["tf32"].epsilon * size
    if problem.dtype != "fp32":  # a sum that ends near nothing was as large as the others on its way, and was cut there
        relative += _CUT * problem.k / _STEP
        absolute = absolute + size * (_CUT * problem.k / _STEP)
    if DTYPES[problem.dtype].storage.startswith("float8"):
        narrow = _NARROW_CUT * _narrow_steps(problem)
        relative, absolute = relative + narrow / 2, absolute + _NARROW_SIGMAS * narrow * size
    if problem.products == 2:  # each product is the other one's factor
        absolute = absolute * (1 + _FACTOR_SIGMAS * problem.k**0.5)
    return expected.abs() * relative + absolute


def _narrow_steps(problem: Problem) -> int:
    """How many sums of fp8 are cut off one after another, towards zero and relatively to the sum so far.

    On the way to a large element that is always in one direction, on the way to a small one in both. Runs that are
    promoted deviate independently.
    """
    promoted = DTYPES[problem.dtype].precision == "promoted"
    return max(1, -(-(min(problem.k, PROMOTED) if promoted else problem.k) // _NARROW_STEP))


def ragged_companion(problem: Problem) -> Problem:
    """A small problem that the same binary serves, with extents that no tile divides.

    An extent that is a multiple of 16 bytes stays one, so that the same memory accesses are compiled in.
    """
    vector = 16 // min(DTYPES[problem.dtype].bytes, DTYPES[problem.out_dtype].bytes)

    def ragged(extent: int, aligned: int, odd: int) -> int:
        return aligned if extent % vector == 0 else odd

    shape = ragged(problem.m, 208, 197), ragged(problem.n, 336, 331), ragged(problem.k, 272, 259)
    companion = replace(problem, m=shape[0], n=shape[1], k=shape[2])
    if Accesses.dense(companion) == Accesses.dense(problem):
        return companion
    # A stored extent of 1 has both strides 1, which is another access: it stays 1.
    m, n, k = (1 if own == 1 else other for own, other in zip(problem.shape, shape, strict=True))
    return replace(problem, m=m, n=n, k=k)
