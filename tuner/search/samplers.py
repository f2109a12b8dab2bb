"""Optuna samplers that choose among the valid configs of a space, each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from .history import History
from .points import Points


class PointSampler(BaseSampler):
    """Chooses an untried valid config for each trial of one study. Deterministic by seed and history.

    A subclass gives `choose`. It must propose only what `history.open` holds, and keep no state between calls that the
    history does not give back: a resumed study goes on as the one that was stopped.
    """

    def __init__(self, points: Points, seed: int = 0) -> None:
        self.points = points
        self.history = History(points)
        self._seed = seed
        self._distributions = points.distributions()

    def choose(self, history: History, rng: np.random.Generator) -> int:
        """The number of an open config; at least one is open."""
        raise NotImplementedError

    def likely(self) -> Iterator[int]:
        """Open configs that may be chosen next, the likeliest first; none of a sampler that does not know."""
        return iter(())

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self.history.update(study)
        if not self.history.open_count:
            raise ValueError(f"all {len(self.points)} configs of the space are tried: nothing is left to propose")
        return self.points.params(self.choose(self.history, np.random.default_rng([self._seed, trial.number])))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise ValueError(f"parameter {param_name!r} is no axis of the space: {', '.join(self._distributions)}")


class RandomSampler(PointSampler):
    """Any untried config, each as likely."""

    def choose(self, history: History, rng: np.random.Generator) -> int:
        return int(rng.choice(np.flatnonzero(history.open)))


class ExhaustiveSampler(PointSampler):
    """Every config, in the order of the space."""

    def choose(self, history: History, rng: np.random.Generator) -> int:
        return int(np.argmax(history.open))


class SnappedTPESampler(PointSampler):
    """Optuna's TPE, each proposal moved to the nearest untried valid config."""

    def __init__(self, points: Points, seed: int = 0) -> None:
        super().__init__(points, seed)
        self._tpe = TPESampler(seed=seed)
        self._proposal: Mapping[str, Any] = {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        space = self._tpe.infer_relative_search_space(study, trial)
        proposal = self._tpe.sample_relative(study, trial, space)
        for name, distribution in self._distributions.items():
            if name not in proposal:
                proposal[name] = self._tpe.sample_independent(study, trial, name, distribution)
        self._proposal = proposal
        return super().sample_relative(study, trial, search_space)

    def choose(self, history: History, rng: np.random.Generator) -> int:
        row = np.array([self._proposal[name] for name in self._distributions], dtype=np.int16)
        candidates = np.flatnonzero(history.open)
        distance = self.points.distance(row, candidates)
        return int(rng.choice(candidates[distance <= distance.min() + 1e-9]))
