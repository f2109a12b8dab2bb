"""A Gaussian process over configs: what the trials say about the configs that were not tried."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

from ...kernels.config import AxisValue
from ...kernels.space import Axis
from .points import Points

Floats = NDArray[np.float64]

# Few parameters, each on a small grid: with 10 to 100 trials a length scale an axis, freely fitted, overfits.
SCALES: Final = (0.15, 0.25, 0.4, 0.65, 1.0, 1.6)
HAMMING_WEIGHTS: Final = (0.0, 0.03, 0.1, 0.3, 1.0)
NOISES: Final = (1e-4, 1e-2)  # variance of a reading, as a share of the variance of all
# So an axis is stretched by one step or not at all, and only where the trials speak for it against a prior that doubts:
# the logarithm of a weight is normal, with unit variance.
STRETCH: Final = 3.0  # of a squared distance
DOUBT: Final = 0.5 * math.log(STRETCH) ** 2  # log likelihood that a stretched axis has to gain


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

    Args:
        points: the space.
        weights: of each axis's squared distance; 1 where none is given.
    """

    def __init__(self, points: Points, weights: Sequence[float] = ()) -> None:
        self._points = points
        weights = weights or [1.0] * len(points.axes)
        self._coordinates = [
            _coordinates(axis) * math.sqrt(weight) for axis, weight in zip(points.axes, weights, strict=True)
        ]

    def weighted(self, weights: Sequence[float]) -> Features:
        """The same space, the squared distance along each axis times its weight."""
        return Features(self._points, weights)

    def apart(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> Floats:
        """The squared distance of the positions: [left, right]."""
        a, b = self._positions(left), self._positions(right)
        square = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * a @ b.T
        apart: Floats = np.maximum(square, 0.0)  # rounding leaves some below
        return apart

    def apart_by_axis(self, configs: NDArray[np.intp]) -> Floats:
        """What each axis adds to the squared distance of their positions: [axes, configs, configs]."""
        levels = self._points.levels[configs].T
        return np.array([_squared(table)[level + 1][:, level + 1] for level, table in self._tables(levels)])

    def differing(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> Floats:
        """The share of axes on which they differ: [left, right]."""
        return self._points.differing(left, right) / len(self._coordinates)

    def _positions(self, configs: NDArray[np.intp]) -> Floats:
        levels = self._points.levels[configs].T
        return np.concatenate([table[level + 1] for level, table in self._tables(levels)], axis=1)

    def _tables(self, levels: NDArray[np.int16]) -> Iterator[tuple[NDArray[np.int16], Floats]]:
        return zip(levels, self._coordinates, strict=True)


def _squared(table: Floats) -> Floats:
    steps = table[:, None] - table[None, :]
    squared: Floats = (steps * steps).sum(-1)
    return squared


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
    """Matern-5/2 on positions plus a share of differing axes, conditioned on trials. Zero mean, unit prior.

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


def fitted(features: Features, tried: NDArray[np.intp], values: Floats) -> tuple[Features, list[Hyper]]:
    """The features, stretched as the trials are likeliest, and each setting on the grid for these, the likeliest first.

    The weights of the axes are the likeliest but for the doubt, found one axis after the other (a length scale an axis:
    Rasmussen and Williams, section 5.1); the few parameters that all axes share are left to be drawn by likelihood.
    """
    features = _stretched(features, tried, values, fits(features, tried, values)[0])
    return features, fits(features, tried, values)


def _stretched(features: Features, tried: NDArray[np.intp], values: Floats, likeliest: Hyper) -> Features:
    by_axis = features.apart_by_axis(tried)
    squared = by_axis.sum(0) + likeliest.hamming * features.differing(tried, tried)
    weights = np.ones(len(by_axis))
    best = likeliest.log_likelihood
    for axis in np.flatnonzero(by_axis.any(axis=(1, 2))):
        for weight in (STRETCH, 1 / STRETCH):
            changed = np.maximum(squared + (weight - 1) * by_axis[axis], 0.0)
            likelihood = _log_likelihood(_matern(changed, likeliest.scale), values, likeliest.noise)
            if likelihood - DOUBT > best:
                squared, best, weights[axis] = changed, likelihood - DOUBT, weight
                break
    return features.weighted(weights.tolist())


def fits(features: Features, tried: NDArray[np.intp], values: Floats) -> list[Hyper]:
    """Every setting on the grid with its likelihood, the likeliest first."""
    apart, differing = features.apart(tried, tried), features.differing(tried, tried)
    found = []
    for scale in SCALES:
        for weight in HAMMING_WEIGHTS:
            covariance = _matern(apart + weight * differing, scale)
            found += [Hyper(scale, weight, noise, _log_likelihood(covariance, values, noise)) for noise in NOISES]
    return sorted(found, key=lambda hyper: -hyper.log_likelihood)


def _log_likelihood(covariance: Floats, values: Floats, noise: float) -> float:
    """Of the values, less a constant; the variance of the process is the likeliest.

    Source: Rasmussen and Williams, equation 2.30, with `values @ inverse @ values / count` for the variance.
    """
    count = len(values)
    factor = np.linalg.cholesky(covariance + noise * np.eye(count))
    solved = solve_triangular(factor, values, lower=True)
    variance = max(float(solved @ solved) / count, 1e-12)
    return float(-0.5 * count * np.log(variance) - np.log(np.diag(factor)).sum())
