"""What the library multiplies of one byte: `torch._scaled_mm` for fp8, `torch._int_mm` for int8, and what they refuse.

Source: PyTorch 2.11, aten/src/ATen/native/cuda/ScaledBlas.cpp and Blas.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from .. import fused
from ..config import Config
from ..device import Device
from ..epilogue import steps_of
from ..family import Call, Launch
from ..problem import DTYPES, Problem
from ..space import Constraint

_MULTIPLE: Final = 16  # of n and k, in fp8
_INT8_ROWS: Final = 17
_INT8_MULTIPLE: Final = 8
_FP8_SM: Final = 89


def bind(call: Call) -> Launch:
    return _int8(call) if call.problem.dtype == "int8" else _fp8(call)


def _fp8(call: Call) -> Launch:
    """Scales, and a bias that comes right after them, are the library's own epilogue; the other steps follow."""
    import torch  # here, for a compiling process that lists the families does without it

    a, b, d, steps = call.a, call.b, call.d, steps_of(call.problem.epilogue)
    one = torch.ones((), dtype=torch.float32, device=d.device)
    scale_a, scale_b, skipped = one if call.scale is None else call.scale, one, int("scale" in steps)
    if not skipped and ("row_scale" in steps or "column_scale" in steps):
        rows, columns = call.row_scale, call.column_scale
        scale_a = one.expand(a.shape[0]).contiguous() if rows is None else rows
        scale_b = one.expand(b.shape[1]).contiguous() if columns is None else columns
        scale_a, scale_b = scale_a[:, None], scale_b[None, :]
        skipped = ("row_scale" in steps) + ("column_scale" in steps)
    multiply = partial(
        torch._scaled_mm, a, b, scale_a, scale_b,
        out_dtype=d.dtype, use_fast_accum=DTYPES[call.problem.dtype].precision != "promoted", out=d,
    )  # fmt: skip
    if steps[skipped : skipped + 1] == ("bias",) and call.problem.out_dtype == "bf16":
        biased = partial(multiply, bias=call.bias)
        if _runs(biased):
            multiply, skipped = biased, skipped + 1

    def launch() -> None:
        multiply()

    return fused.then(launch, call, skipped)


def _runs(launch: Callable[[], object]) -> bool:
    """Whether the library computes it: with a bias and scales by row cuBLAS 13 refuses some long sums, not those of its
    neighbours. D is written over by the launch that follows."""
    import torch

    try:
        launch()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return False
    return True


def _int8(call: Call) -> Launch:
    """Sums in int32 in memory of their own, rounded into D."""
    import torch

    sums = torch.empty(call.d.shape, dtype=torch.int32, device=call.d.device)

    def launch() -> None:
        torch._int_mm(call.a, call.b, out=sums)
        call.d.copy_(sums)

    return fused.then(launch, call)


def _lacks(problem: Problem, device: Device, config: Config) -> float:
    """How many of its conditions a product of one byte does not meet."""
    if DTYPES[problem.dtype].bytes != 1:
        return 0
    if problem.products == 2:
        return 1
    if problem.dtype == "int8":
        uneven = problem.n % _INT8_MULTIPLE + problem.k % _INT8_MULTIPLE
        return (problem.m < _INT8_ROWS) + (uneven > 0) + (problem.n * problem.k == 0)
    uneven = problem.n % _MULTIPLE + problem.k % _MULTIPLE
    by_rows = "row_scale" in problem.epilogue_operands or "column_scale" in problem.epilogue_operands
    return (
        (problem.dtype == "e5m2")
        + (problem.layout != "nt")
        + (uneven > 0)
        + (0 in problem.shape)
        + (0 < device.capability < _FP8_SM)
        + (by_rows and "scale" not in problem.epilogue_operands and problem.out_dtype != "bf16")
    )


ONE_BYTE: Final = Constraint(
    "one_byte",
    "conditions not met",
    _lacks,
    lambda problem, device, config: 0,
    "torch._scaled_mm: nt, n and k multiples of 16, not e5m2 for both, D in bf16 where scales are by row; "
    "torch._int_mm: m over 16, n and k multiples of 8",
)
