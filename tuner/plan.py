"""Many problems, one budget, one meter: what is compiled and learned for one problem serves the next."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from ..kernels.problem import Problem
from .effort import Progress, StudyOptions
from .evaluate import Meter
from .store import Store
from .study import Study, past
from .warm import likely, warm_starts

FIRST_SHARE: Final = 0.6  # of trials or time, dealt evenly; the rest goes where it pays
SLICE: Final = 30  # trials dealt at once: a change of problem costs about as much as these
HOPE: Final = 0.002  # what a problem is given credit for when its last trials gained nothing
RACE_SHARE: Final = 0.15  # of a time budget, for the rounds of races; what comes before these is as long as it is


@dataclass(frozen=True, slots=True)
class PlanProgress:
    """Where a plan stands: the study under way, and the problems around it.

    Attributes:
        index, count: of the problem under way, from 0, and of all.
        done, total: trials of all problems.
        ended: whether this problem has had its share.
        seconds, seconds_left: since the plan was begun, and until it ends as far as it can tell.
    """

    study: Progress
    index: int
    count: int
    done: int
    total: int
    ended: bool
    seconds: float
    seconds_left: float


def run_plan(
    problems: Sequence[Problem],
    meter: Meter,
    store: Store,
    *,
    options: StudyOptions,
    watch: Callable[[PlanProgress], None],
    calls: Mapping[Problem, float] | None = None,
) -> None:
    """Studies the problems one after another, then deals what is left to those where it pays most.

    Args:
        problems: each once.
        meter, store: with what, and where to.
        options: `seconds` and `shared` are for all problems together.
        watch: is told after each trial.
        calls: how often each problem is computed, relative to one another; 1 where it is not said. Without any each
            problem is taken to cost as much time as any other.
    """
    Plan(problems, meter, store, options, watch).run(calls or {})


class Plan:
    """The state of `run_plan`."""

    def __init__(
        self,
        problems: Sequence[Problem],
        meter: Meter,
        store: Store,
        options: StudyOptions,
        watch: Callable[[PlanProgress], None],
    ) -> None:
        self._problems = problems
        self._meter = meter
        self._store = store
        self._options = _with_short_races(options, len(problems))
        self._watch = watch
        self._started = time.monotonic()
        self._studies: list[Study] = []
        self._races: list[float] = []  # seconds that each took
        self._pace: list[tuple[int, float]] = []  # new trials, and the seconds that they were done at
        self._shared = options.shared and len(problems) > 1
        self._prefetched = 0  # problems whose kernels are compiled ahead, or will be

    def run(self, calls: Mapping[Problem, float]) -> None:
        for index, problem in enumerate(self._problems):
            if index and past(self._end()):  # as where a library is slow on what came before
                return
            self._prefetch()
            first = warm_starts(problem, self._meter, self._store)
            study = Study(problem, self._meter, self._store, self._options, first=first)
            self._studies.append(study)
            self._advance(study, self._first_total(study), self._first_until(index))
        while self._shared and self._left() > 0 and not past(self._until()):
            study = max(self._studies, key=lambda one: self._payoff(one, calls))
            if self._payoff(study, calls) <= 0:
                break
            total = study.done + min(SLICE, self._left())
            self._advance(study, total, self._until())

    def _prefetch(self) -> None:
        """Compiles kernels of the next problem ahead: called before it is begun, and while that before it is raced,
        when this process has nothing else to do."""
        index = len(self._studies)
        for problem in self._problems[self._prefetched : index + 1]:
            self._meter.prefetch(problem, likely(problem, self._meter, self._store))
        self._prefetched = max(self._prefetched, index + 1)

    def _advance(self, study: Study, total: int, until: float | None) -> None:
        last = study.advance(total, until, lambda at: self._tell(study, at, ended=at.done >= at.total))
        if last is not None and last.done < last.total:  # by its time
            self._tell(study, last, ended=True)
        started = time.monotonic()
        study.race(meanwhile=self._prefetch)
        self._races.append(time.monotonic() - started)

    def _first_total(self, study: Study) -> int:
        """Trials that a problem gets in any case."""
        effort = self._options.effort.trials or study.size
        return max(1, round(FIRST_SHARE * effort)) if self._shared else effort

    def _left(self) -> int:
        """Trials that are yet to be dealt."""
        return self._options.effort.trials * len(self._problems) - sum(study.done for study in self._studies)

    def _total(self) -> int:
        """Trials of all problems when the plan ends; one that was not begun counts as the mean of the others."""
        effort = self._options.effort.trials
        most = 2 * effort if self._shared else effort
        begun = [min(most or one.size, one.size) for one in self._studies]
        total = round(sum(begun) * len(self._problems) / len(begun))
        return min(total, effort * len(self._problems)) if effort else total

    def _seconds_a_trial(self, seconds: float) -> float:
        """By the newer half of the trials: the first are slower, their kernels are not compiled."""
        new = sum(one.new for one in self._studies)
        self._pace.append((new, seconds))
        earlier, since = self._pace[len(self._pace) // 2 - 1] if len(self._pace) > 1 else (0, 0.0)
        return (seconds - since) / max(new - earlier, 1)

    def _payoff(self, study: Study, calls: Mapping[Problem, float]) -> float:
        """What a trial more may save: calls x time x expected gain; 0 where nothing is left to try. What could try
        nothing in its share of the time, as a library that is slow takes all of it, comes before everything else."""
        most = min(2 * self._options.effort.trials, study.size)
        if not study.done and most:
            return math.inf
        if study.best_us is None or study.done >= most:
            return 0.0
        time = calls.get(study.problem, 1.0) * study.best_us if calls else 1.0
        return time * (study.gain + HOPE) / study.done

    def _race_s(self, seconds: float) -> float:
        """What a race takes: the mean of those that were run, and before any its share of the time. A load precedes the
        rounds, which short budgets do not shorten."""
        return fmean(self._races) if self._races else RACE_SHARE * seconds / len(self._problems)

    def _end(self) -> float | None:
        seconds = self._options.seconds
        return None if seconds is None else self._started + seconds

    def _until(self) -> float | None:
        """When trials end, so that one more race ends in time."""
        end, seconds = self._end(), self._options.seconds
        return None if end is None or seconds is None else end - self._race_s(seconds)

    def _first_until(self, index: int) -> float | None:
        """When a problem's first share of the time ends, in which it and all after it are raced as well; what one does
        not use, those after it may use."""
        seconds = self._options.seconds
        if seconds is None:
            return None
        now, left = time.monotonic(), len(self._problems) - index
        share = FIRST_SHARE if self._shared else 1.0
        free = self._started + seconds - now - left * self._race_s(seconds)
        return now + max(0.0, free * share / (len(self._problems) - index * share))

    def _tell(self, study: Study, progress: Progress, *, ended: bool) -> None:
        done = sum(one.done for one in self._studies)
        total = self._total()
        seconds = time.monotonic() - self._started
        by_trials = max(0, total - done) * self._seconds_a_trial(seconds)
        left = by_trials if self._options.seconds is None else min(by_trials, self._options.seconds - seconds)
        self._watch(
            PlanProgress(
                study=progress,
                index=self._studies.index(study),
                count=len(self._problems),
                done=done,
                total=max(total, done),
                ended=ended,
                seconds=seconds,
                seconds_left=max(0.0, left),
            )
        )


def _with_short_races(options: StudyOptions, count: int) -> StudyOptions:
    """Under a time budget all races together take their share of it and no more."""
    if options.seconds is None:
        return options
    race = options.effort.race
    seconds = min(race.seconds, RACE_SHARE * options.seconds / max(1, count))
    return replace(options, effort=replace(options.effort, race=replace(race, seconds=seconds)))
