"""What got slower, or broke, between two toolchains."""

from __future__ import annotations

import dataclasses

import pytest

from tilewright.kernels.problem import Problem
from tilewright.tuner.store import Store, StoreError
from tilewright.tuner.store.regressions import Verdict, regressions, side_of, sides
from tilewright.tuner.trial import Outcome

from .samples import CUBLAS, DEVICE, ENVIRONMENT, PROBLEM, failed, measured, race, tiled
from .test_query import around

NEWER = dataclasses.replace(ENVIRONMENT, triton="3.8.0")
BEFORE, AFTER = side_of(triton="3.7.1"), side_of(triton="3.8.0")


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [(95.0, 99.0, Verdict.SLOWER), (95.0, 94.9, Verdict.SAME), (95.0, 92.0, Verdict.FASTER)],
)
def test_races_are_compared_by_their_ratios(memory: Store, then: float, now: float, verdict: Verdict) -> None:
    """The clocks are a fifth slower the second time, which is no regression."""
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): around(then)}))
    memory.add_race(race({CUBLAS: around(120.0), tiled(1): around(1.2 * now)}, minute=1, environment=NEWER))
    (change,) = regressions(memory, BEFORE, AFTER)
    assert (change.verdict, change.paired) == (verdict, True)
    assert change.gain == pytest.approx(then / now, rel=0.01)


@pytest.mark.parametrize(("now", "verdict"), [(110.0, Verdict.SAME), (120.0, Verdict.SLOWER), (80.0, Verdict.FASTER)])
def test_times_read_apart_must_differ_by_more_than_the_clocks_drift(
    memory: Store, now: float, verdict: Verdict
) -> None:
    memory.add(measured(tiled(1), 100.0))
    memory.add(measured(tiled(2), now, environment=NEWER))
    (change,) = regressions(memory, BEFORE, AFTER)
    assert (change.verdict, change.paired) == (verdict, False)


def test_a_library_that_got_slower_is_seen(memory: Store) -> None:
    memory.add_race(race({CUBLAS: around(100.0), tiled(1): around(110.0)}))
    memory.add_race(race({CUBLAS: around(130.0), tiled(1): around(140.0)}, minute=1, environment=NEWER))
    (change,) = regressions(memory, BEFORE, AFTER)
    assert (change.verdict, change.paired) == (Verdict.SLOWER, False)


def test_a_winner_that_fails_now_is_broken_whatever_took_its_place(memory: Store) -> None:
    memory.add(measured(tiled(1), 100.0))
    memory.add(failed(tiled(1), Outcome.WRONG, minute=1, environment=NEWER, reason="error 3"))
    (change,) = regressions(memory, BEFORE, AFTER)
    assert (change.verdict, change.after, change.reason, change.regressed) == (
        Verdict.BROKEN,
        None,
        "wrong: error 3",
        True,
    )
    memory.add(measured(tiled(2), 90.0, environment=NEWER))
    (change,) = regressions(memory, BEFORE, AFTER)
    assert change.verdict is Verdict.BROKEN
    assert change.after is not None
    assert change.after.config == tiled(2)


def test_a_failure_that_was_overcome_is_none(memory: Store) -> None:
    memory.add(measured(tiled(1), 100.0))
    memory.add(failed(tiled(1), Outcome.CRASHED, minute=1, environment=NEWER))
    memory.add(measured(tiled(1), 100.0, minute=2, environment=NEWER))
    assert [change.verdict for change in regressions(memory, BEFORE, AFTER)] == [Verdict.SAME]


def test_what_was_not_measured_since_is_missing_and_what_is_new_is_left_out(memory: Store) -> None:
    memory.add(measured(tiled(1)))
    memory.add(measured(tiled(1), problem=Problem(1, 2, 3), environment=NEWER))
    (change,) = regressions(memory, BEFORE, AFTER)
    assert (change.problem, change.verdict, change.regressed) == (PROBLEM, Verdict.MISSING, False)
    assert regressions(memory, BEFORE, AFTER, device="Another") == []
    assert len(regressions(memory, BEFORE, AFTER, device=DEVICE.name)) == 1


def test_the_worst_comes_first(memory: Store) -> None:
    for m, now in ((1, 90.0), (2, 150.0), (3, 200.0), (4, 30.0)):
        memory.add(measured(tiled(1), 100.0, problem=Problem(m, 1, 1)))
        memory.add(measured(tiled(1), now, problem=Problem(m, 1, 1), environment=NEWER))
    memory.add(measured(tiled(1), problem=Problem(5, 1, 1)))
    found = regressions(memory, BEFORE, AFTER)
    assert [change.problem.m for change in found] == [3, 2, 1, 4, 5]


def test_sides_that_are_not_given(memory: Store) -> None:
    with pytest.raises(StoreError, match="holds no trial"):
        sides(memory, None, None)
    memory.add(measured(tiled(1)))
    memory.add(measured(tiled(1), minute=1, environment=NEWER))
    for before, after in (sides(memory, None, None), sides(memory, BEFORE, None), sides(memory, None, AFTER)):
        assert (before(ENVIRONMENT), before(NEWER)) == (True, False)
        assert (after(ENVIRONMENT), after(NEWER)) == (False, True)
