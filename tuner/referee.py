"""When a race may be ended, who has left it, and how sure that is: intervals that hold at every look."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from .ratio import is_tie
from .trial import Lane, Race, Ratio

CONFIDENCE: Final = 0.95
LOOK: Final = 3  # pairs of rounds between two looks
BLOCK: Final = 2 * LOOK  # rounds that are read between two looks
MINIMUM: Final = 24  # rounds before a race may end for want of time: with fewer, eight lanes cannot be told apart
# What no interval of one race can know: with operands allocated anew the ratio of short kernels moves, by 0.5% in the
# standard deviation (`benchmarks/placement.py`, H200, 2026-11). An interval is wider by this on either side.
SYSTEMATIC: Final = 0.005
_HALF_SPENT: Final = 12  # pairs of rounds after which half of the permitted error is spent

# (lanes, rounds) -> for each round one time in us for each of these lanes, in their order.
ReadRounds = Callable[[Sequence[int], int], Sequence[Sequence[float]]]


class Verdict(StrEnum):
    """How a race stands. AHEAD: one lane beats every other one. TIE: those that it does not beat run as fast as it,
    within 1%. UNDECIDED: neither is sure yet."""

    AHEAD = "ahead"
    TIE = "tie"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Standing:
    """Lanes by number; 0 is the reference.

    Attributes:
        leader: the fastest by the median ratio.
        level: the others that the leader does not beat with confidence.
    """

    verdict: Verdict
    leader: int
    level: tuple[int, ...]

    @property
    def running(self) -> list[int]:
        """Who is worth another round; the reference always is, for the ratios are against it."""
        return sorted({0, self.leader, *self.level})


def run_race(read: ReadRounds, lanes: int, rounds: int, expired: Callable[[], bool]) -> list[list[float]]:
    """The times of each lane, one a round, in us. A lane that is beaten with confidence leaves.

    Args:
        read: rounds of the lanes that are named.
        lanes: how many there are; the first is the reference.
        rounds: at most so many, in whole blocks.
        expired: whether the time is up.
    """
    times: list[list[float]] = [[] for _ in range(lanes)]
    running = list(range(lanes))
    while len(times[0]) < rounds:
        for one in read(running, BLOCK):
            for lane, time_us in zip(running, one, strict=True):
                times[lane].append(time_us)
        found = standing(times)
        if found.verdict is not Verdict.UNDECIDED or (len(times[0]) >= MINIMUM and expired()):
            break
        running = found.running
    return times


def standing(times: Sequence[Sequence[float]], confidence: float = CONFIDENCE) -> Standing:
    """How the lanes stand that have run as many rounds as the reference, which is the first; the others have left.

    That the truly fastest lane is among those beaten has at most half of `1 - confidence` for its probability, however
    often the race is looked at, and so has it that the leader is called faster than the reference and is not: each
    holds for all lanes together (Bonferroni).
    """
    present = [lane for lane, read in enumerate(times) if len(read) == len(times[0])]
    medians = {lane: race_ratio(times[lane], times[0], len(times), confidence).median for lane in present}
    leader = max(present, key=lambda lane: medians[lane])
    others = {lane: race_ratio(times[lane], times[leader], len(times), confidence) for lane in present}
    level = tuple(lane for lane, ratio in others.items() if lane != leader and ratio.high >= 1)
    if not level:
        return Standing(Verdict.AHEAD, leader, level)
    # More rounds do not make the systematic part smaller: it keeps no race from ending, and stands in what is reported.
    read = [race_ratio(times[lane], times[leader], len(times), confidence, systematic=0.0) for lane in level]
    tied = all(map(is_tie, read))
    return Standing(Verdict.TIE if tied else Verdict.UNDECIDED, leader, level)


def fastest_level(times: Sequence[Sequence[float]], most: int) -> list[int]:
    """The fastest of the lanes that nothing in a race tells from its leader, that one and no reference among them."""
    found = standing(times)
    level = [lane for lane in (found.leader, *found.level) if lane]
    return sorted(level, key=lambda lane: -race_ratio(times[lane], times[0], len(times)).median)[:most]


def lane_rank(race: Race, lane: Lane) -> tuple[int, float]:
    """By which lanes are ranked, the lowest first.

    What a race leaves level and reads after a rest ranks by the geometric mean of both ratios: a tile that is as fast
    as another under a power cap may be far slower at the boost clock. Then come those that stayed, by their ratio, and
    those that left, for what their few rounds read does not count against those who stayed.
    """
    reference, ratio = race.lane(race.reference), lane_ratio(race, lane)
    loaded = 1 / statistics.median(lane.times_us) if ratio is None else ratio.median
    if lane.rested_us and reference is not None and reference.rested_us:
        rested = race_ratio(lane.rested_us, reference.rested_us, len(race.lanes)).median
        return 0, -math.sqrt(loaded * rested)
    stayed = len(lane.times_us) == max(len(one.times_us) for one in race.lanes)
    return 1 if stayed else 2, -loaded


def lane_ratio(race: Race, lane: Lane) -> Ratio | None:
    """A lane against the race's reference; exactly 1 for the reference, None when that did not run."""
    if lane.config == race.reference:
        return Ratio(1.0, 1.0, 1.0)
    reference = race.lane(race.reference)
    if reference is None:
        return None
    return race_ratio(lane.times_us, reference.times_us, len(race.lanes), race.confidence)


