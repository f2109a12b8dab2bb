"""The ratio of two lanes of a race, paired round by round, with its interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

from .trial import Ratio

TIE_MARGIN: Final = 0.01


def paired_ratio(times_us: Sequence[float], reference_us: Sequence[float], confidence: float = 0.95) -> Ratio:
    """How much faster than the reference: the median of `reference / time` over the rounds that both ran.

    The interval is between two order statistics of the per-round ratios. It assumes no distribution and covers the
    median with at least `confidence`: the number of rounds below the median is binomial (n, 1/2). Source: Conover,
    Practical Nonparametric Statistics, 3rd edition, section 3.2 (confidence interval for a quantile). With too few
    rounds for the confidence (fewer than six for 0.95) no pair of order statistics covers, and it is [0, inf].

    Args:
        times_us: one a round, in us; a lane that left early has fewer, and only its own rounds are compared.
        reference_us: of the reference, in the same rounds.
        confidence: of the interval, above 0 and below 1.

    Raises:
        ValueError: no round in common, a time that is not positive, or a confidence out of its bounds.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}: give a number above 0 and below 1, as 0.95")
    pairs = list(zip(times_us, reference_us, strict=False))
    if not pairs:
        raise ValueError("no round in common: a ratio needs at least one round that both lanes ran")
    bad = next((time for pair in pairs for time in pair if not (time > 0 and math.isfinite(time))), None)
    if bad is not None:
        raise ValueError(f"a time of {bad!r} us cannot be compared: times are finite and above 0")
    ratios = sorted(reference / time for time, reference in pairs)
    rank = interval_rank(len(ratios), confidence)
    low, high = (ratios[rank - 1], ratios[-rank]) if rank else (0.0, math.inf)
    return Ratio(statistics.median(ratios), low, high)


def interval_rank(count: int, confidence: float) -> int:
    """The largest rank r for which [r-th smallest, r-th largest] of `count` values covers their median with
    `confidence`; 0 when even the whole range does not."""
    limit = (1 - confidence) / 2
    below, rank = 0, 0
    while rank < count:
        below += math.comb(count, rank)  # P(fewer than rank + 1 of count values lie below the median)
        if below / 2**count > limit:
            break
        rank += 1
    return rank


def is_tie(ratio: Ratio, margin: float = TIE_MARGIN) -> bool:
    """Whether the whole interval lies within `margin` of 1: nobody would notice which of the two runs.

    An interval that is wider than the margin is no tie but undecided, even when it holds 1.
    """
    return 1 / (1 + margin) <= ratio.low and ratio.high <= 1 + margin


def is_ahead(ratio: Ratio, margin: float = TIE_MARGIN) -> bool:
    """Whether it is faster with confidence, and by enough that it is no tie."""
    return ratio.low > 1 and not is_tie(ratio, margin)
