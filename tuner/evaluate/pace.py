"""The pace of readings: what a device does between them, as the regime says, and how long it was kept at that."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from .regime import Regime
from .timing import Lap, Reading

_GAP_S: Final = 0.02  # a load that pauses for longer has ended
_CHUNK_US: Final = 20_000.0  # of load that is queued at once

Worth = Callable[[int, float], bool]


def _nothing() -> None:
    """For a reading that nobody watches."""


class Pace:
    """Reads laps of one device in one regime.

    Attributes:
        seconds: spent on readings, with what a regime puts before each of them, without loads.
        watch: is called while the last readings of a config are under way.
    """

    def __init__(self, regime: Regime) -> None:
        self.regime = regime
        self.seconds = 0.0
        self.watch: Callable[[], None] = _nothing
        self._busy_since = self._busy_until = -math.inf

    def load(self, laps: Sequence[Lap], seconds: float) -> None:
        """Keeps the device at work with these laps in turn, until it has been without a pause for so many seconds."""
        self._begin()
        while seconds > 0 and time.monotonic() - self._busy_since < seconds:
            for lap in laps:
                for _ in range(_repeats(lap, _CHUNK_US / len(laps))):
                    lap.start()
            laps[0].wait()
        self._end()

    def keep(self, lap: Lap) -> None:
        """Gives the device some of a load if it has little of that left, and does not wait: it shall not pause while
        the host makes the laps of a race."""
        if self._begin() > self._busy_until - _GAP_S / 2:
            repeats = _repeats(lap, _CHUNK_US)
            for _ in range(repeats):
                lap.start()
            self._busy_until = max(self._busy_until, time.monotonic()) + repeats * lap.lap_us * 1e-6

    def read(self, laps: Sequence[Lap], watch: Callable[[], None] = _nothing) -> list[float]:
        """One time for each of these laps, in the order in which they are given and run; us a launch.

        `watch` is called while they, or the last of them, are under way.
        """
        started = self._begin()
        if self.regime.rest_s or self.regime.settle_us:
            read = partial(self._rested, self.regime.rest_s) if self.regime.rest_s else self._settled
            times = [*(read(lap, _nothing) for lap in laps[:-1]), read(laps[-1], watch)]
        else:
            laps[0].lead()
            readings = [lap.start() for lap in laps]
            watch()
            laps[0].wait()
            times = [reading() for reading in readings]
        self._end()
        self.seconds += self._busy_until - started
        return times

    def read_pairs(
        self, candidate: Lap, library: Lap | None, readings: int, worth: Worth
    ) -> tuple[list[float], list[float]]:
        """Times of the candidate, and of the library right beside each, in alternating order.

        After one pair and after two, `worth` is given their number and the best of their speeds (library / candidate),
        and says whether the rest is worth reading.
        """
        times: list[float] = []
        beside: list[float] = []
        for end in (1, 2, readings):
            watch = self.watch if end == readings else _nothing
            if library is None:
                times += self.read([candidate] * (end - len(times)), watch)
                continue
            swapped = [bool(index % 2) for index in range(len(times), end)]
            order = [lap for swap in swapped for lap in ((candidate, library) if swap else (library, candidate))]
            read = self.read(order, watch)
            for swap, one, other in zip(swapped, read[::2], read[1::2], strict=True):
                times.append(one if swap else other)
                beside.append(other if swap else one)
            if end < readings and not worth(end, max(b / t for b, t in zip(beside, times, strict=True))):
                break
        return times, beside

    def read_rested(self, laps: Sequence[Lap], rest_s: float) -> list[float]:
        """As `read`, each after so many seconds of idle, whatever the regime is."""
        started = self._begin()
        times = [self._rested(rest_s, lap, _nothing) for lap in laps]
        self._end()
        self.seconds += self._busy_until - started
        return times

    def _rested(self, rest_s: float, lap: Lap, watch: Callable[[], None]) -> float:
        time.sleep(rest_s)
        lap.lead()
        reading = lap.start()
        watch()
        lap.wait()
        return reading()

    def _settled(self, lap: Lap, watch: Callable[[], None]) -> float:
        for _ in range(_repeats(lap, self.regime.settle_us)):
            lap.start()
        readings: list[Reading] = [lap.start() for _ in range(_repeats(lap, self.regime.reading_us))]
        watch()
        lap.wait()
        return statistics.fmean(reading() for reading in readings)

    def _begin(self) -> float:
        now = time.monotonic()
        if now - self._busy_until > _GAP_S:
            self._busy_since = now
        return now

    def _end(self) -> None:
        self._busy_until = time.monotonic()


def _repeats(lap: Lap, wanted_us: float) -> int:
    return max(1, math.ceil(wanted_us / max(lap.lap_us, 1.0)))
