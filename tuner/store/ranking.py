"""What is stored about a problem on a device, the best config first."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.problem import Problem
from ...kernels.stale import Today, staleness
from ..ratio import is_tie, paired_ratio
from ..referee import lane_rank, lane_ratio, verdict_text
from ..roofline import roofline_us
from ..trial import Environment, Lane, Measurement, Outcome, Race, Ratio, Trial
from .protocol import Store, StoreError, TrialQuery

SPARE: Final = 4  # trials read beyond those asked for, in the place of configs that have failed since
RACES: Final = 4  # older races say nothing that the latest ones do not


class Origin(StrEnum):
    """Where an answer comes from."""

    EXACT = "exact"
    NEAR = "near"
    STALE = "stale"
    LIBRARY = "library"


@dataclass(frozen=True, slots=True)
class Ranked:
    """A config with its standing.

    Attributes:
        problem: that was measured; not the one that was asked for when `origin` is NEAR.
        median_us: of a launch on that problem.
        ratio: how much faster than `reference`, paired round by round; None when it was only timed alone.
        reference: what the ratio is against; None when there is none, or when it is not told.
        raced: whether finalists ran against one another; if not, the config was timed apart from the others.
        stale: what differs from today's toolchain; empty when nothing does.
        environment, protocol, device, measured_at: how, on what and when.
        roofline_us: the least time that the device's measured rates leave; None when they are not stored.
        verdict: how the race ended, in words; empty when there was none.
    """

    config: Config
    problem: Problem
    origin: Origin
    median_us: float
    ratio: Ratio | None
    reference: Config | None
    raced: bool
    stale: tuple[str, ...]
    environment: Environment
    device: Device
    protocol: str
    measured_at: datetime
    roofline_us: float | None = field(default=None, compare=False)
    verdict: str = field(default="", compare=False)

    @property
    def tflops(self) -> float:
        return self.problem.flops / self.median_us / 1e6

    @property
    def of_roofline(self) -> float | None:
        """How near it comes to what the device can do: 1 is as fast as its measured rates allow."""
        return self.roofline_us / self.median_us if self.roofline_us is not None else None

    @property
    def is_tie(self) -> bool:
        """Whether it runs as fast as the reference, within 1%."""
        return self.ratio is not None and is_tie(self.ratio)


# What ranks a result: whether it is stale, the age of its race, and its rank there, or its time or its speed; the
# lowest is first.
_Rank = tuple[bool, int, int, float]


def ranking(
    store: Store,
    problem: Problem,
    device: str,
    *,
    count: int,
    today: Today = None,
    among: Callable[[Environment], bool] | None = None,
    only: Callable[[Problem, Config], bool] | None = None,
) -> list[Ranked]:
    """The first `count` configs for `problem` on a device by name, each with its best standing.

    Fresh results come before stale ones, then raced ones before those timed apart: races by `lane_rank`, the latest
    race first, the rest by their speed beside the library. A config that failed after it was measured is out.

    Args:
        store, problem, device: of what.
        count: at most so many.
        today: today's environment; without it nothing is known to be stale.
        among: which environments count; all, if not given.
        only: which configs count; all, if not given.
    """
    environments = [one for one in store.environments(problem, device) if among is None or among(one)]
    timed = _timed(fastest(store, problem, device, environments, None if only else count + SPARE), today)
    raced = (one for one in _raced(store, problem, device, today) if among is None or among(one[1].environment))
    standings: dict[Config, tuple[_Rank, Ranked]] = {}
    for rank, result in itertools.chain(raced, timed):
        if only is not None and not only(problem, result.config):
            continue
        if result.config not in standings or rank < standings[result.config][0]:
            standings[result.config] = rank, result
    ordered = sorted(standings.values(), key=lambda standing: (standing[0], str(standing[1].config)))
    sound = (result for _, result in ordered if not _failed_since(store, result))
    ceilings = next(iter(store.ceilings(device)), None)
    least_us = roofline_us(problem, ceilings)
    return [replace(result, roofline_us=least_us) for result in itertools.islice(sound, count)]


def _raced(store: Store, problem: Problem, device: str, today: Today) -> Iterator[tuple[_Rank, Ranked]]:
    for age, race in enumerate(store.races(problem, device, limit=RACES)):
        verdict = verdict_text(race)
        for lane in race.lanes:
            stale = staleness(lane.environment, lane.config.family, today)
            ratio = lane_ratio(race, lane)
            result = Ranked(
                config=lane.config,
                problem=problem,
                origin=_origin(lane.config, stale),
                median_us=_at_one_clock_us(race, lane, ratio),
                ratio=ratio,
                reference=race.reference if ratio else None,
                raced=True,
                stale=stale,
                environment=lane.environment,
                device=race.device,
                protocol=race.protocol,
                measured_at=race.started_at,
                verdict=verdict,
            )
            yield (bool(stale), age, *lane_rank(race, lane)), result


def _at_one_clock_us(race: Race, lane: Lane, ratio: Ratio | None) -> float:
    """A lane's time as it would be at the reference's clock over the whole race: one that left early ran at another."""
    reference = race.lane(race.reference)
    if ratio is None or reference is None:
        return statistics.median(lane.times_us)
    return statistics.median(reference.times_us) / ratio.median


def _speed_alone(trial: Trial, median_us: float, library_us: float) -> float:
    """Of what was not read beside the library: the library itself is as fast as itself, whatever its clock was."""
    return 1.0 if not trial.config.items_by_axis else library_us / median_us


def _timed(trials: list[Trial], today: Today) -> Iterator[tuple[_Rank, Ranked]]:
    beside = [statistics.median(times) for trial in trials if (times := _times(trial).reference_us)]
    library_us = statistics.median(beside) if beside else None
    for trial in trials:
        read = _times(trial)
        stale = staleness(trial.environment, trial.config.family, today)
        speed = read.speed or (_speed_alone(trial, read.median_us, library_us) if library_us else None)
        result = Ranked(
            config=trial.config,
            problem=trial.problem,
            origin=_origin(trial.config, stale),
            median_us=read.median_us,
            ratio=paired_ratio(read.times_us, read.reference_us) if read.reference_us else None,
            reference=None,
            raced=False,
            stale=stale,
            environment=trial.environment,
            device=trial.device,
            protocol=read.protocol,
            measured_at=trial.started_at,
        )
        yield (bool(stale), RACES, 0, -speed if speed else read.median_us), result


def fastest(
    store: Store, problem: Problem, device: str, environments: list[Environment], count: int | None
) -> list[Trial]:
    """The first trials of each environment, by their time and by their speed beside a library: a clock that drifts
    misjudges the first by more than a tenth, and not all have the second."""
    orders: tuple[Literal["median"], Literal["speed"]] = ("median", "speed")
    queries = [
        TrialQuery(problem, device, outcome=Outcome.MEASURED, environment=environment, order=order, limit=count)
        for environment in environments
        for order in orders
    ]
    return list(dict.fromkeys(trial for query in queries for trial in store.trials(query)))


def _times(trial: Trial) -> Measurement:
    if trial.measurement is None:
        raise StoreError(f"{trial.config} on {trial.problem} is stored as measured without its times: import a copy")
    return trial.measurement


def _failed_since(store: Store, result: Ranked) -> bool:
    """Whether the config failed in the same environment after it was measured."""
    query = TrialQuery(result.problem, result.device.name, config=result.config, environment=result.environment)
    return any(
        trial.outcome is not Outcome.MEASURED and not trial.lacked_memory and trial.started_at > result.measured_at
        for trial in store.trials(query)
    )


def _origin(config: Config, stale: tuple[str, ...]) -> Origin:
    if not config.items_by_axis:
        return Origin.LIBRARY
    return Origin.STALE if stale else Origin.EXACT
