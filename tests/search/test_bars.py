"""What the default sampler has to reach on recorded landscapes, in the median of 20 seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

import tilewright
from tilewright.kernels.device import nominal
from tilewright.kernels.families import first_guesses
from tilewright.tuner.evaluate.replay import problem_of
from tilewright.tuner.landscape import read_landscape
from tilewright.tuner.search import Search
from tilewright.tuner.search.curves import RAW, read_raw
from tilewright.tuner.search.replay import ReplayOptions, Summary, summaries, without_libraries

RESULTS = Path(tilewright.__file__).parent / "results"
LANDSCAPES = {path.name.removesuffix(".csv.gz"): path for path in RESULTS.glob("*/landscapes/*.csv.gz")}
PUBLISHED = {(one.landscape, one.sampler): one for one in read_raw(RESULTS / "search" / RAW)[0]}
BEHIND_CLIMBING = 0.02
STOPS = (25, 50, 100)


def _reaches_the_bars(found: Summary) -> None:
    at = {stop.evaluations: stop.median for stop in found.stops}
    assert at[50] >= 0.97
    assert at[100] >= 0.99
    assert found.good_share >= 0.7


@pytest.mark.parametrize("name", LANDSCAPES)
def test_what_is_published_reaches_the_bars(name: str) -> None:
    _reaches_the_bars(PUBLISHED[name, "gp"])


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("name", LANDSCAPES)
def test_what_is_published_is_not_behind_the_yardsticks(name: str, stop: int) -> None:
    ours, climb, random = (PUBLISHED[name, sampler].curve[stop - 1] for sampler in ("gp", "climb", "random"))
    assert ours >= random
    assert ours >= climb - BEHIND_CLIMBING


def test_a_replay_of_today_reaches_the_bars() -> None:
    landscape = without_libraries(read_landscape(LANDSCAPES["16x6144x4096-bf16-nt"]))
    (found,) = summaries([landscape], ["gp"], 20, ReplayOptions(100))
    _reaches_the_bars(found)


def test_first_guesses_bring_a_search_near_the_best_in_two_dozen_evaluations() -> None:
    """As a plan has them for each of its problems. As measured, in the mean of ten landscapes: .971 of the best after
    10 evaluations, .991 after 25 and .997 after 50, with any seed, for these spaces leave nothing to chance."""
    device = replace(nominal("sm90"), l2_bytes=60 << 20, memory_bytes=150_109_880_320, memory_clock_mhz=3201)
    reached: dict[int, list[float]] = {10: [], 25: [], 50: []}
    for path in LANDSCAPES.values():
        problem, landscape = problem_of(path), without_libraries(read_landscape(path))
        times = {config: reading.time_us or math.inf for config, reading in landscape.readings.items()}
        families = sorted({config.family for config in times})
        search = Search(landscape.space(), first=first_guesses(problem, device, tuple(families)))
        found = math.inf
        for evaluation in range(1, max(reached) + 1):
            config = search.ask()
            assert config is not None
            search.tell(config, times[config] if math.isfinite(times[config]) else None)
            found = min(found, times[config])
            if evaluation in reached:
                reached[evaluation].append(min(times.values()) / found)
    assert len(reached[10]) == 10
    means = [fmean(one) for one in reached.values()]
    assert all(mean >= bar for mean, bar in zip(means, (0.96, 0.99, 0.995), strict=True)), means
