"""Why a problem's best config is what it is: what limited the space, which axes mattered, what may be left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..kernels import families
from ..kernels.config import Config
from ..kernels.device import Device
from ..kernels.problem import Problem
from ..kernels.space import SearchSpace, union
from .search import axis_importance, promise
from .store import Store, TrialQuery
from .trial import Outcome, Trial


@dataclass(frozen=True, slots=True)
class Limits:
    """What limited one family's space.

    Attributes:
        combinations: points of the axes' product.
        valid: what the constraints left.
        rejected: (constraint, how many configs it rejected as the first to do so), the most first.
    """

    family: str
    combinations: int
    valid: int
    rejected: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a problem's space on a device.

    Attributes:
        limits: for each family.
        tried, failed, size: configs of our own families tried in the latest environment, those that failed, all valid.
        importance: (axis, share of the variance of log time that it explains), the most important first.
        expected_gain: what a model of the trials expects the best untried config to gain over the best tried, as a
            fraction of its time; None with too few trials to say.
    """

    problem: Problem
    device: Device
    limits: tuple[Limits, ...]
    tried: int
    failed: int
    size: int
    importance: tuple[tuple[str, float], ...]
    expected_gain: float | None


def explain(problem: Problem, device: Device, store: Store) -> Explanation:
    """What the constraints, and the trials in `store`, say about `problem` on `device`."""
    spaces = [one.space(problem, device) for one in families.FAMILIES.values() if not one.is_library]
    trials = _latest(store, problem, device)
    results = [(trial.config, trial.median_us if trial.outcome is Outcome.MEASURED else None) for trial in trials]
    measured = [(config, time_us) for config, time_us in results if time_us is not None]
    space = union(spaces)
    importance = axis_importance(measured, space)
    return Explanation(
        problem=problem,
        device=device,
        limits=tuple(_limits(one) for one in spaces),
        tried=len(results),
        failed=len(results) - len(measured),
        size=len(space),
        importance=tuple(sorted(importance.items(), key=lambda item: -item[1])),
        expected_gain=promise(space, results),
    )


def _latest(store: Store, problem: Problem, device: Device) -> list[Trial]:
    """The newest trial of each of our own configs."""
    newest: dict[Config, Trial] = {}
    for trial in store.trials(TrialQuery(problem=problem, device=device.name)):
        if trial.config.items_by_axis:
            newest[trial.config] = trial
    return list(newest.values())


def _limits(space: SearchSpace) -> Limits:
    rejected: Counter[str] = Counter()
    combinations = 0
    for config in space.product():
        combinations += 1
        found = space.rejection(config)
        if found is not None:
            rejected[found.constraint] += 1
    return Limits(space.family, combinations, combinations - rejected.total(), tuple(rejected.most_common()))
