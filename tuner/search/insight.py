"""What the trials of a search say about its space: which axes mattered, and what may be left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import optuna
from optuna.trial import create_trial

from ...kernels.config import Config
from ...kernels.space import ConfigSpace, Space
from .gp import CONDITIONED, FITTED, expected_improvement, standardized, thinned
from .history import History
from .points import FAMILY, Points
from .process import Features, Process, fitted
from .search import silent_study

ENOUGH: Final = 10  # measured configs, fewer say nothing
_CHUNK: Final = 4096


def axis_importance(results: Sequence[tuple[Config, float]], axes: Space) -> dict[str, float]:
    """How much each axis matters to being among the fastest tenth, as shares of 1, the most important first.

    By Optuna's PED-ANOVA (Watanabe, Bansal and Hutter, 2023). Axes of several families are told apart by the axis
    `family`. Empty with too few results to say.

    Args:
        results: configs with their times in us.
        axes: the space that they are of.
    """
    points = Points(ConfigSpace(axes.axes, [config for config, _ in results]))
    if len(points) < ENOUGH:
        return {}
    varying = [column for column in range(len(points.axes)) if len(set(points.levels[:, column].tolist())) > 1]
    names = {name: points.axes[column].name for column, name in enumerate(points.distributions()) if column in varying}
    distributions = {name: one for name, one in points.distributions().items() if name in names}
    study = silent_study(optuna.samplers.RandomSampler())
    for config, time_us in results:
        index = points.index(config)
        if index is not None:
            params = {name: value for name, value in points.params(index).items() if name in names}
            study.add_trial(create_trial(value=math.log(time_us), params=params, distributions=distributions))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(names))
    return {names[name] if name != FAMILY else FAMILY: float(share) for name, share in found.items()}


def promise(space: Space, results: Sequence[tuple[Config, float | None]]) -> float | None:
    """What the best untried config is expected to gain over the best tried, as a fraction of its time.

    By the likeliest Gaussian process on the trials. 0 when nothing is left to try; None with too few trials to say.
    """
    points = Points(space)
    history = _history(points, results)
    if sum(math.isfinite(log_us) for log_us in history.log_us) < ENOUGH:
        return None
    untried = np.flatnonzero(history.open)
    if not len(untried):
        return 0.0
    tried, values, unit = standardized(history)
    features = Features(points)
    hyper = fitted(features, *thinned(tried, values, FITTED))
    process = Process(features, *thinned(tried, values, CONDITIONED), hyper)
    best = float(values.min())
    gains = [
        expected_improvement(best, *process.predict(untried[start : start + _CHUNK])).max()
        for start in range(0, len(untried), _CHUNK)
    ]
    gain = max(gains) * unit  # in speeds of the best
    return float(gain / (1 + gain))


def _history(points: Points, results: Sequence[tuple[Config, float | None]]) -> History:
    history = History(points)
    for config, time_us in results:
        index = points.index(config)
        if index is not None and history.open[index]:
            history.open[index] = False
            history.open_count -= 1
            history.tried.append(index)
            history.log_us.append(math.inf if time_us is None else math.log(time_us))
    return history
