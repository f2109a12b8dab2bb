"""A Gaussian process over configs: what the trials say about the configs that were not tried."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

from .points import ABSENT, Points

Floats = NDArray[np.float64]

# Few parameters, each on a small grid: with 10 to 100 trials a length scale an axis overfits (on a recorded GEMM space,
# 17,956 configs: .98 of the optimum after 100 trials where this reaches 1.00; medians of 20 seeds).
SCALES: Final = (0.15, 0.25, 0.4, 0.65, 1.0, 1.6)
HAMMING_WEIGHTS: Final = (0.0, 0.03, 0.1, 0.3, 1.0)
NOISES: Final = (1e-4, 1e-2)  # variance of a reading, as a share of the variance of all


@dataclass(frozen=True, slots=True)
class Hyper:
    """One setting of the process.

    Attributes:
        scale: the length scale, in units of an axis's whole length.
        hamming: the weight of the share of axes on which two configs differ at all.
        noise: the variance of a reading, relative to the process's.
        log_likelihood: of the trials it was fitted to, its variance integrated out by its maximum.
    """

    scale: float
    hamming: float
    noise: float
    log_likelihood: float


class Features:
    """Configs as coordinates: the position in [0, 1] on each ordinal axis, and which value on every axis.

    An axis that a config does not have lies in the middle. Categorical axes, the family among them, count as 1 where
    they differ.
    """

    def __init__(self, points: Points) -> None:
        self._levels = points.levels
        self._axes = points.axes

    @cached_property
    def positions(self) -> Floats:
        columns = [self._position(column) for column in range(len(self._axes))]
        return np.concatenate(columns, axis=1)

    @cached_property
    def values(self) -> Floats:
        """One column a value of an axis, so that the squared distance is the number of axes that differ."""
        return np.concatenate([self._value(column) for column in range(len(self._axes))], axis=1)

    def _value(self, column: int) -> Floats:
        width = len(self._axes[column].values)
        one_hot: Floats = np.eye(width + 1)[self._levels[:, column] + 1]
        one_hot *= np.sqrt(0.5)
        return one_hot

    def _position(self, column: int) -> Floats:
        axis = self._axes[column]
        if not axis.ordinal:
            return self._value(column)
        levels = self._levels[:, [column]]
        position: Floats = np.where(levels == ABSENT, 0.5, levels / max(len(axis.values) - 1, 1))
        return position

    def __len__(self) -> int:
        return len(self._axes)


def squared_distance(a: Floats, b: Floats) -> Floats:
    """[rows of a, rows of b]."""
    square: Floats = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * a @ b.T
    return np.maximum(square, 0.0)


class Process:
    """Matern-5/2 on ordinal positions plus a share of differing axes, conditioned on trials. Zero mean, unit prior.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, chapters 2 and 4.

    Args:
        features: of all configs.
        tried: the configs that were told.
        values: what was told, standardized.
        hyper: the setting.
    """

    def __init__(self, features: Features, tried: NDArray[np.intp], values: Floats, hyper: Hyper) -> None:
        self._features = features
        self._tried = tried
        self._hyper = hyper
        covariance = kernel(features, tried, tried, hyper) + hyper.noise * np.eye(len(tried))
        self._factor = np.linalg.cholesky(covariance)
        self._weights = cho_solve((self._factor, True), values)
        self.variance = float(values @ self._weights) / len(values)

    def predict(self, configs: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each config's value."""
        between = kernel(self._features, configs, self._tried, self._hyper)
        solved = solve_triangular(self._factor, between.T, lower=True)
        left = 1 + self._hyper.noise - (solved * solved).sum(0)
        return between @ self._weights, np.sqrt(np.maximum(self.variance * left, 1e-12))


def kernel(features: Features, a: NDArray[np.intp], b: NDArray[np.intp], hyper: Hyper) -> Floats:
    apart: Floats = squared_distance(features.positions[a], features.positions[b])
    if hyper.hamming:
        apart += hyper.hamming / len(features) * squared_distance(features.values[a], features.values[b])
    return _matern(apart, hyper.scale)


def _matern(squared: Floats, scale: float) -> Floats:
    root = np.sqrt(5 * squared) / scale
    smooth: Floats = (1 + root + root * root / 3) * np.exp(-root)
    return smooth


def fits(features: Features, tried: NDArray[np.intp], values: Floats) -> list[Hyper]:
    """Every setting on the grid with its likelihood, the likeliest first."""
    count = len(tried)
    positions = squared_distance(features.positions[tried], features.positions[tried])
    differing = squared_distance(features.values[tried], features.values[tried]) / len(features)
    found = []
    for scale in SCALES:
        for weight in HAMMING_WEIGHTS:
            covariance = _matern(positions + weight * differing, scale)
            for noise in NOISES:
                factor = np.linalg.cholesky(covariance + noise * np.eye(count))
                solved = solve_triangular(factor, values, lower=True)
                variance = max(float(solved @ solved) / count, 1e-12)
                likelihood = -0.5 * count * np.log(variance) - np.log(np.diag(factor)).sum()
                found.append(Hyper(scale, weight, noise, float(likelihood)))
    return sorted(found, key=lambda hyper: -hyper.log_likelihood)
