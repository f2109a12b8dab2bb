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
        rows, columns = matrix.shape
        return cls.at((rows, columns), matrix.stride(), matrix.element_size(), address=matrix.data_ptr())

    @classmethod
    def at(cls, shape: tuple[int, int], strides: tuple[int, ...], size: int, *, address: int) -> Access:
        """Of `shape` elements of `size` bytes, so many elements apart, from `address` on."""
        unit = 1 if strides[1] == 1 else 0 if strides[0] == 1 else None
        if unit is None:
            return cls(None, False)
        along, across = shape[unit], strides[1 - unit]
        offsets = (address, along * size, across * size)
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
        m, n, k = problem.shape
        return cls(
            _dense((m, k), problem.a_transposed, size),
            _dense((k, n), problem.b_transposed, size),
            _dense((m, n), False, out_size),
        )


def _dense(shape: tuple[int, int], transposed: bool, size: int) -> Access:
    """Where an extent is 1, both strides may be: that is the form that the matrix will have, whatever its layout."""
    rows, columns = shape
    strides = (1, max(rows, 1)) if transposed else (max(columns, 1), 1)
    return Access.at(shape, strides, size, address=0)
