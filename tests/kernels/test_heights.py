"""Tiles of two heights cover D, and leave the programs as even as heights can."""

from __future__ import annotations

import random
from typing import Final

import pytest

from tilewright.kernels.device import nominal
from tilewright.kernels.families import FAMILIES, heights
from tilewright.kernels.problem import Problem

SM90: Final = nominal("sm90")


def loads(m: int, tiles_n: int, block_m: int, programs: int, tall: int) -> list[int]:
    """Parts of 64 rows that each program multiplies, counted tile by tile."""
    rows = [block_m] * tall
    while sum(rows) < m:
        rows.append(block_m - 64)
    tiles = [height // 64 for height in rows for _ in range(tiles_n)]
    return [sum(tiles[program::programs]) for program in range(programs)]


def test_the_busiest_program_is_told_rightly_and_has_the_least() -> None:
    chance = random.Random("loads")
    for _ in range(60):
        m, tiles_n, programs = chance.randrange(1, 6000), chance.randrange(1, 40), chance.choice((1, 7, 132))
        block_m = chance.choice((128, 192))
        chosen = heights.evenest(m, tiles_n, block_m, programs)
        most = -(-m // block_m)
        counted = {tall: max(loads(m, tiles_n, block_m, programs, tall)) for tall in {0, most // 2, chosen, most}}
        for tall, load in counted.items():
            assert heights.busiest(m, tiles_n, block_m, programs, tall) == load
        assert counted[chosen] == min(counted.values())
        assert 0 <= chosen <= most


@pytest.mark.parametrize(
    ("shape", "short", "parts"),
    [
        ((8192, 1280, 8192), 25, 5),  # tall tiles alone: 6
        ((4096, 4096, 4096), 8, 8),  # 9
        ((4096, 28672, 4096), 2, 55),  # 57
        ((4096, 6144, 4096), 0, 12),
    ],
)
def test_large_shapes_are_cut_evenly(shape: tuple[int, int, int], short: int, parts: int) -> None:
    problem = Problem(*shape)
    config = FAMILIES["mixed_tiles"].defaults(problem, SM90)[0]
    assert (config["block_m"], config["block_n"]) == (192, 256)
    tall = heights.tall_rows(problem, SM90, config)
    found = loads(problem.m, problem.n // 256, 192, 132, tall)
    assert heights.short_rows(problem.m, 192, tall) == short
    assert max(found) == heights.busiest_parts(problem, SM90, config) == parts
    assert heights.tile_count(problem, SM90, config) == (tall + short) * problem.n // 256


def test_the_tallest_problem_is_cut_in_no_time() -> None:
    """The heights tried are bounded."""
    assert heights.evenest(2**31 - 1, 1, 192, 132) > 11_000_000
