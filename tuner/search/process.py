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

# What is believed before the trials speak: the logarithms of the weights and of the noise are normal, as the length
# scales of Hvarfner, Hellsten and Nardi (2024) are. A weight an axis, fitted freely to 10 to 100 trials, overfits. A
# low mean says that times bend little along an axis, so that 25 trials tell of what is far from them. (.97 of the
# optimum after 50 evaluations; .958 with means of 0 and a difference that weighs a tenth of an axis. The mean of eight
# landscapes and 40 seeds.)
WEIGHT: Final = (-1.5, 1.0)  # mean and deviation of the log weight of an axis's squared distance
HAMMING: Final = (-3.5, 1.5)  # and of the share of axes that differ at all
NOISE: Final = (math.log(1e-3), 1.5)  # and of the variance of a reading, as a share of the variance of all
# And of the variance of a surface under the process, where it has one. Products of two axes beside it, or a process of
# each axis alone in its place, gained less on the landscape named at `SURFACE_EVERY`.
TREND: Final = (0.0, 1.5)
WIDEST: Final = 6.0  # no log weight goes further from its mean
LEAST_NOISE: Final = 1e-6
TRENDS: Final = (-8.0, 5.0)  # the bounds of its logarithm
STARTS: Final = (0.0, 1.5, -1.5)  # by which all log weights are moved; the search begins at the likeliest
STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Hyper:
    """One setting of the process.

    Attributes:
        weights: of each axis's squared distance, and last of the share of axes on which two configs differ at all.
        noise: the variance of a reading, relative to the process's.
        trend: the variance of the surface under the process, relative to the process's; 0 where there is none.
        log_posterior: of the setting, given the trials it was fitted to; the variance is the likeliest.
    """

    weights: tuple[float, ...]
    noise: float
    trend: float
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
        varying = np.flatnonzero((points.levels != points.levels[:1]).any(0)).tolist()
        self._varying = max(len(varying), 1)
        self._terms = {column: _terms(points.axes[column]) / math.sqrt(self._varying) for column in varying}
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

    def surface(self, configs: NDArray[np.intp]) -> Floats:
        """The terms of a quadratic surface without products: [configs, terms]."""
        terms = [table[self._points.levels[configs, column] + 1] for column, table in self._terms.items()]
        return np.concatenate([np.empty((len(configs), 0)), *terms], axis=1)

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


def _terms(axis: Axis) -> Floats:
    """[1 + levels of the axis, terms] of a surface: of numbers the place in [-1, 1] and its square, of words which one
    it is. Those of a config without the axis come first: in the middle, or none of these."""
    count = len(axis.values)
    if not axis.ordinal:
        return 2 * np.eye(count + 1)[:, 2:] - 1
    place = 2 * np.arange(count) / max(count - 1, 1) - 1
    square = place * place - np.mean(place * place)
    terms = np.array([place, square] if count > 2 else [place]).T
    return np.concatenate([np.zeros((1, terms.shape[1])), terms])


def _twos(value: AxisValue) -> int:
    """How often 2 divides a positive integer; 0 for anything else."""
    return (value & -value).bit_length() - 1 if isinstance(value, int) and value > 0 else 0


class Process:
    """Matern-5/2 on the weighted distance over a quadratic surface, conditioned on trials. Zero mean, unit prior.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, chapters 2 and 4, and 2.7 for the surface.

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
        prior = 1 + self._hyper.trend * (self._features.surface(configs) ** 2).sum(1)
        left = prior + self._hyper.noise - (solved * solved).sum(0)
        return between @ self._weights, np.sqrt(np.maximum(self.variance * left, 1e-12))


def kernel(features: Features, left: NDArray[np.intp], right: NDArray[np.intp], hyper: Hyper) -> Floats:
    root = np.sqrt(5 * features.apart(left, right, hyper.weights))
    smooth: Floats = (1 + root + root * root / 3) * np.exp(-root)
    return smooth + hyper.trend * (features.surface(left) @ features.surface(right).T)


def fitted(features: Features, tried: NDArray[np.intp], values: Floats, *, surface: bool = False) -> Hyper:
    """The setting that is likeliest after the trials: a length scale an axis (Rasmussen and Williams, section 5.1); of
    a process with a surface under it, or without."""
    posterior = _Posterior(features, tried, values, surface)
    others = len(posterior.means) - features.count  # the noise, and the trend where there is one
    places = [posterior.means + np.array([*[start] * features.count, *[0.0] * others]) for start in STARTS]
    best = min(places, key=lambda place: posterior(place)[0])
    of_weights = [(mean - WIDEST, mean + WIDEST) for mean in posterior.means[: features.count]]
    bounds = [*of_weights, (math.log(LEAST_NOISE), 0.0), TRENDS][: len(posterior.means)]
    found = minimize(posterior, best, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    weights, noise, trend = posterior.parted(found.x)
    return Hyper(tuple(weights.tolist()), noise, trend, -float(found.fun))


class _Posterior:
    """The negative log posterior of log weights, log noise and, with a surface, log trend, less a constant, and its
    gradient.

    Source: Rasmussen and Williams, equations 2.30 and 5.9, with `values @ inverse @ values / count` for the variance.
    """

    def __init__(self, features: Features, tried: NDArray[np.intp], values: Floats, surface: bool) -> None:
        self._values = values
        self._parts = features.parts(tried).reshape(features.count, -1)
        terms = features.surface(tried)
        self._surface = terms @ terms.T if surface else None
        priors = [*[WEIGHT] * (features.count - 1), HAMMING, NOISE, *([TREND] if surface else [])]
        self.means, self._deviations = np.array(priors).T

    def parted(self, place: Floats) -> tuple[Floats, float, float]:
        """Weights, noise, and trend, 0 without a surface."""
        count = len(self._parts)
        return np.exp(place[:count]), math.exp(place[count]), float(np.exp(place[count + 1 :]).sum())

    def __call__(self, place: Floats) -> tuple[float, Floats]:
        count = len(self._values)
        weights, noise, trend = self.parted(place)
        root = np.sqrt(5 * (weights @ self._parts)).reshape(count, count)
        decay = np.exp(-root)
        covariance = (1 + root + root * root / 3) * decay + noise * np.eye(count)
        if self._surface is not None:
            covariance += trend * self._surface
        factor = np.linalg.cholesky(covariance)
        inverse = cho_solve((factor, True), np.eye(count))
        solved = inverse @ self._values
        variance = max(float(self._values @ solved) / count, 1e-12)
        likelihood = -0.5 * count * math.log(variance) - np.log(np.diag(factor)).sum()
        by_covariance = 0.5 * (np.outer(solved, solved) / variance - inverse)
        by_squared = by_covariance * (-5 / 6) * (1 + root) * decay
        by_others = [noise * np.trace(by_covariance)]
        if self._surface is not None:
            by_others.append(trend * (by_covariance * self._surface).sum())
        away = (place - self.means) / self._deviations
        gradient = np.append(weights * (self._parts @ by_squared.ravel()), by_others)
        return float(0.5 * away @ away - likelihood), away / self._deviations - gradient
