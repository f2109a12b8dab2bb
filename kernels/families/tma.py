"""What TMA, the tensor memory accelerator, asks of the matrices that it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..access import VECTOR_BYTES, Access
from ..config import Config
from ..device import Device
from ..family import Call
from ..problem import DTYPES, Problem
from ..space import Constraint

if TYPE_CHECKING:
    import torch


def in_memory(call: Call) -> list[torch.Tensor]:
    """A, B, D and, where there are two products, `up`: each as it lies in memory, its unit stride last."""
    problem, b = call.problem, (call.b,) if call.problem.products == 1 else (call.b, call.up)
    a = call.a.T if problem.a_transposed else call.a
    first, *second = [one.T if problem.b_transposed else one for one in b if one is not None]
    return [a, first, call.d, *second]


def refuses(call: Call, config: Config) -> str:
    """TMA wants something to address, a unit stride on the stored inner extent, and 16-byte steps everywhere else."""
    problem = call.problem
    wanted = (0 if problem.a_transposed else 1, 0 if problem.b_transposed else 1, 1)
    for name, matrix, unit in zip("ABD", (call.a, call.b, call.d), wanted, strict=True):
        if not matrix.numel():
            return f"{name} is empty: TMA addresses one element at least; the library serves an empty product"
        access = Access.of(matrix)
        if access.unit != unit:
            return f"{name} has strides {tuple(matrix.stride())}: TMA wants 1 on axis {unit}"
        if not access.aligned:
            return f"{name} is not aligned to 16 bytes in address, rows or extent: TMA cannot address it"
    return ""


def _ragged_bytes(problem: Problem, device: Device, config: Config) -> int:
    """Bytes by which the rows of A, B or D miss a multiple of 16."""
    size, out = DTYPES[problem.dtype].bytes, DTYPES[problem.out_dtype].bytes
    rows = (
        (problem.m if problem.a_transposed else problem.k) * size,
        (problem.k if problem.b_transposed else problem.n) * size,
        problem.n * out,
    )
    return max(row % VECTOR_BYTES for row in rows)


ALIGNED = Constraint(
    "alignment",
    "bytes beside 16-byte rows",
    _ragged_bytes,
    lambda problem, device, config: 0,
    "CUDA driver API, cuTensorMapEncodeTiled: strides are multiples of 16 bytes",
)
