"""The best config, what ranks it, and where the answer says that it comes from."""

from __future__ import annotations

import dataclasses

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import Store, StoreError
from tilewright.tuner.store.query import Answer, NotStoredError, Origin, best, best_of_all, near_problems, only_device
from tilewright.tuner.trial import Outcome

from .samples import CUBLAS, DEVICE, ENVIRONMENT, NOON, PROBLEM, failed, measured, race, tiled

NEWER = dataclasses.replace(ENVIRONMENT, triton="3.8.0")
OTHER_DEVICE = dataclasses.replace(DEVICE, name="Another")
STEADY = (1.0, 1.001, 0.999, 1.0, 1.002, 0.998, 1.0, 1.0) * 3  # as many rounds as an interval needs


def around(time_us: float) -> tuple[float, ...]:
    return tuple(time_us * factor for factor in STEADY)


def configs(answer: Answer) -> list[Config]:
    return [one.config for one in (answer.winner, *answer.runners_up)]


def test_trials_alone_are_ranked_by_time(memory: Store) -> None:
    memory.add_all([measured(tiled(1), 110.0), measured(tiled(2), 100.0), measured(CUBLAS, 105.0), failed(tiled(3))])
    answer = best(memory, PROBLEM)
    assert configs(answer) == [tiled(2), CUBLAS, tiled(1)]
    assert (answer.origin, answer.winner.ratio, answer.winner.raced) == (Origin.EXACT, None, False)
    assert answer.winner.tflops == pytest.approx(2 * 512 * 4096 * 4096 / 100e-6 / 1e12)
    assert (answer.winner.measured_at, answer.winner.device, answer.winner.protocol) == (NOON, DEVICE, "graph")


def test_trials_beside_a_library_are_ranked_by_their_speed(memory: Store) -> None:
    """The clocks had slowed down by a tenth when the second was measured: it reads longer and is faster."""
    memory.add(measured(tiled(1), *around(100.0), reference_us=around(101.0)))
    memory.add(measured(tiled(2), *around(109.0), reference_us=around(112.0)))
    memory.add(measured(CUBLAS, 106.0))
    answer = best(memory, PROBLEM)
    assert configs(answer) == [tiled(2), tiled(1), CUBLAS]
    assert answer.winner.ratio is not None
    assert answer.winner.ratio.median == pytest.approx(112 / 109)


def test_a_race_stands_before_times_read_apart(memory: Store) -> None:
    memory.add_all([measured(tiled(1), 90.0), measured(tiled(2), 95.0), measured(tiled(3), 80.0)])
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): around(98.0), tiled(2): around(96.0)}, minute=1))
    answer = best(memory, PROBLEM)
    assert configs(answer) == [tiled(2), tiled(1), CUBLAS, tiled(3)]
    winner = answer.winner
    assert (winner.raced, winner.reference) == (True, CUBLAS)
    assert winner.median_us == pytest.approx(96.0)
    assert winner.ratio is not None
    assert winner.ratio.low <= 100 / 96 <= winner.ratio.high
    assert not winner.is_tie


def test_the_latest_race_stands_first(memory: Store) -> None:
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): around(90.0), tiled(2): around(95.0)}, minute=0))
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): around(99.0), tiled(3): around(98.0)}, minute=1))
    assert configs(best(memory, PROBLEM)) == [tiled(3), tiled(1), CUBLAS, tiled(2)]


def test_who_left_a_race_stands_below_those_who_stayed(memory: Store) -> None:
    """It was beaten in the rounds that it ran, whatever its ratio to the library was in those."""
    left = around(94.0)[:18]
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): left, tiled(2): around(95.0)}))
    assert configs(best(memory, PROBLEM)) == [tiled(2), CUBLAS, tiled(1)]


