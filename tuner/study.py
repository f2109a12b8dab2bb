"""One problem: search -> evaluate -> store -> search, and a race among the finalists."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice, zip_longest
from typing import Final

from ..kernels.config import Config
from ..kernels.families import is_deterministic
from ..kernels.problem import Problem
from ..kernels.space import ConfigSpace
from .effort import Progress, StudyOptions, Watch
from .evaluate import Meter
from .remembered import BAD, bad_elsewhere
from .search import Search
from .store import Store, TrialQuery
from .trial import Outcome, Trial

# A sampler that learns is asked for few at a time, so that it has seen most of what it asked before.
LEARNING_BATCH: Final = 6
LIKELY: Final = 16  # configs that a sampler may ask for next, compiled ahead while the device measures
BLIND_SAMPLERS: Final = ("random", "exhaustive")
HOPEFUL: Final = 0.9  # of the fastest: a default slower than that has no business in a race


class Study:
    """The search on one problem; every trial is in the store before the next is asked for.

    Args:
        problem, meter, store, options: of what, with what.
        first: configs tried before the sampler is asked, the best guess first, by turns with what the meter holds
            hopeful; those not in the space are left out.
    """

    def __init__(
        self, problem: Problem, meter: Meter, store: Store, options: StudyOptions, *, first: Sequence[Config] = ()
    ) -> None:
        self.problem = problem
        self.seconds = 0.0
        self.new = 0
        self._meter = meter
        self._store = store
        self._options = options
        self._library = meter.library(problem)
        self._library_us: float | None = None
        self._trials: dict[Config, Trial] = {}
        self._defaults = meter.defaults(problem)
        self._space = meter.space(problem)
        if options.deterministic:
            self._space = ConfigSpace(self._space.axes, filter(partial(is_deterministic, problem), self._space))
            self._defaults = tuple(config for config in self._defaults if config in self._space)
        by_turns = (one for pair in zip_longest(first, self._defaults) for one in pair if one is not None)
        self._search = Search(self._space, sampler=options.sampler, seed=options.seed, first=tuple(by_turns))
        self._costs: list[float] = []
        self._left_out = 0
        self._recall()

    @property
    def done(self) -> int:
        """Trials of our own families, those of earlier runs included."""
        return len(self._trials) - (self._library in self._trials)

    @property
    def size(self) -> int:
        """Of the space."""
        return len(self._space)

    @property
    def best_us(self) -> float | None:
        """At the library's clock; None before anything was measured."""
        return min(self._costs, default=None)

    @property
    def gain(self) -> float:
        """By how much the last third of the trials improved the best: 0.05 is 5%; what more trials may be worth."""
        earlier = self._costs[: len(self._costs) * 2 // 3]
        return math.log(min(earlier) / min(self._costs)) if earlier else 0.0

    def advance(self, total: int, until: float | None, watch: Watch) -> Progress | None:
        """Tries configs until `total` are done, none is left, or the clock (`time.monotonic`) is past `until`; what it
        told last, None where it tried nothing."""
        started = time.monotonic()
        self._measure_library()
        pending, told = 0, None
        while True:
            while pending < self._batch() and self.done + pending < total and not past(until):
                config = self._search.ask()
                if config is None:
                    break
                self._meter.submit(self.problem, config)
                pending += 1
            if past(until) and self._costs:
                pending -= self._withdraw()
            elif self.done + pending < total:
                self._meter.prefetch(self.problem, islice(self._search.likely(), LIKELY))
            ended = self._meter.collect()
            if not ended:
                break
            pending -= len(ended)
            for trial in ended:
                self._keep(trial)
            spent = self.seconds + time.monotonic() - started
            told = self._progress(min(total, self.size), spent)
            watch(told)
        self.seconds += time.monotonic() - started
        return told

    def race(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Races the finalists against the library, unless these very configs have been raced with this toolchain;
        `meanwhile` is called while they run, if they do."""
        ours = sorted(self._measured(), key=self._cost_us)
        if not ours:
            return
        worst = self._cost_us(ours[0]) / HOPEFUL
        hopeful = [trial.config for trial in ours if self._cost_us(trial) <= worst]
        finalists = [trial.config for trial in ours[: self._options.effort.finalists]]
        racers = tuple(dict.fromkeys((*finalists, *(config for config in hopeful if config in self._defaults))))
        if self._is_stored(racers):
            return
        started = time.monotonic()
        race = self._meter.race(self.problem, racers, self._options.effort.race, meanwhile)
        if race is not None:
            self._store.add_race(race)
        self.seconds += time.monotonic() - started

    def _progress(self, total: int, seconds: float) -> Progress:
        measured = self._measured()
        best = min(measured, key=self._cost_us, default=None)
        measurement = best.measurement if best is not None else None
        return Progress(
            problem=self.problem,
            done=self.done,
            total=max(total, self.done),
            failed=self.done - len(measured),
            best=best.config if best is not None else None,
            best_us=measurement.median_us if measurement is not None else None,
            best_speed=measurement.speed if measurement is not None else None,
            seconds=seconds,
            left_out=self._left_out,
        )

    def _batch(self) -> int:
        blind = self._options.sampler in BLIND_SAMPLERS
        return self._meter.capacity if blind else min(self._meter.capacity, LEARNING_BATCH)

    def _recall(self) -> None:
        """What earlier runs, with today's toolchain, found out already."""
        stored = self._store.trials(TrialQuery(problem=self.problem, device=self._meter.device.name))
        again = BAD if self._options.retry_bad else ()
        for trial in fresh(stored, self._meter):
            if trial.outcome not in again and not trial.lacked_memory:
                self._trials[trial.config] = trial
        self._set_library()
        ours = [trial for config, trial in self._trials.items() if config != self._library]
        self._search.refill((trial.config, self._told_us(trial)) for trial in ours)
        if not self._options.retry_bad:
            bad = bad_elsewhere(self.problem, self._meter, self._store) - self._trials.keys()
            left_out = sorted(config for config in bad if config in self._space)
            self._search.refill((config, None) for config in left_out)
            self._left_out = len(left_out)
        self._costs = [self._cost_us(trial) for trial in self._measured()]

    def _measure_library(self) -> None:
        alone = self._options.deterministic and not self._space  # what promises the same bits is no library
        if self._library is None or self._library in self._trials or alone:
            return
        self._meter.submit(self.problem, self._library)
        for trial in self._meter.collect():
            self._store.add(trial)
            self._trials[trial.config] = trial
        self._set_library()

    def _set_library(self) -> None:
        known = self._trials.get(self._library) if self._library is not None else None
        self._library_us = known.median_us if known is not None else None

    def _withdraw(self) -> int:
        """Takes back what is not compiled when the time is up and something was measured, for the device would wait for
        it; gives their number."""
        withdrawn = self._meter.withdraw()
        for config in withdrawn:
            self._search.withdraw(config)
        return len(withdrawn)

    def _keep(self, trial: Trial) -> None:
        self._store.add(trial)
        self._trials[trial.config] = trial
        self._search.tell(trial.config, self._told_us(trial))
        self.new += 1
        if trial.outcome is Outcome.MEASURED:
            self._costs.append(self._cost_us(trial))

    def _measured(self) -> list[Trial]:
        return [
            trial
            for config, trial in self._trials.items()
            if config != self._library and trial.outcome is Outcome.MEASURED
        ]

    def _told_us(self, trial: Trial) -> float | None:
        """What the search is told: None for a failure."""
        return self._cost_us(trial) if trial.outcome is Outcome.MEASURED else None

    def _cost_us(self, trial: Trial) -> float:
        """What the search minimizes: the library's time over the paired speed, free of the drift of clocks."""
        if trial.measurement is None:
            return math.inf
        speed = trial.measurement.speed
        return trial.measurement.median_us if speed is None or not self._library_us else self._library_us / speed

    def _is_stored(self, racers: tuple[Config, ...]) -> bool:
        """Whether the same configs have run against each other before, with today's toolchain."""
        races = self._store.by_protocol(self._meter.protocol).races(self.problem, self._meter.device.name, limit=1)
        return bool(races) and all(
            (lane := races[0].lane(config)) is not None and lane.environment == self._meter.environment(config)
            for config in racers
        )


def fresh(stored: Iterable[Trial], meter: Meter) -> list[Trial]:
    """The trials that the meter would find again: of its toolchain, and of its protocol where times were read."""
    return [
        trial
        for trial in stored
        if trial.environment == meter.environment(trial.config)
        and (trial.measurement is None or trial.measurement.protocol == meter.protocol)
    ]


def past(until: float | None) -> bool:
    """Whether the clock (`time.monotonic`) is past `until`; never, if that is None."""
    return until is not None and time.monotonic() >= until
