"""A Gaussian process over configs: what the trials say about the configs that were not tried."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

from ...kernels.space import Axis
from .points import Points

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
    """How far configs lie apart: by their positions in [0, 1] on ordinal axes, and by how many axes they differ on.

    An axis that a config does not have lies in the middle. Categorical axes, the family among them, count as 1 where
    they differ. Nothing is kept a config: a space may have a million.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        self._coordinates = [_coordinates(axis) for axis in points.axes]

    def apart(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> Floats:
        """The squared distance of the positions: [left, right]."""
        a, b = self._positions(left), self._positions(right)
        square = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * a @ b.T
        apart: Floats = np.maximum(square, 0.0)  # rounding leaves some below
        return apart

    def differing(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> Floats:
        """The share of axes on which they differ: [left, right]."""
        return self._points.differing(left, right) / len(self._coordinates)

    def _positions(self, configs: NDArray[np.intp]) -> Floats:
        levels = self._points.levels[configs]
        return np.concatenate([table[levels[:, place] + 1] for place, table in enumerate(self._coordinates)], axis=1)


def _coordinates(axis: Axis) -> Floats:
    """[1 + levels of the axis, coordinates]: those of a config without the axis come first."""
    count = len(axis.values)
    if not axis.ordinal:
        return np.eye(count + 1) * math.sqrt(0.5)
    return np.array([0.5, *(level / max(count - 1, 1) for level in range(count))])[:, None]


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


def kernel(features: Features, left: NDArray[np.intp], right: NDArray[np.intp], hyper: Hyper) -> Floats:
    apart = features.apart(left, right)
    if hyper.hamming:
        apart += hyper.hamming * features.differing(left, right)
    return _matern(apart, hyper.scale)


def _matern(squared: Floats, scale: float) -> Floats:
    root = np.sqrt(5 * squared) / scale
    smooth: Floats = (1 + root + root * root / 3) * np.exp(-root)
    return smooth


def fits(features: Features, tried: NDArray[np.intp], values: Floats) -> list[Hyper]:
    """Every setting on the grid with its likelihood, the likeliest first."""
    count = len(tried)
    apart, differing = features.apart(tried, tried), features.differing(tried, tried)
    found = []
    for scale in SCALES:
        for weight in HAMMING_WEIGHTS:
            covariance = _matern(apart + weight * differing, scale)
            for noise in NOISES:
                factor = np.linalg.cholesky(covariance + noise * np.eye(count))
                solved = solve_triangular(factor, values, lower=True)
                variance = max(float(solved @ solved) / count, 1e-12)
                likelihood = -0.5 * count * np.log(variance) - np.log(np.diag(factor)).sum()
                found.append(Hyper(scale, weight, noise, float(likelihood)))
    return sorted(found, key=lambda hyper: -hyper.log_likelihood)
