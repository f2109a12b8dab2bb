"""Tiles of two heights: how the rows of D are cut so that programs that take the tiles in turn get equal work.

Tall tiles are `block_m` rows high and come first; short ones, at the bottom, lack one part of 64 rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

import triton
import triton.language as tl

from ..config import Config
from ..device import Device
from ..problem import Problem
from ..space import Constraint
from . import tiles
from .limits import cdiv, tile_columns

PART: Final = 64  # rows that are multiplied at once
PART_ROWS = tl.constexpr(PART)
_TURNED: Final = {"block_m": "block_n", "block_n": "block_m", "group_n": "group_m"}
CUT_AT_MOST: Final = 512  # tall rows of tiles given up for short ones: three rounds of one column of tiles
HEIGHT = Constraint(
    "rows",
    "rows before the last consumer's",
    lambda problem, device, config: config.number("block_m") - PART,
    lambda problem, device, config: problem.m - 1,
    "in no tile would the last consumer have rows to multiply",
)


def turned(problem: Problem, config: Config) -> tuple[Problem, Config]:
    """The transposed product, for which a config of `swapped_tiles` is one of `mixed_tiles`."""
    layout = ("n" if problem.b_transposed else "t") + ("n" if problem.a_transposed else "t")
    across = replace(problem, m=problem.n, n=problem.m, layout=layout)
    return across, Config.of("mixed_tiles", {_TURNED.get(axis, axis): value for axis, value in config.items()})


def tall_rows(problem: Problem, device: Device, config: Config) -> int:
    """How many rows of tiles are tall."""
    tiles_n = cdiv(problem.n, tile_columns(problem, config))
    return evenest(problem.m, tiles_n, config.number("block_m"), max(1, device.sm_count))


def tile_count(problem: Problem, device: Device, config: Config) -> int:
    tall, block_m = tall_rows(problem, device, config), config.number("block_m")
    return (tall + short_rows(problem.m, block_m, tall)) * cdiv(problem.n, tile_columns(problem, config))


def busiest_parts(problem: Problem, device: Device, config: Config) -> int:
    """How many parts the busiest program multiplies."""
    tiles_n, tall = cdiv(problem.n, tile_columns(problem, config)), tall_rows(problem, device, config)
    return busiest(problem.m, tiles_n, config.number("block_m"), max(1, device.sm_count), tall)


@cache
def evenest(m: int, tiles_n: int, block_m: int, programs: int) -> int:
    """The number of tall rows of tiles with which the busiest of the programs multiplies the least.

    Of equals the largest: tall tiles take fewer bytes a multiplication.
    """
    most = cdiv(m, block_m)
    fewest = max(0, most - CUT_AT_MOST)
    return min(range(most, fewest - 1, -1), key=lambda tall: busiest(m, tiles_n, block_m, programs, tall))


def busiest(m: int, tiles_n: int, block_m: int, programs: int, tall: int) -> int:
    """How many parts the first program multiplies: none has more, for they take the tiles in turn."""
    count = (tall + short_rows(m, block_m, tall)) * tiles_n
    return cdiv(tall * tiles_n, programs) + cdiv(count, programs) * (block_m // PART - 1)


def short_rows(m: int, block_m: int, tall: int) -> int:
    return cdiv(max(0, m - tall * block_m), block_m - PART)


@triton.jit
def count_tiles(m, n, tall, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """How many tiles there are, when the first `tall` rows of tiles are tall and the others short."""
    short = tl.cdiv(tl.maximum(m - tall * BLOCK_M, 0), BLOCK_M - PART_ROWS)
    return (tall + short) * tl.cdiv(n, BLOCK_N)


@triton.jit
def place(tile, m, n, tall, group_m, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """The first row and column of a tile. The tall ones come first; both kinds are walked in groups."""
    tiles_n = tl.cdiv(n, BLOCK_N)
    if tile < tall * tiles_n:
        tile_m, tile_n = tiles.grouped(tile, tall, tiles_n, group_m)
        row = tile_m * BLOCK_M
    else:
        short = tl.cdiv(m - tall * BLOCK_M, BLOCK_M - PART_ROWS)
        tile_m, tile_n = tiles.grouped(tile - tall * tiles_n, short, tiles_n, group_m)
        row = tall * BLOCK_M + tile_m * (BLOCK_M - PART_ROWS)
    return row, tile_n * BLOCK_N
