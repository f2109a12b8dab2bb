"""A Gaussian process over configs: what the trials say about the configs that were not tried."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

from ...kernels.config import AxisValue
from ...kernels.space import Axis
from .points import Points

Floats = NDArray[np.float64]

# What is believed before the trials speak. The logarithms of the weights and of the noise are normal, as the length
# scales of Hvarfner, Hellsten and Nardi (2024) are: a weight an axis, freely fitted to 10 to 100 trials, overfits. That
# an axis bends the times little all along it, and that a mere difference says little, is what lets 25 trials speak of
# a corner where none is.
WEIGHT: Final = (-1.5, 1.0)  # mean and deviation of the log weight of an axis's squared distance
HAMMING: Final = (-3.5, 1.5)  # and of the share of axes that differ at all
NOISE: Final = (math.log(1e-3), 1.5)  # and of the variance of a reading, as a share of the variance of all
WIDEST: Final = 6.0  # no log weight goes further from its mean
LEAST_NOISE: Final = 1e-6
STARTS: Final = (0.0, 1.5, -1.5)  # by which all log weights are moved; the search begins at the likeliest
STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Hyper:
    """One setting of the process.

    Attributes:
        weights: of each axis's squared distance, and last of the share of axes on which two configs differ at all.
        noise: the variance of a reading, relative to the process's.
        log_posterior: of the setting, given the trials it was fitted to; the variance is the likeliest.
    """

    weights: tuple[float, ...]
    noise: float
    log_posterior: float = 0.0


class Features:
    """How far configs lie apart: by their positions in [0, 1] on ordinal axes, and by how many axes they differ on.

    An axis that a config does not have lies in the middle. Categorical axes, the family among them, count as 1 where
    they differ. Nothing is kept a config: a space may have a million.

    Attributes:
        count: of the parts of a squared distance, and so of the weights: one an axis, and the share that differs.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        self._coordinates = [_coordinates(axis) for axis in points.axes]
        varying = (points.levels != points.levels[:1]).any(0).sum()
        self._varying = max(int(varying), 1)
        self.count = len(points.axes) + 1

    def apart(self, left: NDArray[np.intp], right: NDArray[np.intp], weights: tuple[float, ...]) -> Floats:
        """The squared distance: [left, right]."""
        roots = np.sqrt(weights)
        a, b = (
            np.concatenate([root * one for root, one in zip(roots, self._positions(configs), strict=False)], axis=1)
            for configs in (left, right)
        )
        square = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * a @ b.T
        apart: Floats = np.maximum(square, 0.0)  # rounding leaves some below
        return apart + weights[-1] * self._differing(left, right)

    def parts(self, configs: NDArray[np.intp]) -> Floats:
        """What a squared distance is made of, before it is weighted: [count, configs, configs]."""
        by_axis = [((one[:, None] - one[None, :]) ** 2).sum(-1) for one in self._positions(configs)]
        return np.array([*by_axis, self._differing(configs, configs)])

    def _differing(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> Floats:
        return self._points.differing(left, right) / self._varying

    def _positions(self, configs: NDArray[np.intp]) -> list[Floats]:
        levels = self._points.levels[configs].T
        return [table[level + 1] for level, table in zip(levels, self._coordinates, strict=True)]


def _coordinates(axis: Axis) -> Floats:
    """[1 + levels of the axis, coordinates]: those of a config without the axis come first.

    A number has its place on the axis, and beside it how often 2 divides it, where the place does not say that: 96 and
    160 threads are neighbours of 128, and like each other. (The convolution of the Kernel Tuner benchmark hub on an RTX
    A4000, 4,362 configs, 100 evaluations, 40 seeds: .98 of the optimum in .88 of the searches, in .50 without.)
    """
    count = len(axis.values)
    if not axis.ordinal:
        return np.eye(count + 1) * math.sqrt(0.5)
    places = [0.5, *(level / max(count - 1, 1) for level in range(count))]
    twos = [_twos(value) for value in axis.values]
    most, least = max(twos, default=0), min(twos, default=0)
    if least == most or all(low < high for low, high in itertools.pairwise(twos)):
        return np.array(places)[:, None]
    return np.array([places, [0.5, *((two - least) / (most - least) for two in twos)]]).T


def _twos(value: AxisValue) -> int:
    """How often 2 divides a positive integer; 0 for anything else."""
    return (value & -value).bit_length() - 1 if isinstance(value, int) and value > 0 else 0


class Process:
    """Matern-5/2 on the weighted distance, conditioned on trials. Zero mean, unit prior.

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
    root = np.sqrt(5 * features.apart(left, right, hyper.weights))
    smooth: Floats = (1 + root + root * root / 3) * np.exp(-root)
    return smooth


def fitted(features: Features, tried: NDArray[np.intp], values: Floats) -> Hyper:
    """The setting that is likeliest after the trials: a length scale an axis (Rasmussen and Williams, section 5.1)."""
    posterior = _Posterior(features, tried, values)
    places = [posterior.means + np.array([*[start] * features.count, 0.0]) for start in STARTS]
    best = min(places, key=lambda place: posterior(place)[0])
    bounds = [*((mean - WIDEST, mean + WIDEST) for mean in posterior.means[:-1]), (math.log(LEAST_NOISE), 0.0)]
    found = minimize(posterior, best, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    *weights, noise = np.exp(found.x).tolist()
    return Hyper(tuple(weights), noise, -float(found.fun))


class _Posterior:
    """The negative log posterior of log weights and log noise, less a constant, and its gradient.

    Source: Rasmussen and Williams, equations 2.30 and 5.9, with `values @ inverse @ values / count` for the variance.
    """

    def __init__(self, features: Features, tried: NDArray[np.intp], values: Floats) -> None:
        self._values = values
        self._parts = features.parts(tried).reshape(features.count, -1)
        axes = features.count - 1
        priors = np.array([*[WEIGHT] * axes, HAMMING, NOISE])
        self.means, self._deviations = priors.T

    def __call__(self, place: Floats) -> tuple[float, Floats]:
        count = len(self._values)
        weights, noise = np.exp(place[:-1]), math.exp(place[-1])
        root = np.sqrt(5 * (weights @ self._parts)).reshape(count, count)
        decay = np.exp(-root)
        factor = np.linalg.cholesky((1 + root + root * root / 3) * decay + noise * np.eye(count))
        inverse = cho_solve((factor, True), np.eye(count))
        solved = inverse @ self._values
        variance = max(float(self._values @ solved) / count, 1e-12)
        likelihood = -0.5 * count * math.log(variance) - np.log(np.diag(factor)).sum()
        by_covariance = 0.5 * (np.outer(solved, solved) / variance - inverse)
        by_squared = by_covariance * (-5 / 6) * (1 + root) * decay
        away = (place - self.means) / self._deviations
        gradient = np.append(weights * (self._parts @ by_squared.ravel()), noise * np.trace(by_covariance))
        return float(0.5 * away @ away - likelihood), away / self._deviations - gradient
