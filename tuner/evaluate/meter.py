"""What a study needs of whatever measures: a GPU, the host, or a recorded landscape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.problem import Problem
from ...kernels.space import Space
from ...kernels.stale import Today
from ..roofline import Ceilings
from ..trial import Environment, Race, Trial
from .regime import DEFAULT


class MeterError(ValueError):
    """A meter that cannot be had or has stopped working: one line with the cause and the next step."""


@dataclass(frozen=True, slots=True)
class MeterOptions:
    """How a live device is worked.

    Attributes:
        families: names of the families that are tried; none means all.
        jobs: compiling processes; 0 means one less than there are cores.
        seed: of the random operands.
        regime: how busy the device is kept when it is read; a name in `REGIMES`.
        evaluate_timeout_s: for one config, to prepare its problem, to check it and to read something a thousand times
            slower than the peak; what the work itself may take is added.
    """

    families: tuple[str, ...] = ()
    jobs: int = 0
    seed: int = 0
    regime: str = DEFAULT
    evaluate_timeout_s: float = 20.0


@dataclass(frozen=True, slots=True)
class RaceLimit:
    """When a race ends at the latest; the seconds are those of the default regime."""

    rounds: int = 80
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Spending:
    """Seconds of the device for readings: those spent, in search and races, and those that it would have taken
    to read every candidate in full: in as many rounds as a race has for who stays to the end."""

    spent_s: float
    in_full_s: float


class Meter(Protocol):
    """Turns configs into trials. One problem at a time is cheap; going to and fro between problems is not.

    An implementer must not raise for a config that fails: a failure is a trial with its outcome and reason. It must not
    propose configs, and must not store.
    """

    @property
    def device(self) -> Device: ...

    @property
    def protocol(self) -> str:
        """The name of how times are read; part of a result's key."""
        ...

    @property
    def capacity(self) -> int:
        """How many submitted configs keep it busy."""
        ...

    def space(self, problem: Problem) -> Space:
        """What may be tried: our own families, without the libraries."""
        ...

    def defaults(self, problem: Problem) -> tuple[Config, ...]:
        """Points of the space that are tried first."""
        ...

    def library(self, problem: Problem) -> Config | None:
        """The library that speeds are compared with."""
        ...

    def environment(self, config: Config) -> Environment: ...

    @property
    def today(self) -> Today:
        """The environment of each family that is known, by which stored results are fresh or stale."""
        ...

    @property
    def busy_share(self) -> float | None:
        """Of the time since it was opened, what the device's process worked; None where no device is at work."""
        ...

    @property
    def concerns(self) -> tuple[str, ...]:
        """What one should know before the device is measured; empty when there is nothing."""
        ...

    @property
    def spending(self) -> Spending | None:
        """Of the device until now; None where no device is at work."""
        ...

    def prefetch(self, problem: Problem, configs: Iterable[Config]) -> None:
        """Says that some of these are likely to be submitted, the likeliest first, so that what is idle may compile
        them."""
        ...

    def submit(self, problem: Problem, config: Config) -> None: ...

    def withdraw(self) -> list[Config]:
        """Takes back what was submitted and is not compiled yet, and says what that is; the rest is still collected."""
        ...

    def collect(self) -> list[Trial]:
        """Waits until at least one submitted config has ended; empty when none is submitted."""
        ...

    def race(
        self,
        problem: Problem,
        configs: tuple[Config, ...],
        limit: RaceLimit,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Race | None:
        """Races `configs` against the library; None where nothing can be raced. While the device is at work on it
        `meanwhile` may be called, once."""
        ...

    def ceilings(self) -> Ceilings | None:
        """What the device can do at best, measured now; None where there is nothing to measure."""
        ...

    def close(self) -> None: ...


def now() -> datetime:
    return datetime.now(UTC)
