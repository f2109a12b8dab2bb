"""How long a measuring process may take to answer, before it is taken for hung and replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...kernels.problem import Problem
from ..referee import BLOCK, MINIMUM
from .meter import RaceLimit
from .regime import Regime

START_S: Final = 180.0
CEILINGS_S: Final = 120.0
SECONDS_PER_TFLOP: Final = 2.0  # of something a thousand times slower than the peak
LONGEST_S: Final = 86_400.0  # of anything: a poll cannot wait for a number of seconds that has no bound


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one meter: `small_s` is for a config of a small problem in a regime without load and rest."""

    small_s: float
    regime: Regime

    def evaluate_s(self, problem: Problem) -> float:
        """Of one config, checked and timed, twice when its readings were spoilt."""
        readings = 4 * self.regime.readings * self.regime.cost_s(0.0)
        work = SECONDS_PER_TFLOP * problem.flops / 1e12
        return min(LONGEST_S, self.small_s + 2 * self.regime.load_s + readings + work)

    def race_s(self, problem: Problem, racers: int, limit: RaceLimit) -> float:
        """Of a race, which lasts some rounds even when its time is up before."""
        at_least = MINIMUM * racers * self.regime.cost_s(0.0)
        seconds = limit.seconds * self.regime.patience
        rested = BLOCK * racers * self.regime.level_rest_s
        return self.regime.race_load_s + seconds + at_least + rested + self.evaluate_s(problem)
