"""A kernel is compiled for how a matrix lies in memory: what is said of a problem's own layout is what a tensor has."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tilewright.kernels.access import Access, Accesses
from tilewright.kernels.operands import random_operands
from tilewright.kernels.problem import DTYPES, LAYOUTS, OUT_DTYPES, Problem

EXTENTS = (0, 1, 2, 4, 7, 8, 16, 33)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_problems_accesses_are_those_of_its_operands(dtype: str, layout: str) -> None:
    """So that what was compiled ahead is what is launched, single rows and columns included."""
    generator = torch.Generator()
    for index, (m, n, k) in enumerate(itertools.product(EXTENTS, repeat=3)):
        problem = Problem(m, n, k, dtype, layout, OUT_DTYPES[index % len(OUT_DTYPES)])
        operands = random_operands(problem, generator)
        assert Accesses.of(operands.a, operands.b, operands.d) == Accesses.dense(problem), problem


def at(
    shape: tuple[int, int], strides: tuple[int, int], offset: int = 0, dtype: torch.dtype = torch.bfloat16
) -> Access:
    memory = torch.empty(1 << 14, dtype=dtype)
    assert memory.data_ptr() % 64 == 0
    return Access.of(memory.as_strided(shape, strides, offset))


@pytest.mark.parametrize(
    ("matrix", "unit", "aligned"),
    [
        (at((32, 64), (64, 1)), 1, True),
        (at((64, 32), (1, 64)), 0, True),
        (at((32, 64), (72, 1)), 1, True),  # padded by a whole vector
        (at((32, 64), (65, 1)), 1, False),
        (at((32, 60), (64, 1)), 1, False),  # the last vector of a row is not whole
        (at((32, 64), (64, 1), offset=8), 1, True),
        (at((32, 64), (64, 1), offset=1), 1, False),
        (at((32, 32), (64, 2)), None, False),
        (at((32, 64), (0, 1)), 1, False),  # one row, over and over
        (at((32, 64), (0, 0)), None, False),
        (at((32, 4), (4, 1), dtype=torch.float32), 1, True),
        (at((32, 4), (4, 1)), 1, False),
    ],
)
def test_memory_is_described(matrix: Access, unit: int | None, aligned: bool) -> None:
    assert matrix == Access(unit, aligned)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    strides=st.tuples(st.integers(0, 80), st.integers(0, 80)),
    offset=st.integers(0, 64),
)
def test_what_is_called_aligned_is(shape: tuple[int, int], strides: tuple[int, int], offset: int) -> None:
    """Every vector that begins on a whole one, in any row, is whole and on 16 bytes."""
    memory = torch.empty(1 << 14, dtype=torch.float16)
    matrix = memory.as_strided(shape, strides, offset)
    access = Access.of(matrix)
    if not access.aligned:
        return
    assert access.unit is not None
    lines = matrix if access.unit == 1 else matrix.T
    for line in lines:
        assert line.stride(0) == 1
        assert line.data_ptr() % 16 == 0
        assert line.numel() % 8 == 0