def verdict_text(race: Race) -> str:
    """How a race ended, in words, as `ahead: tiled(...) after 24 rounds`."""
    lanes = sorted(race.lanes, key=lambda lane: lane.config != race.reference)
    found = standing([lane.times_us for lane in lanes], race.confidence)
    names = ", ".join(str(lanes[number].config) for number in (found.leader, *found.level))
    first = min(lanes, key=lambda lane: lane_rank(race, lane))
    rested = f"; {first.config} after a rest" if first.rested_us else ""
    return f"{found.verdict}: {names} after {len(lanes[0].times_us)} rounds{rested}"


def race_ratio(
    times_us: Sequence[float],
    reference_us: Sequence[float],
    lanes: int,
    confidence: float = CONFIDENCE,
    *,
    systematic: float = SYSTEMATIC,
) -> Ratio:
    """How much faster than the reference: the median over pairs of rounds of the geometric mean of `reference / time`.

    The second round of a pair is run in the reverse order of the first, so that what a lane gains or loses by its place
    cancels (on an H200 up to 3% between two neighbours). The interval lies between two order statistics, and is wider
    than these by `systematic`: no distribution is assumed. It is a repeated confidence interval (Jennison and Turnbull,
    Interim analyses: the repeated confidence interval approach, JRSS B 51, 1989): whenever the race is looked at and
    ended, the intervals of all lanes cover their medians together with at least `confidence`.

    Args:
        times_us: one a round, in us; a lane that left early has fewer, and only its own rounds are compared.
        reference_us: of the reference, in the same rounds.
        lanes: of the race, the reference among them.
        confidence: of all intervals together.
        systematic: what rounds of one race have in common, as a fraction.

    Raises:
        ValueError: no round in common.
    """
    ratios = [reference / time for time, reference in zip(times_us, reference_us, strict=False)]
    if not ratios:
        raise ValueError("no round in common: a ratio needs at least one round that both lanes ran")
    paired = sorted(math.sqrt(one * other) for one, other in zip(ratios[::2], ratios[1::2], strict=False)) or ratios
    rank = sequential_rank(len(paired), (1 - confidence) / 2 / max(1, lanes - 1))
    low, high = (paired[rank - 1], paired[-rank]) if rank else (0.0, math.inf)
    return Ratio(statistics.median(paired), low * (1 - systematic), high * (1 + systematic))


@cache
def sequential_rank(count: int, error: float) -> int:
    """The largest rank r such that the r-th smallest of `count` values may be taken for a lower bound of their median.

    It is the rank of the last of several looks, one every `LOOK` values: that the bound exceeds the median at any of
    them has at most the probability `error`. 0 when no value may be taken.

    The number of values below the median is a random walk with p = 1/2. Its exact distribution is carried from look to
    look without the paths on which the bound has failed before; at each look the bound may fail with what the spending
    function (Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70, 1983) permits by then
    and earlier looks have not used.
    """
    walks = {0: 1.0}  # values below the median -> probability, of the paths on which no bound failed
    failed, rank = 0.0, 0
    for look in sorted({*range(LOOK, count, LOOK), count}):
        steps = look - (look - 1) // LOOK * LOOK
        for _ in range(steps):
            walks = {below: (walks.get(below, 0.0) + walks.get(below - 1, 0.0)) / 2 for below in range(max(walks) + 2)}
        permitted = error * look / (look + _HALF_SPENT)
        rank = 0
        while failed + walks.get(rank, 0.0) <= permitted:
            failed += walks.pop(rank, 0.0)
            rank += 1
    return rank