def test_what_a_race_leaves_level_is_ranked_by_what_it_is_after_a_rest_too(memory: Store) -> None:
    """A tile that ties under a power cap and loses by a tenth at the boost clock is no winner."""
    times = {CUBLAS: around(100.0), tiled(1): around(98.0), tiled(2): around(98.5), tiled(3): around(97.0)}
    rested = {CUBLAS: (80.0,) * 6, tiled(1): (88.0,) * 6, tiled(2): (79.0,) * 6}
    memory.add_race(race(times, rested_us=rested))
    answer = best(memory, PROBLEM)
    assert configs(answer) == [tiled(2), CUBLAS, tiled(1), tiled(3)]
    assert answer.winner.ratio is not None
    assert answer.winner.ratio.median == pytest.approx(100 / 98.5), "what is told was read under load"


def test_a_library_may_win_and_a_tie_is_told(memory: Store) -> None:
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): around(100.4)}))
    answer = best(memory, PROBLEM)
    assert (answer.winner.config, answer.origin) == (CUBLAS, Origin.LIBRARY)
    assert answer.runners_up[0].is_tie


def test_a_race_without_its_reference_has_no_ratio(memory: Store) -> None:
    memory.add_race(race({tiled(1): around(100.0), tiled(2): around(99.0)}))
    answer = best(memory, PROBLEM)
    assert configs(answer) == [tiled(2), tiled(1)]
    assert answer.winner.ratio is None
    assert answer.winner.reference is None


def test_what_is_stale_comes_after_what_is_fresh_and_says_why(memory: Store) -> None:
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): around(80.0)}, minute=9))
    memory.add(measured(tiled(2), 120.0, environment=NEWER))
    answer = best(memory, PROBLEM, environment=NEWER)
    assert configs(answer) == [tiled(2), tiled(1), CUBLAS]
    assert answer.origin is Origin.EXACT
    assert answer.runners_up[0].origin is Origin.STALE
    assert answer.runners_up[0].stale == ("triton 3.7.1, now 3.8.0",)
    assert answer.runners_up[1].origin is Origin.LIBRARY
    assert answer.runners_up[1].stale


def test_a_config_measured_again_today_is_fresh(memory: Store) -> None:
    memory.add(measured(tiled(1), 100.0))
    memory.add(measured(tiled(1), 130.0, environment=NEWER))
    answer = best(memory, PROBLEM, environment=NEWER)
    assert configs(answer) == [tiled(1)]
    assert (answer.origin, answer.winner.median_us) == (Origin.EXACT, 130.0)


@pytest.mark.parametrize(
    ("field", "stale"),
    [("torch", True), ("cuda", True), ("driver", True), ("kernel_hash", True), ("python", False), ("commit", False)],
)
def test_what_makes_a_result_stale(memory: Store, field: str, stale: bool) -> None:
    memory.add(measured(tiled(1)))
    today = dataclasses.replace(ENVIRONMENT, **{field: "other"})
    assert bool(best(memory, PROBLEM, environment=today).winner.stale) is stale
    assert bool(best(memory, PROBLEM, environment={"tiled": today}).winner.stale) is stale


def test_a_family_that_is_gone_is_stale(memory: Store) -> None:
    memory.add(measured(tiled(1)))
    assert best(memory, PROBLEM, environment={}).winner.stale == ("family tiled, now gone",)


def test_a_config_that_failed_since_is_out(memory: Store) -> None:
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): around(80.0), tiled(2): around(90.0)}, minute=1))
    memory.add(failed(tiled(1), Outcome.CRASHED, minute=2))
    memory.add(failed(tiled(2), Outcome.TIMED_OUT, minute=0))
    memory.add(failed(CUBLAS, Outcome.CRASHED, minute=2, environment=NEWER))
    assert configs(best(memory, PROBLEM)) == [tiled(2), CUBLAS]


def test_runners_up_are_as_many_as_asked_for(memory: Store) -> None:
    memory.add_all(measured(tiled(index), 100.0 + index) for index in range(20))
    assert configs(best(memory, PROBLEM, runners_up=0)) == [tiled(0)]
    assert configs(best(memory, PROBLEM, runners_up=9)) == [tiled(index) for index in range(10)]


