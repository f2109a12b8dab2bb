"""Stored winners tried again: what is kept, what is replaced, what got slower, and what broke."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tilewright.kernels.config import Config
from tilewright.tuner.evaluate import open_meter
from tilewright.tuner.evaluate.replay import open_replay
from tilewright.tuner.landscape import Landscape, Reading, write_landscape
from tilewright.tuner.store import Store, TrialQuery, open_store
from tilewright.tuner.store.query import best
from tilewright.tuner.trial import Measurement, Outcome
from tilewright.tuner.verify import Change, Verdict, verify

from . import recorded
from .recorded import LIBRARY, PROBLEM

FAILED = Reading(None, 0.0, Outcome.WRONG)
Then = Callable[[Store, dict[Config, Reading | None]], Verdict | None]


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        yield opened


@pytest.fixture
def tuned(store: Store, tmp_path: Path) -> list[Config]:
    """Every config of a recorded problem is stored; the fastest of our own, the best first."""
    (path,) = recorded.write(tmp_path, PROBLEM)
    meter = open_meter(f"replay:{path}")
    for config in (*meter.space(PROBLEM), LIBRARY):
        meter.submit(PROBLEM, config)
        store.add_all(meter.collect())
    answer = best(store, PROBLEM)
    return [one.config for one in (answer.winner, *answer.runners_up)]


@pytest.fixture
def then(tmp_path: Path) -> Then:
    """Verifies on a device that reads what it did, but for these configs, with the same toolchain; a config without a
    reading is not there."""

    def then(store: Store, changed: dict[Config, Reading | None]) -> Verdict | None:
        readings = {**recorded.landscape(PROBLEM).readings, **changed}
        path = tmp_path / f"{PROBLEM.key}.csv.gz"
        there = {config: reading for config, reading in readings.items() if reading is not None}
        environment = open_replay([path])._environment
        write_landscape(path, Landscape.of(PROBLEM.key, there))
        meter = open_replay([path])
        meter._environment = environment  # which a file that was recorded anew has not
        return verify(PROBLEM, meter, store)

    return then


def test_a_winner_that_holds_is_kept(store: Store, tuned: list[Config], then: Then) -> None:
    before = best(store, PROBLEM).winner.measured_at
    verdict = then(store, {})
    assert verdict is not None
    assert (verdict.change, verdict.regressed, verdict.failed) == (Change.KEPT, False, ())
    assert verdict.after is not None
    assert verdict.before.config == verdict.after.config == tuned[0]
    assert best(store, PROBLEM).winner.measured_at > before


def test_a_winner_that_is_overtaken_is_replaced(store: Store, tuned: list[Config], then: Then) -> None:
    verdict = then(store, {tuned[2]: Reading(10.0)})
    assert verdict is not None
    assert (verdict.change, verdict.regressed) == (Change.REPLACED, False)
    assert best(store, PROBLEM).winner.config == tuned[2]


@pytest.mark.parametrize(("times", "change"), [(1.01, Change.KEPT), (1.05, Change.SLOWER)])
def test_slower_is_what_is_beyond_the_margin(
    store: Store, tuned: list[Config], then: Then, times: float, change: Change
) -> None:
    verdict = then(store, {tuned[0]: Reading(16.0 * times)})
    assert verdict is not None
    assert (verdict.change, verdict.regressed) == (change, change is Change.SLOWER)


def test_slower_is_judged_beside_the_library(store: Store, tuned: list[Config], then: Then) -> None:
    """At half the clock everything takes twice as long, and nothing regressed."""
    slow = {config: Reading(32.0 + place) for place, config in enumerate(tuned)}
    verdict = then(store, {**slow, LIBRARY: Reading(2 * recorded.LIBRARY_US)})
    assert verdict is not None
    assert verdict.change is Change.KEPT


def test_a_winner_that_is_wrong_today_is_broken_and_says_why(store: Store, tuned: list[Config], then: Then) -> None:
    verdict = then(store, dict.fromkeys(tuned[:4], FAILED))
    assert verdict is not None
    assert (verdict.change, verdict.after, verdict.regressed) == (Change.BROKEN, None, True)
    assert verdict.failed[0] == (tuned[0], "wrong: recorded so")
    assert len(store.trials(TrialQuery(config=tuned[0], outcome=Outcome.WRONG))) == 1
    assert best(store, PROBLEM).winner.config not in tuned[:4]


def test_a_broken_winner_with_a_slower_runner_up_regressed(store: Store, tuned: list[Config], then: Then) -> None:
    verdict = then(store, {tuned[0]: FAILED})
    assert verdict is not None
    assert (verdict.change, verdict.regressed) == (Change.BROKEN, True)
    assert verdict.after is not None
    assert verdict.after.config == tuned[1]


def test_a_winner_that_is_no_longer_in_the_space_is_told(store: Store, tuned: list[Config], then: Then) -> None:
    verdict = then(store, {tuned[0]: None, tuned[3]: Reading(15.9)})
    assert verdict is not None
    assert (verdict.change, verdict.regressed) == (Change.REPLACED, False)
    assert verdict.failed == ((tuned[0], "it is not in today's space"),)


def test_times_that_were_read_in_another_way_are_no_measure(store: Store, tuned: list[Config], then: Then) -> None:
    """A rested device runs faster than a busy one; where both were read, the same is compared with the same."""
    trial = store.trials(TrialQuery(config=tuned[0]))[0]
    with open_store("memory://") as other:
        other.add(dataclasses.replace(trial, measurement=Measurement((10.0,), "burst/1", (20.0,))))
        verdict = then(other, {})
        assert verdict is not None
        assert (verdict.change, verdict.before.protocol) == (Change.KEPT, "burst/1")
        verdict = then(other, {tuned[0]: Reading(17.0)})
        assert verdict is not None
        assert (verdict.change, verdict.before.protocol) == (Change.SLOWER, "replay")


def test_a_stale_winner_is_tried_again_and_the_stale_row_is_kept(store: Store, tuned: list[Config], then: Then) -> None:
    trial = store.trials(TrialQuery(config=tuned[0]))[0]
    older = dataclasses.replace(trial.environment, triton="3.6.0")
    with open_store("memory://") as other:
        other.add(dataclasses.replace(trial, environment=older))
        verdict = then(other, {})
        assert verdict is not None
        assert (verdict.change, verdict.before.environment.triton) == (Change.KEPT, "3.6.0")
        assert [one.environment.triton for one in other.trials(TrialQuery(config=tuned[0]))] == ["3.6.0", ""]
        answer = best(other, PROBLEM, environment=trial.environment)
        assert (answer.winner.stale, answer.winner.config) == ((), tuned[0])


def test_where_only_a_library_is_stored_there_is_nothing_to_verify(
    store: Store, tuned: list[Config], then: Then
) -> None:
    with open_store("memory://") as other:
        assert then(other, {}) is None
        other.add(store.trials(TrialQuery(config=LIBRARY))[0])
        assert then(other, {}) is None
