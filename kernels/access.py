"""How a matrix lies in memory, as far as a compiled kernel depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .problem import DTYPES, Problem

if TYPE_CHECKING:
    import torch

VECTOR_BYTES: Final = 16  # of the widest load, of TMA's address unit and of Triton's pointer specialization


@dataclass(frozen=True, slots=True)
class Access:
    """The form of one matrix.

    Attributes:
        unit: the axis (0 or 1) whose stride is 1; None when neither is.
        aligned: address, leading dimension and extent along `unit` are multiples of 16 bytes, so that whole vectors
            may be loaded and TMA can address it.
    """

    unit: int | None
    aligned: bool

    @classmethod
    def of(cls, matrix: torch.Tensor) -> Access:
        rows, columns = matrix.stride()
        unit = 1 if columns == 1 else 0 if rows == 1 else None
        if unit is None:
            return cls(None, False)
        size = matrix.element_size()
        along, across = matrix.shape[unit], matrix.stride(1 - unit)
        offsets = (matrix.data_ptr(), along * size, across * size)
        return cls(unit, across > 0 and all(offset % VECTOR_BYTES == 0 for offset in offsets))


@dataclass(frozen=True, slots=True)
class Accesses:
    """The forms of A[m, k], B[k, n] and D[m, n] of one call."""

    a: Access
    b: Access
    d: Access

    @classmethod
    def of(cls, a: torch.Tensor, b: torch.Tensor, d: torch.Tensor) -> Accesses:
        return cls(Access.of(a), Access.of(b), Access.of(d))

    @classmethod
    def dense(cls, problem: Problem) -> Accesses:
        """Of a problem's own layout without padding, D stored row after row."""
        size, out_size = DTYPES[problem.dtype].bytes, DTYPES[problem.out_dtype].bytes
        a_along = problem.m if problem.a_transposed else problem.k
        b_along = problem.k if problem.b_transposed else problem.n
        return cls(
            Access(0 if problem.a_transposed else 1, a_along * size % VECTOR_BYTES == 0),
            Access(0 if problem.b_transposed else 1, b_along * size % VECTOR_BYTES == 0),
            Access(1, problem.n * out_size % VECTOR_BYTES == 0),
        )