def test_the_device_is_the_latest_or_the_one_named(memory: Store) -> None:
    memory.add(measured(tiled(1), 90.0, device=OTHER_DEVICE))
    memory.add(measured(tiled(2), 100.0, minute=1))
    assert configs(best(memory, PROBLEM)) == [tiled(2)]
    assert configs(best(memory, PROBLEM, device="Another")) == [tiled(1)]
    memory.add_race(race({tiled(3): (80.0,)}, device=OTHER_DEVICE, minute=2))
    assert configs(best(memory, PROBLEM)) == [tiled(3), tiled(1)]


def test_the_nearest_problem_answers_for_one_without_results(memory: Store) -> None:
    for m in (128, 1024):
        memory.add(measured(tiled(m), problem=Problem(m, 4096, 4096)))
    memory.add(measured(tiled(1), problem=Problem(512, 4096, 4090)))  # nearer, but another weight
    memory.add(measured(tiled(2), problem=Problem(512, 4096, 4096, layout="nn")))
    memory.add(measured(tiled(3), problem=Problem(512, 4096, 4096, epilogue="bias")))
    answer = best(memory, PROBLEM)
    assert (answer.problem, answer.winner.problem) == (PROBLEM, Problem(1024, 4096, 4096))
    assert answer.origin is Origin.NEAR
    with pytest.raises(NotStoredError, match="has no result for 512x4096x4096-bf16-nt: tune it first"):
        best(memory, PROBLEM, near=False)


def test_what_is_far_is_not_near(memory: Store) -> None:
    memory.add(measured(tiled(1), problem=Problem(1, 4096, 4096)))
    assert near_problems(memory, PROBLEM) == []
    with pytest.raises(NotStoredError, match="or near it"):
        best(memory, PROBLEM)


def test_a_near_problem_that_only_failed_does_not_answer(memory: Store) -> None:
    memory.add(failed(tiled(1), problem=Problem(511, 4096, 4096)))
    memory.add(measured(tiled(2), problem=Problem(500, 4096, 4096)))
    assert configs(best(memory, PROBLEM)) == [tiled(2)]


def test_an_empty_problem_is_near_nothing_but_the_like(memory: Store) -> None:
    memory.add(measured(tiled(2), problem=Problem(1, 2, 2)))
    assert best(memory, Problem(0, 2, 2)).origin is Origin.NEAR


def test_all_that_have_results_are_answered(memory: Store) -> None:
    with pytest.raises(NotStoredError, match="has no result for what was asked"):
        best_of_all(memory)
    memory.add(failed(tiled(1), problem=Problem(1, 1, 1)))
    memory.add(measured(tiled(1)))
    assert [answer.problem for answer in best_of_all(memory)] == [PROBLEM]


def test_the_only_device(memory: Store) -> None:
    with pytest.raises(StoreError, match="no result: tune first"):
        only_device(memory)
    memory.add(measured(tiled(1)))
    assert only_device(memory) == DEVICE.name
    memory.add(measured(tiled(1), device=OTHER_DEVICE))
    with pytest.raises(StoreError, match=r"results of Another, NVIDIA H100 \(nominal\): name one"):
        only_device(memory)


def test_only_what_gives_the_same_bits_in_every_run(memory: Store) -> None:
    """The library is the fastest and promises less; of a family that is not known nothing is known."""
    unknown = Config.of("somebody.elses:FAMILY", block_m=1)
    memory.add_all([measured(tiled(one), 101.0 + one) for one in range(12)])
    memory.add_all([measured(CUBLAS, 90.0), measured(unknown, 91.0)])
    memory.add_race(race({CUBLAS: around(100.0), unknown: around(101.0), tiled(3): around(102.0)}, minute=1))
    assert best(memory, PROBLEM).winner.config == CUBLAS
    found = best(memory, PROBLEM, deterministic=True, runners_up=2)
    assert configs(found) == [tiled(3), tiled(0), tiled(1)]
    assert (found.winner.raced, found.winner.reference) == (True, CUBLAS)
    assert best_of_all(memory, deterministic=True)[0].winner.config == tiled(3)


def test_a_problem_without_a_deterministic_result_says_how_to_get_one(memory: Store) -> None:
    memory.add(measured(CUBLAS, 90.0))
    with pytest.raises(NotStoredError, match=r"no deterministic result .* --deterministic`"):
        best(memory, PROBLEM, deterministic=True)
