"""Small landscapes for tests: a smooth space with a library beside it and a few configs that fail."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tuner.landscape import Landscape, Reading, write_landscape
from tilewright.tuner.trial import Outcome

PROBLEM = Problem(64, 512, 512)
OTHER = Problem(128, 512, 512)
LIBRARY = Config.of("cublas")
LIBRARY_US = 20.0


def landscape(problem: Problem, scale: float = 1.0) -> Landscape:
    """96 configs, 4 of which fail; the best runs at 1.25 times the library's speed."""
    readings = {LIBRARY: Reading(LIBRARY_US * scale)}
    for block_m, block_n, stages, order in itertools.product(
        (16, 32, 64, 128), (32, 64, 128), (2, 3, 4, 5), ("a", "b")
    ):
        config = Config.of("tiled", block_m=block_m, block_n=block_n, num_stages=stages, order=order)
        if block_m == 128 and stages == 5 and block_n > 32:
            readings[config] = Reading(None, 0.0, Outcome.OUT_OF_RESOURCES)
            continue
        away = (
            abs(math.log2(block_m / 64)) + abs(math.log2(block_n / 64)) + abs(stages - 4) * 0.5 + (order == "b") * 0.3
        )
        readings[config] = Reading(16.0 * scale * (1 + 0.2 * away))
    return Landscape.of(problem.key, readings)


def write(folder: Path, *problems: Problem) -> list[Path]:
    """A landscape file a problem, named for it."""
    paths = []
    for index, problem in enumerate(problems):
        paths.append(folder / f"{problem.key}.csv.gz")
        write_landscape(paths[-1], landscape(problem, 1.0 + index))
    return paths
