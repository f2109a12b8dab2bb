"""What a call asks for, as a kernel sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..access import VECTOR_BYTES, Access, Accesses
from ..problem import DTYPES, Problem
from .plan import DTYPE_NAMES, tf32_allowed


@dataclass(frozen=True, slots=True)
class Wanted:
    """One call as a kernel sees it: A[m, k], B[k, n], and the shape that D is to have.

    Attributes:
        problem: None when no kernel takes such operands; `refusal` then says why.
    """

    a: torch.Tensor
    b: torch.Tensor
    shape: tuple[int, ...]
    problem: Problem | None
    refusal: str = ""
    accesses: Accesses | None = field(default=None)


def wanted_of(a: torch.Tensor, b: torch.Tensor) -> Wanted:
    """What `a @ b` asks for: `a` of one dimension or more, `b` a matrix."""
    if a.layout is not torch.strided or b.layout is not torch.strided or a.is_nested or b.is_nested:
        return Wanted(a, b, (), None, "it is of sparse or nested operands, which are torch's")
    shape = (*a.shape[:-1], *b.shape[-1:])

    def refused(why: str) -> Wanted:
        return Wanted(a, b, shape, None, why)

    if a.dim() < 2 or b.dim() != 2 or a.shape[-1] != b.shape[0]:
        return refused(f"A is {list(a.shape)} and B is {list(b.shape)}: a kernel takes [..., m, k] and [k, n]")
    if a.dtype != b.dtype or a.dtype not in DTYPE_NAMES:
        return refused(f"the dtypes are {a.dtype} and {b.dtype}: kernels take one of bf16, fp16, fp32 for both")
    if a.device != b.device:
        return refused(f"A is on {a.device} and B on {b.device}")
    if not a.numel() or not b.numel():
        return refused("it is an empty product")
    rows = a if a.dim() == 2 else _rows(a)
    if rows is None:
        return refused(f"A has strides {a.stride()}: its rows do not lie one after another")
    problem = _problem(rows, b)
    if problem is None:
        return refused(f"the strides are {rows.stride()} and {b.stride()}: neither rows nor columns lie dense")
    size = DTYPES[problem.dtype].bytes
    d = Access.at((problem.m, problem.n), (problem.n, 1), size, address=0)
    found = Accesses(Access.of(rows), Access.of(b), d)
    if found != Accesses.dense(problem):
        return refused(f"address or strides are not multiples of {VECTOR_BYTES} bytes, as they were when it was tuned")
    return Wanted(rows, b, shape, problem, accesses=found)


def _rows(a: torch.Tensor) -> torch.Tensor | None:
    """A[..., k] as a matrix of its rows, when that is a view."""
    return a.view(-1, a.shape[-1]) if a.is_contiguous() else None


def _problem(a: torch.Tensor, b: torch.Tensor) -> Problem | None:
    letters = [_letter(matrix) for matrix in (a, b)]
    if None in letters:
        return None
    dtype = DTYPE_NAMES[a.dtype]
    if dtype == "fp32" and tf32_allowed():
        dtype = "tf32"
    return Problem(a.shape[0], b.shape[1], a.shape[1], dtype, f"{letters[0]}{letters[1]}")


def _letter(matrix: torch.Tensor) -> str | None:
    """`n` for rows that lie dense, `t` for columns; a single row is `n`, whatever stride it has to a next."""
    rows, columns = matrix.stride()
    if columns == 1 and (rows >= matrix.shape[1] or matrix.shape[0] == 1):
        return "n"
    return "t" if rows == 1 and columns >= matrix.shape[0] else None
