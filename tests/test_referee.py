"""A race ends when it should, says who won, and is as sure as it claims, with generated and with recorded noise."""

from __future__ import annotations

import importlib.util
import itertools
import math
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Final

import numpy as np
import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.problem import Problem
from tilewright.tuner.ratio import interval_rank, is_ahead, is_tie
from tilewright.tuner.referee import (
    BLOCK,
    LOOK,
    MINIMUM,
    SYSTEMATIC,
    Verdict,
    fastest_level,
    lane_ratio,
    race_ratio,
    run_race,
    sequential_rank,
    standing,
    verdict_text,
)
from tilewright.tuner.trial import Environment, Lane, Race, Ratio

ROOT: Final = Path(__file__).parents[1]
NOISE: Final = ROOT / "results" / "nvidia-h100-80gb-hbm3" / "noise.csv.gz"
ENVIRONMENT: Final = Environment("3.7.1", "2.13.0", "13.0", "580.1", "3.11.7", "0123456789abcdef")
CUBLAS, TILED = Config.of("cublas"), Config.of("tiled", block_m=128)


def simulation() -> ModuleType:
    """`benchmarks/race_simulation.py`, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("race_simulation", ROOT / "benchmarks" / "race_simulation.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # dataclasses look their module up
    spec.loader.exec_module(found)
    return found


def steady(*times_us: float) -> Callable[[Sequence[int], int], list[list[float]]]:
    return lambda running, count: [[times_us[lane] for lane in running]] * count


def never() -> bool:
    return False


@pytest.mark.parametrize("error", [0.025, 0.025 / 7])
def test_a_bound_fails_as_rarely_as_it_may_at_any_look(error: float) -> None:
    """Against every sequence of signs of 18 values: the bound fails where the median is not below the r-th smallest."""
    count = 18
    failed = 0
    looks = range(LOOK, count + 1, LOOK)
    ranks = {look: sequential_rank(look, error) for look in looks}
    for signs in itertools.product((0, 1), repeat=count):
        below = list(itertools.accumulate(signs))
        failed += any(below[look - 1] < ranks[look] for look in looks)
    assert 0 < failed / 2**count <= error


@pytest.mark.parametrize("count", [12, 30, 60])
def test_looking_often_costs_little(count: int) -> None:
    single = interval_rank(count, 0.95)
    assert single - 3 <= sequential_rank(count, 0.025) < single


def test_too_few_pairs_bound_nothing() -> None:
    assert race_ratio([1.0] * 12, [1.0] * 12, 2) == Ratio(1.0, 0.0, math.inf)
    assert race_ratio([1.0] * 24, [1.0] * 24, 9) == Ratio(1.0, 1 - SYSTEMATIC, 1 + SYSTEMATIC)
    assert race_ratio([2.0], [3.0], 2) == Ratio(1.5, 0.0, math.inf)
    with pytest.raises(ValueError, match="no round in common"):
        race_ratio([], [1.0], 2)


def test_what_a_lane_owes_to_its_place_cancels() -> None:
    """Whoever runs later in a round is 3% faster, and the second round is run backwards."""
    first, second = [100.0, 97.0] * 12, [97.0, 100.0] * 12
    ratio = race_ratio(first, second, 2)
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((1 - SYSTEMATIC, 1.0, 1 + SYSTEMATIC))


def test_a_race_ends_when_one_is_ahead() -> None:
    times = run_race(steady(100.0, 90.0, 120.0), 3, 80, never)
    found = standing(times)
    assert (found.verdict, found.leader, found.level) == (Verdict.AHEAD, 1, ())
    assert len(times[0]) == len(times[1]) <= MINIMUM
    assert len(times[2]) <= len(times[0])


def test_a_race_ends_when_the_rest_are_ties() -> None:
    assert standing(run_race(steady(100.0, 100.5, 103.0), 3, 80, never)).verdict is Verdict.AHEAD
    within = standing(run_race(steady(100.0, 100.2, 103.0), 3, 80, never))
    assert (within.verdict, within.level) == (Verdict.TIE, (1,))  # not sure with other operands, even without noise
    noise = np.random.default_rng(0)

    def read(running: Sequence[int], count: int) -> list[list[float]]:
        return [[(100.0, 100.2, 103.0)[lane] * noise.normal(1, 0.002) for lane in running] for _ in range(count)]

    found = standing(run_race(read, 3, 80, never))
    assert (found.verdict, found.level) == (Verdict.TIE, (1,) if found.leader == 0 else (0,))


def test_a_beaten_lane_leaves_and_the_reference_stays() -> None:
    noise = np.random.default_rng(1)

    def read(running: Sequence[int], count: int) -> list[list[float]]:
        assert 0 in running
        return [[(130.0, 100.0, 100.5, 140.0)[lane] * noise.normal(1, 0.03) for lane in running] for _ in range(count)]

    times = run_race(read, 4, 60, never)
    assert len(times[0]) == 60
    assert len(times[3]) < 60
    assert standing(times).running[0] == 0


def test_what_a_race_leaves_level_is_told_the_fastest_first() -> None:
    """Who was beaten is not, nor is the reference; a leader with no equal is alone."""
    noisy = [[100.0 + (round_ * 7 + lane) % 5 for round_ in range(24)] for lane in range(4)]
    beaten = [[130.0] * 24]
    assert set(fastest_level([*noisy, *beaten], 4)) == {1, 2, 3}
    assert len(fastest_level([*noisy, *beaten], 2)) == 2
    assert fastest_level([[100.0] * 24, [90.0] * 24, [99.0] * 24], 4) == [1]


def test_a_race_ends_in_time_but_not_before_it_can_tell() -> None:
    noise = np.random.default_rng(2)

    def read(running: Sequence[int], count: int) -> list[list[float]]:
        return [[100.0 * noise.normal(1, 0.1) for _ in running] for _ in range(count)]

    times = run_race(read, 4, 600, lambda: True)
    assert len(times[0]) == MINIMUM
    assert MINIMUM % BLOCK == 0
    assert standing(times).verdict is Verdict.UNDECIDED


def test_a_stored_race_says_what_it_came_to() -> None:
    lanes = (Lane(TILED, ENVIRONMENT, (90.0,) * 24), Lane(CUBLAS, ENVIRONMENT, (99.0,) * 24))
    race = Race(Problem(1, 1, 1), nominal("sm90"), "interleaved/1", CUBLAS, lanes, datetime.now(UTC))
    assert verdict_text(race) == "ahead: tiled(block_m=128) after 24 rounds"
    ratio = lane_ratio(race, lanes[0])
    assert ratio is not None
    assert ratio.median == pytest.approx(1.1)
    assert lane_ratio(race, lanes[1]) == Ratio(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("ratio", "ahead"),
    [
        (Ratio(1.03, 1.02, 1.04), True),
        (Ratio(1.008, 1.002, 1.014), True),
        (Ratio(1.003, 1.001, 1.005), False),  # a tie
        (Ratio(1.02, 0.99, 1.05), False),  # undecided
    ],
)
def test_ahead_is_more_than_a_tie(ratio: Ratio, ahead: bool) -> None:
    assert is_ahead(ratio) is ahead
    assert not (is_ahead(ratio) and is_tie(ratio))


def generated(kind: str) -> tuple[tuple[float, ...], ...]:
    """Eight lanes of one kernel: noise of its own, and what a GPU adds to all lanes and to a place."""
    draw = np.random.default_rng(0)
    rounds, lanes = 1200, 8
    times = 100 * np.exp(draw.normal(0, 0.004, (lanes, rounds)))
    if kind == "drift":
        times *= np.linspace(1.0, 1.14, rounds)
    if kind == "outliers":
        times *= np.where(draw.random((lanes, rounds)) < 0.05, 1.1, 1.0)
    if kind == "dips":
        times *= np.repeat(np.where(draw.random(rounds // 12) < 0.2, 1.1, 1.0), 12)
    if kind == "places":
        order = np.array([draw.permutation(lanes) for _ in range(rounds // 2)])
        places = np.stack([order, lanes - 1 - order], axis=1).reshape(rounds, lanes)
        times *= (1 + 0.03 * places / lanes).T
    return tuple(tuple(float(time) for time in lane) for lane in times)


RACES: Final = 150
CHANCE: Final = 0.05 + 3 * math.sqrt(0.05 * 0.95 / RACES)


@pytest.mark.parametrize("kind", ["independent", "drift", "outliers", "dips", "places"])
def test_a_race_errs_no_more_than_it_claims(kind: str) -> None:
    tool = simulation()
    trace = tool.Trace("generated", kind, generated(kind))
    for speeds in tool.SCENARIOS.values():
        shares = tool.summary(trace, speeds, RACES)
        assert shares["best dropped"] <= CHANCE
        assert shares["false claim"] <= CHANCE
        assert shares["not covered"] <= CHANCE
        assert shares["worst regret"] < 0.01


def test_a_usual_final_costs_less_than_half() -> None:
    tool = simulation()
    shares = tool.summary(tool.Trace("generated", "", generated("independent")), tool.SCENARIOS["a usual final"], 50)
    assert shares["decided"] > 0.9
    assert shares["cost"] < 0.5


def test_a_race_errs_no_more_than_it_claims_with_the_noise_of_a_gpu() -> None:
    """Over all that was recorded: single traces are short, and their races are not independent."""
    tool = simulation()
    traces = [trace for trace in tool.read_noise(NOISE) if trace.regime == "interleaved"]
    assert traces
    for speeds in tool.SCENARIOS.values():
        shares = [tool.summary(trace, speeds, RACES) for trace in traces]
        for error in ("best dropped", "false claim", "not covered"):
            assert sum(share[error] for share in shares) / len(shares) <= 0.05
        assert max(share["worst regret"] for share in shares) < 0.01


def test_noise_is_read_as_it_was_written(tmp_path: Path) -> None:
    tool = simulation()
    traces = [tool.Trace("1x2x3-bf16-nt", "burst", ((1.5, 2.0), (1.25, 3.0)))]
    tool.write_noise(tmp_path / "noise.csv.gz", traces)
    assert tool.read_noise(tmp_path / "noise.csv.gz") == traces


def test_noise_is_recorded_on_the_host(tmp_path: Path) -> None:
    tool = simulation()
    (trace,) = tool.record("cpu", ["interleaved"], ["8x64x64"], 12)
    assert trace.regime == "interleaved"
    assert trace.problem == "8x64x64-bf16-nt"
    assert [len(lane) for lane in trace.lanes] == [12] * tool.LANES
