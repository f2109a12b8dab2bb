"""The interval of a paired ratio covers as often as it says, and a tie is a tie."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tilewright.tuner.ratio import interval_rank, is_tie, paired_ratio
from tilewright.tuner.trial import Ratio


def test_a_ratio_is_how_much_faster_than_the_reference() -> None:
    ratio = paired_ratio([100.0] * 9, [103.0] * 9)
    assert ratio == Ratio(1.03, 1.03, 1.03)


def test_drift_that_both_lanes_share_is_no_difference() -> None:
    drift = np.linspace(1.0, 1.14, 40)
    ratio = paired_ratio(list(100 * drift), list(102 * drift))
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((1.02, 1.02, 1.02))


def test_only_rounds_that_both_ran_are_compared() -> None:
    assert paired_ratio([10.0, 10.0], [10.0, 10.0, 50.0]).median == 1.0


@pytest.mark.parametrize(
    ("count", "confidence", "rank"),
    # From the binomial distribution; those for 0.95 are in Conover's table A3.
    [
        (1, 0.95, 0),
        (5, 0.95, 0),
        (6, 0.95, 1),
        (9, 0.95, 2),
        (20, 0.95, 6),
        (100, 0.95, 40),
        (5, 0.9, 1),
        (20, 0.99, 4),
    ],
)
def test_ranks_are_those_of_the_tables(count: int, confidence: float, rank: int) -> None:
    assert interval_rank(count, confidence) == rank


@pytest.mark.parametrize("count", [6, 7, 12, 31])
@pytest.mark.parametrize("shape", ["normal", "skewed", "two clocks"])
def test_the_interval_covers_the_median_as_often_as_it_says(count: int, shape: str) -> None:
    draw = np.random.default_rng(0)
    samples = {
        "normal": (draw.normal(1.0, 0.01, (2000, count)), 1.0),
        "skewed": (np.exp(draw.exponential(0.02, (2000, count))), math.exp(0.02 * math.log(2))),
        "two clocks": (
            1 + 0.001 * draw.standard_normal((2000, count)) + draw.choice([-0.05, 0.05], (2000, count)),
            1.0,
        ),
    }
    ratios, median = samples[shape]
    found = [paired_ratio([1.0] * count, list(row)) for row in ratios]
    covered = np.mean([ratio.low <= median <= ratio.high for ratio in found])
    assert covered >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_too_few_rounds_bound_nothing() -> None:
    assert paired_ratio([1.0] * 5, [1.0] * 5) == Ratio(1.0, 0.0, math.inf)


@pytest.mark.parametrize(
    ("times_us", "reference_us", "confidence", "message"),
    [
        ([], [1.0], 0.95, "no round in common"),
        ([1.0, 0.0], [1.0, 1.0], 0.95, "a time of 0.0 us"),
        ([1.0], [math.nan], 0.95, "a time of nan us"),
        ([1.0], [1.0], 1.0, "confidence is 1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    times_us: list[float], reference_us: list[float], confidence: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired_ratio(times_us, reference_us, confidence)


@pytest.mark.parametrize(
    ("ratio", "tie"),
    [
        (Ratio(1.0, 1.0, 1.0), True),
        (Ratio(1.003, 1.001, 1.005), True),
        (Ratio(1.008, 1.002, 1.014), False),  # undecided
        (Ratio(1.0, 0.9, 1.1), False),  # undecided
        (Ratio(0.97, 0.96, 0.98), False),
    ],
)
def test_a_tie_is_within_the_margin_with_its_whole_interval(ratio: Ratio, tie: bool) -> None:
    assert is_tie(ratio) is tie
