"""How a sampler does on a recorded landscape: many searches of it, and what they found after how many evaluations."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import Final

import numpy as np

from ...kernels.config import Config
from ..landscape import Landscape, Reading
from ..parent import end_with_parent
from .search import Search

STOPS: Final = (10, 25, 50, 100)  # evaluations at which a search is looked at
GOOD: Final = 0.98  # of the optimum

Results = Sequence[tuple[Config, float]]


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How a landscape is searched.

    Attributes:
        budget: evaluations, failing ones included.
        batch: configs asked for before the first of them is told.
        noise: draw each reading with the recorded spread in place of the mean.
        neighbour: a landscape that the same sampler searches first, with the same budget and seed and without noise;
            what it found there is the prior of the search here.
    """

    budget: int = 100
    batch: int = 1
    noise: bool = False
    neighbour: Landscape | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One search of a landscape.

    Attributes:
        fractions: after each evaluation, the landscape's best time over that of the best config found; 0 before any
            was measured. Under noise the config is the one with the best reading, and the time is its recorded mean.
        failing: evaluations that failed.
        ask_ms: the median ask, in ms.
        found: what was measured, in order.
    """

    fractions: tuple[float, ...]
    failing: int
    ask_ms: float
    found: tuple[tuple[Config, float], ...] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Stop:
    """The fraction of the optimum that was reached after so many evaluations."""

    evaluations: int
    median: float
    low: float  # the 10th percentile


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sampler's searches of one landscape came to.

    Attributes:
        good_share: the share of searches that ended at `GOOD` of the optimum or better.
        failing: the median of the evaluations that failed.
        curve, low_curve: the median and the 10th percentile of the fraction after each evaluation.
    """

    landscape: str
    sampler: str
    seeds: int
    stops: tuple[Stop, ...]
    good_share: float
    failing: float
    ask_ms: float
    curve: tuple[float, ...] = field(repr=False)
    low_curve: tuple[float, ...] = field(repr=False)


def without_libraries(landscape: Landscape) -> Landscape:
    """What there is to search: a library, a family with no axes, is measured by every tuner and found by none."""
    readings = {config: reading for config, reading in landscape.readings.items() if len(config)}
    return replace(landscape, readings=readings)


def run(landscape: Landscape, sampler: str, seed: int, options: ReplayOptions) -> Run:
    """One search of `landscape`. Deterministic but for `ask_ms`."""
    prior: Results = ()
    if options.neighbour is not None:
        prior = run(options.neighbour, sampler, seed, ReplayOptions(options.budget, options.batch)).found
    search = Search(landscape.space(), sampler=sampler, seed=seed, prior=prior)
    noise = _Noise(landscape, seed) if options.noise else None
    fractions: list[float] = []
    found: list[tuple[Config, float]] = []
    asks: list[float] = []
    failing, fraction, best_read, best_us = 0, 0.0, float("inf"), landscape.best_us
    for config in _asked(search, options, asks):
        reading = landscape.readings[config]
        time_us = noise.draw(reading) if noise else reading.time_us
        search.tell(config, time_us)
        if time_us is None or reading.time_us is None:
            failing += 1
        else:
            found.append((config, time_us))
            if time_us < best_read:
                best_read, fraction = time_us, best_us / reading.time_us
        fractions.append(fraction)
    return Run(tuple(fractions), failing, 1e3 * statistics.median(asks), tuple(found))


def _asked(search: Search, options: ReplayOptions, asks: list[float]) -> Iterator[Config]:
    """The configs of a search, a batch asked before its first is given out; `asks` gets the seconds of each ask."""
    left = options.budget
    while left > 0:
        batch: list[Config] = []
        while len(batch) < min(options.batch, left):
            start = time.perf_counter()
            config = search.ask()
            asks.append(time.perf_counter() - start)
            if config is None:
                break
            batch.append(config)
        if not batch:
            return
        left -= len(batch)
        yield from batch


def summaries(
    landscapes: Iterable[Landscape], samplers: Sequence[str], seeds: int, options: ReplayOptions, *, jobs: int = 1
) -> Iterator[Summary]:
    """The summary of each sampler on each landscape, `seeds` searches each, in `jobs` processes (0: one a core)."""
    jobs = min(jobs or os.cpu_count() or 1, seeds)
    spawn = get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=end_with_parent) if jobs > 1 else None
    try:
        for landscape in landscapes:
            for sampler in samplers:
                each = partial(_runs, landscape, sampler, options)
                # A landscape is large and a search short: each process is sent it once, with all of its seeds.
                shares = [range(start, seeds, jobs) for start in range(jobs)]
                parts = pool.map(each, shares) if pool else map(each, shares)
                yield summarize(landscape.name, sampler, [run for part in parts for run in part])
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _runs(landscape: Landscape, sampler: str, options: ReplayOptions, seeds: Sequence[int]) -> list[Run]:
    return [run(landscape, sampler, seed, options) for seed in seeds]


def summarize(landscape: str, sampler: str, runs: Sequence[Run]) -> Summary:
    """A space that was tried to its end holds its last fraction."""
    longest = max(len(each.fractions) for each in runs)
    table = np.array([(*each.fractions, *each.fractions[-1:] * (longest - len(each.fractions))) for each in runs])
    curve: list[float] = np.median(table, axis=0).tolist()
    low_curve: list[float] = np.quantile(table, 0.1, axis=0).tolist()
    return Summary(
        landscape,
        sampler,
        len(runs),
        tuple(Stop(stop, curve[stop - 1], low_curve[stop - 1]) for stop in STOPS if stop <= longest),
        good_share=float(np.mean(table[:, -1] >= GOOD)),
        failing=statistics.median(each.failing for each in runs),
        ask_ms=statistics.median(each.ask_ms for each in runs),
        curve=tuple(curve),
        low_curve=tuple(low_curve),
    )


def rows(found: Sequence[Summary]) -> list[list[str]]:
    """What the replays came to, as a table of text: the head, then a row a landscape and sampler."""
    stops = sorted({stop.evaluations for one in found for stop in one.stops})
    head = ["landscape", "sampler", *(f"at {stop}" for stop in stops), f"share at {GOOD}", "failing", "ms an ask"]
    table = [head]
    for one in found:
        at = {stop.evaluations: f"{stop.median:.3f} ({stop.low:.3f})" for stop in one.stops}
        ends = [f"{one.good_share:.0%}", f"{one.failing:g}", f"{one.ask_ms:.1f}"]
        table.append([one.landscape, one.sampler, *(at.get(stop, "-") for stop in stops), *ends])
    return table


class _Noise:
    """Readings with the recorded spread; a config read only once has the median spread of those that have one."""

    def __init__(self, landscape: Landscape, seed: int) -> None:
        spreads = [one.std_us / one.time_us for one in landscape.readings.values() if one.time_us and one.std_us]
        self._spread = statistics.median(spreads) if spreads else 0.0
        self._draws = np.random.default_rng([seed, 1])

    def draw(self, reading: Reading) -> float | None:
        if reading.time_us is None:
            return None
        std = reading.std_us or self._spread * reading.time_us
        return max(float(self._draws.normal(reading.time_us, std)), reading.time_us / 2)
