"""Many problems, one budget, one meter: the compiled kernels of one problem serve the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..kernels.problem import Problem
from .evaluate import Meter
from .store import Store
from .study import Progress, Study, StudyOptions


@dataclass(frozen=True, slots=True)
class PlanProgress:
    """Where a plan stands: the study under way, and the problems around it.

    Attributes:
        index, count: of the problem under way, from 0, and of all.
        seconds_left: for all problems that are left, this one included.
    """

    study: Progress
    index: int
    count: int
    seconds: float
    seconds_left: float


def run_plan(
    problems: Sequence[Problem],
    meter: Meter,
    store: Store,
    *,
    options: StudyOptions,
    watch: Callable[[PlanProgress], None],
) -> None:
    """Studies the problems one after another; `options.seconds` is for all of them together.

    What a problem does not use of its share, the rest may use.
    """
    started = time.monotonic()
    spent: list[float] = []
    for index, problem in enumerate(problems):
        ahead = len(problems) - index - 1
        begun = time.monotonic()
        left = None if options.seconds is None else max(0.0, options.seconds - (begun - started))
        share = None if left is None else left / (ahead + 1)

        def tell(progress: Progress, *, index: int = index, ahead: int = ahead) -> None:
            typical = sum(spent) / len(spent) if spent else progress.seconds + progress.seconds_left
            seconds_left = progress.seconds_left + ahead * typical
            watch(PlanProgress(progress, index, len(problems), time.monotonic() - started, seconds_left))

        Study(problem, meter, store, replace(options, seconds=share)).run(tell)
        spent.append(time.monotonic() - begun)
