"""Rounds of a race: a lap of each lane in turn, in one place of memory after another."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence

from ..referee import BLOCK
from .pace import Pace
from .timing import Lap


class Rounds:
    """Reads rounds of a race.

    Args:
        pace: of the device.
        places: in each place of memory the laps of all lanes.
        chance: draws the order of each round.
    """

    def __init__(self, pace: Pace, places: Sequence[Sequence[Lap]], chance: random.Random) -> None:
        self._pace = pace
        self._places = itertools.cycle(places)
        self._chance = chance

    def __call__(self, running: Sequence[int], count: int) -> list[list[float]]:
        """So many rounds, as the regime reads: of each the times of the running lanes, in their order, in us."""
        by_lane = self._read(running, count, self._pace.read)
        return [list(one) for one in zip(*by_lane, strict=True)]

    def rested(self, running: Sequence[int], lanes: int) -> list[list[float]]:
        """The times of each of so many lanes, each after a rest; none of those that are not running."""
        found: list[list[float]] = [[] for _ in range(lanes)]
        rest_s = self._pace.regime.level_rest_s
        if running:
            by_lane = self._read(running, BLOCK, lambda laps: self._pace.read_rested(laps, rest_s))
            for lane, times in zip(running, by_lane, strict=True):
                found[lane] = times
        return found

    def _read(
        self, running: Sequence[int], count: int, read: Callable[[Sequence[Lap]], Sequence[float]]
    ) -> list[list[float]]:
        """Two rounds share their operands and an order by chance, the second one reversed: who runs after whom makes up
        to 3% of a difference on an H200."""
        order: list[int] = []
        laps: list[Lap] = []
        while len(order) < count * len(running):
            drawn, there = self._chance.sample(running, len(running)), next(self._places)
            order += (both := [*drawn, *reversed(drawn)])
            laps += [there[lane] for lane in both]
        by_lane: dict[int, list[float]] = {lane: [] for lane in running}
        for lane, time_us in zip(order, read(laps), strict=True):
            by_lane[lane].append(time_us)
        return list(by_lane.values())
