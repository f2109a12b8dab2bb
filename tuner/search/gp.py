"""The sampler `gp`: a Gaussian process over the valid configs proposes what is expected to improve the best most."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .history import History
from .points import Points
from .process import Features, Floats, Hyper, Process, fitted
from .samplers import PointSampler

# Trials spread over the space before the process is asked. Eight of them cost: .89 for .91 of the optimum after 25
# evaluations on a GEMM of the Kernel Tuner benchmark hub, .76 for .81 on its convolution (medians of 20 seeds).
START: Final = 5
SPREAD_OF: Final = 50
REFIT: Final = 5
CONDITIONED: Final = 400  # trials that the process is conditioned on at most, and fitted to at most
FITTED: Final = 150
CANDIDATES: Final = 1500
NEAR_BEST: Final = 3
NEAR_AXES: Final = 2
FAILED_QUANTILE: Final = 0.9  # of log time: what a failure counts as
MARGIN: Final = 0.3  # by which the best has to be outdone, in standard deviations of speed: less stays in a basin
EXPLORE_EVERY: Final = 3  # an ask that goes where little is known: else the process may stay in a basin
EXPLORE_SIGMAS: Final = 2.0
# Every other ask is of a process with a surface under it. That says what an axis does far from all that was tried, as
# in the best basin to a search that sits in the second best, two axes away. (GEMM of the Kernel Tuner benchmark hub on
# an RTX 2080 Ti, 300 seeds: .98 of the optimum after 100 evaluations in .78 of the searches, in .66 without; .97 after
# 50 in .53, in .51 without. At every ask it is as good there, but on the hub's convolution .91 in the mean of 40 seeds
# after 50, where this has .95 and none .97; after 100 they are at .98, .99 and .99.)
SURFACE_EVERY: Final = 2
# In a space of so few configs every other ask goes to a neighbour of the best: the way up is short there. (Six spaces
# of 229 to 555 configs, 40 seeds: .972 for .968 of the optimum after 25 evaluations, .990 for .987 after 50. No gain in
# larger ones.) Where the best has none left, to one of the next best, so many at most: the best may be a local optimum.
# (Decode on the H200, 16 x 6144 x 4096 and 16 x 28672 x 4096, mean of 40 seeds: .990 for .982 after 50, 1.000 for .997
# after 100.)
SMALL: Final = 600
BESIDE: Final = 20


class GPSampler(PointSampler):
    """Expected improvement over untried valid configs; every third ask a lower confidence bound; every other ask with a
    surface under the process; near the best in a small space, every other ask."""

    def __init__(self, points: Points, seed: int = 0) -> None:
        super().__init__(points, seed)
        self._features = Features(points)
        self._fitted: dict[bool, tuple[int, Hyper]] = {}  # with a surface and without, and to how many trials
        self._neighbourhoods: dict[int, NDArray[np.intp]] = {}

    def choose(self, history: History, rng: np.random.Generator) -> int:
        measured = np.isfinite(history.log_us)
        asked = len(history.tried) + len(history.pending)
        if asked < START or measured.sum() < 2:
            return self._spread(history, rng)
        tried, values, _ = standardized(history)
        process = self._process(history, tried, values)
        best = values[measured].min()
        if asked % 2 and len(self.points) <= SMALL and len(beside := self._beside_best(history)):
            return int(beside[np.argmax(expected_improvement(best, *process.predict(beside)))])
        candidates = self._candidates(history, tried, values, rng)
        mean, deviation = process.predict(candidates)
        if asked % EXPLORE_EVERY == 0:
            score = EXPLORE_SIGMAS * deviation - mean
        else:
            score = expected_improvement(best - MARGIN, mean, deviation)
        return int(candidates[np.argmax(score)])

    def likely(self) -> Iterator[int]:
        """By the improvement that is expected now, and every third by what is little known, as it is asked."""
        measured = np.isfinite(self.history.log_us)
        if measured.sum() < 2 or not self.history.open_count:
            return
        tried, values, _ = standardized(self.history)
        candidates = self._candidates(self.history, tried, values, np.random.default_rng(self._seed))
        mean, deviation = self._process(self.history, tried, values).predict(candidates)
        improvement = expected_improvement(values[measured].min() - MARGIN, mean, deviation)
        improving = iter(np.argsort(-improvement))
        told: set[int] = set()
        for unknown in np.argsort(mean - EXPLORE_SIGMAS * deviation):
            for place in (*islice(improving, EXPLORE_EVERY - 1), unknown):
                if place not in told:
                    told.add(place)
                    yield int(candidates[place])

    def _beside_best(self, history: History) -> NDArray[np.intp]:
        """The open configs one step away from the best; once all are tried, from the next best that has some."""
        log_us = np.array(history.log_us)
        for place in np.argsort(log_us, kind="stable")[:BESIDE]:
            if not np.isfinite(log_us[place]):
                break
            beside = [index for index in self.points.neighbours(history.tried[place]) if history.open[index]]
            if beside:
                return np.array(beside, dtype=np.intp)
        return np.array([], dtype=np.intp)

    def _process(self, history: History, tried: NDArray[np.intp], values: Floats) -> Process:
        """Of the trials, and of those under way as if they came out as expected."""
        asked = len(history.tried) + len(history.pending)
        hyper = self._setting(tried, values, surface=asked % SURFACE_EVERY == 0)
        kept, told = thinned(tried, values, CONDITIONED)
        process = Process(self._features, kept, told, hyper)
        if not history.pending:
            return process
        pending = np.array(history.pending, dtype=np.intp)
        expected, _ = process.predict(pending)
        return Process(self._features, np.concatenate([kept, pending]), np.concatenate([told, expected]), hyper)

    def _setting(self, tried: NDArray[np.intp], values: Floats, *, surface: bool) -> Hyper:
        """Fitted at every fifth trial, to the trials until then: a resumed study finds the same."""
        count = max(len(tried) // REFIT * REFIT, min(START, len(tried)))
        known, hyper = self._fitted.get(surface, (0, None))
        if known != count or hyper is None:
            hyper = fitted(self._features, *thinned(tried[:count], values[:count], FITTED), surface=surface)
            self._fitted[surface] = count, hyper
        return hyper

    def _candidates(
        self, history: History, tried: NDArray[np.intp], values: Floats, rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """All that is open in a small space; in a large one some at random, and what is near to the best."""
        untried = np.flatnonzero(history.open)
        if len(untried) <= CANDIDATES:
            return untried
        best = tried[np.argsort(values, kind="stable")[:NEAR_BEST]]
        drawn = rng.choice(untried, CANDIDATES)
        near = np.concatenate([self._near(int(index)) for index in best])
        return np.unique(np.concatenate([drawn, near[history.open[near]]]))

    def _near(self, index: int) -> NDArray[np.intp]:
        """The configs that differ from one on few axes; kept: the best change rarely, and a space may be large."""
        if index not in self._neighbourhoods:
            everything = np.arange(len(self.points))
            differing = self.points.differing(everything, np.array([index]))[:, 0]
            self._neighbourhoods[index] = np.flatnonzero(differing <= NEAR_AXES)
        return self._neighbourhoods[index]

    def _spread(self, history: History, rng: np.random.Generator) -> int:
        """Of a few open configs the one that differs most from all that were asked."""
        open_configs = np.flatnonzero(history.open)
        drawn = rng.choice(open_configs, size=min(SPREAD_OF, len(open_configs)), replace=False)
        asked = [*history.tried, *history.pending]
        if not asked:
            return int(drawn[0])
        differing = self.points.differing(drawn, np.array(asked))
        return int(drawn[np.argmax(differing.min(1))])


def standardized(history: History) -> tuple[NDArray[np.intp], Floats, float]:
    """The trials, their slowness with zero mean and unit variance, and that unit, in speeds of the best.

    Slowness is the negative of speed, the best time over a config's own: how much slower a slow config is matters
    little, and in log time it is most of what there is to fit. (.958 for .949 of the optimum after 50 evaluations, the
    mean of eight landscapes and 40 seeds.) A failure counts as a high quantile of time.
    """
    log_us = np.array(history.log_us)
    measured = np.isfinite(log_us)
    log_us[~measured] = np.quantile(log_us[measured], FAILED_QUANTILE)
    slowness = -np.exp(log_us.min() - log_us)
    unit = float(slowness.std()) + 1e-9
    return np.array(history.tried), (slowness - slowness.mean()) / unit, unit


def expected_improvement(best: float, mean: Floats, deviation: Floats) -> Floats:
    """By how much each is expected to undercut `best`. Source: Jones, Schonlau and Welch, 1998, equation 15."""
    z = (best - mean) / deviation
    improvement: Floats = deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
    return improvement


def thinned(tried: NDArray[np.intp], values: Floats, most: int) -> tuple[NDArray[np.intp], Floats]:
    """At most so many trials, half of them the best and half the newest: a process costs the cube of their number."""
    if len(tried) <= most:
        return tried, values
    best = np.argsort(values, kind="stable")[: most // 2]
    newest = np.arange(len(tried) - most // 2, len(tried))
    kept = np.union1d(best, newest)
    return tried[kept], values[kept]
