"""Tiles of two heights cover D, and leave the programs as even as heights can."""

from __future__ import annotations

import random
from typing import Final

import pytest

from tilewright.kernels.device import nominal
from tilewright.kernels.families import mixed_tiles
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
        chosen = mixed_tiles.tall_rows(m, tiles_n, block_m, programs)
        most = -(-m // block_m)
        counted = {tall: max(loads(m, tiles_n, block_m, programs, tall)) for tall in {0, most // 2, chosen, most}}
        for tall, load in counted.items():
            assert mixed_tiles.busiest(m, tiles_n, block_m, programs, tall) == load
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
    config = mixed_tiles.defaults(problem, SM90)[0]
    programs, tall = mixed_tiles.programs(problem, SM90, config)
    assert (config["block_m"], config["block_n"], programs) == (192, 256, 132)
    found = loads(problem.m, problem.n // 256, 192, programs, tall)
    assert mixed_tiles.short_rows(problem.m, 192, tall) == short
    assert (max(found), len(found)) == (parts, 132)


def test_the_tallest_problem_is_cut_in_no_time() -> None:
    """The heights tried are bounded."""
    assert mixed_tiles.tall_rows(2**31 - 1, 1, 192, 132) > 11_000_000
