"""The Python face of tuning and of querying: what the commands do, as values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..kernels.config import Config
from ..kernels.problem import Problem
from .ceilings import known_ceilings
from .effort import EFFORTS, StudyOptions
from .evaluate import DEFAULT_REGIME, Meter, MeterOptions, open_meter
from .evaluate.toolchain import toolchain
from .plan import PlanProgress, run_plan
from .search import SAMPLERS
from .store import StoreError, open_store
from .store.query import Answer, NotStoredError
from .store.query import best as best_of
from .unanswered import in_short, why_none

DEFAULT_SAMPLER = "gp"
LARGEST_SEED = 2**32 - 1  # of what NumPy's generators take


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How `tune` works.

    Attributes:
        effort: a name in `EFFORTS`.
        trials: at most so many a problem, in place of what the effort says; None keeps that.
        seconds: for all problems together; None means as long as the effort takes.
        sampler: a name in `SAMPLERS`; empty means the best one, or `exhaustive` with that effort.
        seed: of sampler and operands.
        families: that are tried; none means all.
        jobs: compiling processes; 0 means one less than there are cores.
        regime: how busy the device is kept when it is read; a name in `REGIMES`.
        retry_bad: tries configs again that were wrong, crashed or hung, on these problems or on others.
        deterministic: tries, and answers with, only configs that compute the same bits in every run.
    """

    effort: str = "standard"
    trials: int | None = None
    seconds: float | None = None
    sampler: str = ""
    seed: int = 0
    families: tuple[str, ...] = ()
    jobs: int = 0
    regime: str = DEFAULT_REGIME
    retry_bad: bool = False
    deterministic: bool = False

    def study(self) -> StudyOptions:
        """The same for a study.

        Raises:
            ValueError: an effort or a sampler that is not known, or a number out of its bounds.
        """
        if self.effort not in EFFORTS:
            raise ValueError(f"effort {self.effort!r} is not known: use one of {', '.join(EFFORTS)}")
        sampler = self.sampler or ("exhaustive" if self.effort == "exhaustive" else DEFAULT_SAMPLER)
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler {sampler!r} is not known: use one of {', '.join(SAMPLERS)}")
        if self.trials is not None:
            _check_whole("trials", self.trials, 1, None)
        _check_whole("seed", self.seed, 0, LARGEST_SEED)
        _check_whole("jobs", self.jobs, 0, None)
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds is {self.seconds:g}: a budget is longer than nothing, and ends")
        _check_names(self.families)
        effort = EFFORTS[self.effort]
        if self.trials is not None:
            effort = replace(effort, trials=self.trials)
        shared = self.trials is None and self.effort != "exhaustive"
        return StudyOptions(effort, sampler, self.seed, self.seconds, shared, self.retry_bad, self.deterministic)

    def meter(self) -> MeterOptions:
        """The same for a meter."""
        return MeterOptions(self.families, self.jobs, self.seed, self.regime)


def _check_whole(name: str, value: object, least: int, most: int | None) -> None:
    """
    Raises:
        ValueError: it is no whole number, or out of its bounds.
    """
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"from {least}" + (f" to {most}" if most is not None else " on")
        raise ValueError(f"{name} is {value!r}: give a whole number {bounds}")


def _check_names(families: object) -> None:
    """
    Raises:
        ValueError: it is one text, whose letters are no names.
    """
    if isinstance(families, str):
        raise ValueError(f"families is the text {families!r}: give a tuple of names")


def _check_problems(problems: Sequence[object]) -> None:
    """
    Raises:
        ValueError: there is something else among them, as a text.
    """
    if isinstance(problems, (Problem, str)) or not all(isinstance(one, Problem) for one in problems):
        raise ValueError(f"problems is {problems!r}: give a list of tilewright.Problem, as [Problem(512, 4096, 4096)]")


def tune(
    problems: Sequence[Problem],
    *,
    device: str = "gpu",
    db: str | Path = "memory://",
    options: TuneOptions | None = None,
    watch: Callable[[PlanProgress], None] = lambda progress: None,
    calls: Mapping[Problem, float] | None = None,
) -> list[Answer]:
    """Tunes `problems` on a device and returns the winners, in the order of the problems; of a problem on which nothing
    could be measured there is none.

    Args:
        problems: what is to be computed.
        device: `gpu`, `gpu:1`, `cpu`, or `replay:FILE` with a recorded landscape.
        db: the store: a path (SQLite) or a URL. Every trial is in it when it ends; what it holds is not tried again.
        options: effort, budget, sampler.
        watch: is told after each trial where the plan stands.
        calls: how often a program computes each problem, relative to one another, by which a budget is shared; without
            them all problems count alike.

    Raises:
        MeterError: the device is not there.
        StoreError: the store cannot be opened or written, or nothing was measured; the message says why.
        ValueError: an option out of its bounds.
    """
    _check_problems(problems)
    chosen = options or TuneOptions()
    study = chosen.study()
    meter = open_meter(device, chosen.meter())
    try:
        answers, missing = tune_with(meter, problems, db, study, watch, calls)
    finally:
        meter.close()
    if missing and not answers:
        raise StoreError(in_short(missing))
    return answers


def tune_with(
    meter: Meter,
    problems: Sequence[Problem],
    db: str | Path,
    options: StudyOptions,
    watch: Callable[[PlanProgress], None],
    calls: Mapping[Problem, float] | None = None,
) -> tuple[list[Answer], list[str]]:
    """`tune` on a meter that is open already: the answers, and of each problem that has none a sentence why."""
    with open_store(db) as store:
        run_plan(problems, meter, store, options=options, watch=watch, calls=calls)
        known_ceilings(meter, store)
        answer = partial(best_of, store.by_protocol(meter.protocol), device=meter.device.name, environment=meter.today)
        answers, missing = [], []
        for problem in problems:
            try:
                answers.append(answer(problem, near=False, deterministic=options.deterministic))
            except NotStoredError:
                missing.append(why_none(problem, meter, store, deterministic=options.deterministic))
        return answers, missing


def best(
    problem: Problem,
    *,
    db: str | Path,
    device: str | None = None,
    runners_up: int = 5,
    deterministic: bool = False,
) -> Answer:
    """The fastest known config of a problem, with its runners-up and where that answer comes from.

    Args:
        problem: what is to be computed; a problem that was never measured is answered by the nearest that was.
        db: the store: a path (SQLite) or a URL; it is only read.
        device: by name; None means the one on which the problem was measured last.
        runners_up: at most so many.
        deterministic: whether only configs answer that compute the same bits in every run.

    Raises:
        StoreError: the store cannot be read, or nothing in it answers.
        ValueError: `problem` is none, or a number out of its bounds.
    """
    _check_problems([problem])
    _check_whole("runners_up", runners_up, 0, None)
    with open_store(db, readonly=True) as store:
        return best_of(
            store,
            problem,
            device=device,
            runners_up=runners_up,
            deterministic=deterministic,
            environment=toolchain(),
        )


__all__ = ["Answer", "Config", "Problem", "TuneOptions", "best", "tune", "tune_with"]
