"""What the default sampler has to reach on recorded landscapes, in the median of 20 seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

import tilewright
from tilewright.tuner.landscape import read_landscape
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
