"""One problem: search -> evaluate -> store -> search, and a race among the finalists."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..kernels.config import Config
from ..kernels.problem import Problem
from .evaluate import Meter, RaceLimit
from .search import Search
from .store import Store, TrialQuery
from .trial import Outcome, Trial

# A sampler that learns is asked for few at a time, so that it has seen most of what it asked before.
LEARNING_BATCH: Final = 6
BLIND_SAMPLERS: Final = ("random", "exhaustive")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a study may spend on one problem.

    Attributes:
        trials: at most so many, libraries not counted; 0 means the whole space.
        finalists: how many of the fastest are raced.
        race: when that race ends.
    """

    trials: int
    finalists: int
    race: RaceLimit


EFFORTS: Final = MappingProxyType(
    {
        "quick": Effort(40, 4, RaceLimit(rounds=30, seconds=1.0)),
        "standard": Effort(120, 6, RaceLimit(rounds=40, seconds=2.0)),
        "exhaustive": Effort(0, 8, RaceLimit(rounds=60, seconds=4.0)),
    }
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a study stands.

    Attributes:
        done, total: trials, those of earlier runs included.
        failed: of `done`.
        best_speed: against the library, from paired readings before any race; None when nothing was compared.
        seconds, seconds_left: spent on this problem, and what is expected to be needed yet.
    """

    problem: Problem
    done: int
    total: int
    failed: int
    best: Config | None
    best_speed: float | None
    best_us: float | None
    seconds: float
    seconds_left: float


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """How a problem is searched.

    Attributes:
        effort: what may be spent.
        sampler: a name in `SAMPLERS`.
        seed: of the sampler.
        seconds: at most so long, the race not counted; None means no limit.
    """

    effort: Effort
    sampler: str
    seed: int = 0
    seconds: float | None = None


class Study:
    """The search on one problem; every trial is in the store before the next is asked for."""

    def __init__(self, problem: Problem, meter: Meter, store: Store, options: StudyOptions) -> None:
        self.problem = problem
        self._meter = meter
        self._store = store
        self._options = options
        self._started = time.monotonic()
        self._library = meter.library(problem)
        self._library_us: float | None = None
        self._trials: dict[Config, Trial] = {}
        space = meter.space(problem)
        self._space_size = len(space)
        self._search = Search(space, sampler=options.sampler, seed=options.seed, first=meter.defaults(problem))
        self._new = 0

    def run(self, watch: Watch) -> None:
        """Searches until the effort or the time is spent, then races the finalists, unless that is stored already."""
        self._recall()
        self._measure_library()
        self._retell()
        watch(self.progress())
        pending = 0
        while True:
            while pending < self._batch() and self._may_ask(pending):
                config = self._search.ask()
                if config is None:
                    break
                self._meter.submit(self.problem, config)
                pending += 1
            ended = self._meter.collect()
            if not ended:
                break
            pending -= len(ended)
            for trial in ended:
                self._keep(trial)
                self._search.tell(trial.config, self._cost_us(trial))
            watch(self.progress())
        self._race()

    @property
    def total(self) -> int:
        """How many trials the effort allows."""
        return min(self._options.effort.trials or self._space_size, self._space_size)

    def progress(self) -> Progress:
        ours = [trial for trial in self._trials.values() if trial.config != self._library]
        measured = [trial for trial in ours if trial.outcome is Outcome.MEASURED]
        best = min(measured, key=lambda trial: self._cost_us(trial) or 0.0, default=None)
        measurement = best.measurement if best is not None else None
        spent = time.monotonic() - self._started
        return Progress(
            problem=self.problem,
            done=len(ours),
            total=max(self.total, len(ours)),
            failed=len(ours) - len(measured),
            best=best.config if best is not None else None,
            best_speed=measurement.speed if measurement is not None else None,
            best_us=measurement.median_us if measurement is not None else None,
            seconds=spent,
            seconds_left=self._seconds_left(spent, len(ours)),
        )

    def _seconds_left(self, spent: float, done: int) -> float:
        by_count = (self.total - done) * spent / self._new if self._new else float(self.total - done)
        if self._options.seconds is None:
            return max(0.0, by_count)
        return max(0.0, min(by_count, self._options.seconds - spent))

    def _batch(self) -> int:
        blind = self._options.sampler in BLIND_SAMPLERS
        return self._meter.capacity if blind else min(self._meter.capacity, LEARNING_BATCH)

    def _may_ask(self, pending: int) -> bool:
        limit = self._options.seconds
        in_time = limit is None or time.monotonic() - self._started < limit
        return in_time and self._own_count() + pending < self.total

    def _own_count(self) -> int:
        return sum(config != self._library for config in self._trials)

    def _recall(self) -> None:
        """What earlier runs, with today's toolchain, found out already."""
        stored = self._store.trials(TrialQuery(problem=self.problem, device=self._meter.device.name))
        for trial in fresh(stored, self._meter):
            self._trials[trial.config] = trial

    def _measure_library(self) -> None:
        if self._library is None:
            return
        if self._library not in self._trials:
            self._meter.submit(self.problem, self._library)
            for trial in self._meter.collect():
                self._keep(trial)
        known = self._trials.get(self._library)
        self._library_us = known.median_us if known is not None else None

    def _retell(self) -> None:
        ours = [trial for config, trial in self._trials.items() if config != self._library]
        self._search.refill((trial.config, self._cost_us(trial)) for trial in ours)

    def _keep(self, trial: Trial) -> None:
        self._store.add(trial)
        self._trials[trial.config] = trial
        self._new += trial.config != self._library

    def _cost_us(self, trial: Trial) -> float | None:
        """What the search minimizes: the library's time over the paired speed, free of the drift of clocks."""
        if trial.measurement is None or trial.outcome is not Outcome.MEASURED:
            return None
        speed = trial.measurement.speed
        return trial.measurement.median_us if speed is None or not self._library_us else self._library_us / speed

    def _race(self) -> None:
        measured = [trial for trial in self._trials.values() if trial.outcome is Outcome.MEASURED]
        ours = [trial for trial in measured if trial.config != self._library]
        ours.sort(key=lambda trial: self._cost_us(trial) or 0.0)
        finalists = tuple(trial.config for trial in ours[: self._options.effort.finalists])
        defaults = tuple(config for config in self._meter.defaults(self.problem) if config in self._trials)
        racers = tuple(dict.fromkeys((*finalists, *(one for one in defaults if one in {t.config for t in ours}))))
        if not racers or (not self._new and self._raced(finalists)):
            return
        race = self._meter.race(self.problem, racers, self._options.effort.race)
        if race is not None:
            self._store.add_race(race)

    def _raced(self, finalists: tuple[Config, ...]) -> bool:
        """Whether the same finalists have run against each other before, with today's toolchain."""
        races = self._store.races(self.problem, self._meter.device.name, limit=1)
        return bool(races) and all(
            (lane := races[0].lane(config)) is not None and lane.environment == self._meter.environment(config)
            for config in finalists
        )


def fresh(stored: Iterable[Trial], meter: Meter) -> list[Trial]:
    """The trials that the meter would find again: of its toolchain, and of its protocol where times were read."""
    return [
        trial
        for trial in stored
        if trial.environment == meter.environment(trial.config)
        and (trial.measurement is None or trial.measurement.protocol == meter.protocol)
    ]
