"""How much a search may spend on a problem, how it is searched, and where it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..kernels.config import Config
from ..kernels.problem import Problem
from .evaluate import RaceLimit


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
        "quick": Effort(40, 4, RaceLimit(rounds=60, seconds=1.0)),
        "standard": Effort(120, 6, RaceLimit(rounds=84, seconds=2.0)),
        "exhaustive": Effort(0, 8, RaceLimit(rounds=120, seconds=4.0)),
    }
)


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """How problems are searched.

    Attributes:
        effort: what may be spent on one problem.
        sampler: a name in `SAMPLERS`.
        seed: of the sampler.
        seconds: at most so long for all problems of a plan, races not counted; None means no limit.
        shared: whether a plan may move trials from one problem to another where they pay more.
        retry_bad: whether configs are tried again that were wrong, crashed or hung, on this problem or on another one.
        deterministic: whether only configs are tried that compute the same bits in every run.
    """

    effort: Effort
    sampler: str
    seed: int = 0
    seconds: float | None = None
    shared: bool = False
    retry_bad: bool = False
    deterministic: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a study stands.

    Attributes:
        done, total: trials, those of earlier runs included.
        failed: of `done`.
        best, best_us, best_speed: the fastest so far, its time, and its speed against the library by paired readings;
            None when nothing was measured or compared.
        seconds: spent on this problem.
        left_out: configs that are not tried because they were bad on another problem.
    """

    problem: Problem
    done: int
    total: int
    failed: int
    best: Config | None
    best_us: float | None
    best_speed: float | None
    seconds: float
    left_out: int = 0


Watch = Callable[[Progress], None]
