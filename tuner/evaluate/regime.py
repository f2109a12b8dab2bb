"""Regimes: how busy a device is kept when it is read. Part of a protocol's name, and so of a result's key."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Regime:
    """What a device does before and while it is read.

    Attributes:
        summary: for people.
        rest_s: idle before each reading.
        load_s, race_load_s: of load without a pause before the readings of a config, and before a race.
        settle_us: work of the same kernel before each reading, itself not read.
        reading_us, race_reading_us: at least so much work is one reading.
        readings: of a config in a search, each beside one of the library.
        patience: how many times as long as in the default regime a race may take.
        level_rest_s: idle before each reading of what a race has left level; 0 where these are not read again.
    """

    name: str
    summary: str
    rest_s: float = 0.0
    load_s: float = 0.0
    race_load_s: float = 0.0
    settle_us: float = 0.0
    reading_us: float = 1000.0
    race_reading_us: float = 1000.0
    readings: int = 7
    patience: float = 1.0
    level_rest_s: float = 0.0

    @property
    def protocol(self) -> str:
        """The name that a measurement bears; a change of how times are read is another number."""
        return f"{self.name}/3"

    def cost_s(self, lap_us: float) -> float:
        """Of one reading of a race, of work that takes `lap_us` at the least."""
        return self.rest_s + (self.settle_us + max(self.race_reading_us, lap_us)) * 1e-6


# A load makes an H200 dip by 15 to 22% for a tenth of a second, on one machine 0.3 to 0.6 s after it began, on another
# 0.85 to 1.1 s (2026-11); a race waits until that is past.
_REST_S: Final = 0.015
REGIMES: Final = MappingProxyType(
    {
        one.name: one
        for one in (
            Regime("interleaved", "in turn without a pause, all at one clock", race_load_s=1.2, level_rest_s=_REST_S),
            Regime("burst", "2 ms of work after 15 ms of idle, at the boost clock", rest_s=_REST_S, patience=5.0),
            Regime(
                "sustained",
                "after a second of load, at the clock that the power cap leaves",
                load_s=1.2,
                race_load_s=1.2,
                settle_us=30_000.0,
                reading_us=20_000.0,
                race_reading_us=20_000.0,
                readings=5,
                patience=6.0,
            ),
        )
    }
)
DEFAULT: Final = "interleaved"


def regime_of(name: str) -> Regime:
    """The regime of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in REGIMES:
        raise ValueError(f"regime {name!r} is not known: use one of {', '.join(REGIMES)}")
    return REGIMES[name]
