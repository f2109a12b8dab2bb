"""What every store does, whatever it is kept in."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from datetime import timedelta, timezone

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import Store, StoreError, TrialQuery, open_store
from tilewright.tuner.trial import Check, Outcome, Resources, Trial

from .samples import CUBLAS, DEVICE, ENVIRONMENT, NOON, PROBLEM, failed, measured, race, tiled

OLDER = dataclasses.replace(ENVIRONMENT, triton="3.6.0")
OTHER_DEVICE = dataclasses.replace(DEVICE, name="Another")


def test_an_empty_store_answers_with_nothing(store: Store) -> None:
    assert store.trials() == []
    assert store.races() == []
    assert store.problems() == []
    assert store.devices() == []
    assert store.environments() == []
    assert store.holdings() == []


def test_a_trial_comes_back_as_it_was(store: Store) -> None:
    check = Check(0.4, 1.0, 3, 5, 1.25, 1.5, PROBLEM.key)
    made = measured(tiled(128), 100.1, 99.3, reference_us=(101.0, 102.0), resources=Resources(168, 4, 98304, 0.31))
    made = dataclasses.replace(made, checks=(check, check), reason="a note, with 'quotes' and ümlauts")
    store.add(made)
    assert store.trials() == [made]


def test_a_failure_comes_back_with_its_reason(store: Store) -> None:
    made = failed(tiled(64), Outcome.COMPILE_FAILED, reason="ptxas: too many\nregisters")
    store.add(made)
    assert store.trials() == [made]


def test_what_no_database_keeps_is_replaced_in_a_reason_and_refused_in_a_name(store: Store) -> None:
    store.add(failed(tiled(64), reason="half \ud800 and \0"))
    assert store.trials()[0].reason == "half \N{REPLACEMENT CHARACTER} and \N{REPLACEMENT CHARACTER}"
    with pytest.raises(ValueError, match="holds a character that no database keeps"):
        store.add(failed(Config.of("ti\0led")))


def test_an_instant_is_kept_whatever_its_time_zone(store: Store) -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    store.add(dataclasses.replace(measured(tiled(128)), started_at=there))
    assert store.trials()[0].started_at == NOON


def test_equal_configs_are_one(store: Store) -> None:
    store.add(measured(Config.of("tiled", persistent=True), minute=0))
    store.add(measured(Config.of("tiled", persistent=1), minute=1))
    assert len(store.trials()) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_one_row_a_key_the_newest_stands_in_any_order(store: Store, order: tuple[int, ...]) -> None:
    again = [measured(tiled(128), 100.0 + minute, minute=minute) for minute in range(3)]
    for index in order:
        store.add(again[index])
    assert store.trials() == [again[2]]


def test_of_two_that_began_at_once_the_faster_stands(store: Store) -> None:
    slow, fast = measured(tiled(128), 100.0), measured(tiled(128), 90.0)
    for trial in (slow, fast, slow):
        store.add(trial)
    assert store.trials() == [fast]


def test_a_failure_hides_no_success_and_no_success_hides_a_failure(store: Store) -> None:
    good, bad = measured(tiled(128), minute=0), failed(tiled(128), minute=1)
    store.add(bad)
    store.add(good)
    assert store.trials() == [good, bad]


@pytest.mark.parametrize(
    "changes",
    [
        {"problem": Problem(513, 4096, 4096)},
        {"problem": Problem(512, 4096, 4096, out_dtype="fp32")},
        {"device": OTHER_DEVICE},
        {"environment": OLDER},
        {"config": tiled(64)},
        {"measurement": measured(tiled(1), protocol="sustained").measurement},
    ],
)
def test_each_part_of_the_key_tells_rows_apart(store: Store, changes: dict[str, object]) -> None:
    one = measured(tiled(128))
    other = dataclasses.replace(one, **changes)  # type: ignore[arg-type]
    store.add_all([one, other, one, other])
    assert sorted(map(str, store.trials())) == sorted(map(str, [one, other]))


@pytest.mark.parametrize(
    ("query", "configs"),
    [
        (TrialQuery(), [16, 32, 64, 128]),
        (TrialQuery(problem=PROBLEM), [16, 32, 64]),
        (TrialQuery(problem=Problem(9, 9, 9)), []),
        (TrialQuery(device="Another"), [64]),
        (TrialQuery(family="split_k"), []),
        (TrialQuery(family="tiled", outcome=Outcome.MEASURED), [32, 64, 128]),
        (TrialQuery(outcome=Outcome.WRONG), [16]),
        (TrialQuery(environment=OLDER), [32]),
        (TrialQuery(config=tiled(64)), [64]),
        (TrialQuery(protocol="graph"), [32, 64, 128]),
        (TrialQuery(limit=2), [64, 128]),
        (TrialQuery(order="median"), [64, 128, 32]),
        (TrialQuery(order="median", limit=1), [64]),
        (TrialQuery(order="speed"), [128]),
    ],
)
def test_a_query_chooses(store: Store, query: TrialQuery, configs: list[int]) -> None:
    store.add_all(
        [
            failed(tiled(16), minute=0),
            measured(tiled(32), 300.0, minute=1, environment=OLDER),
            measured(tiled(64), 100.0, minute=2, device=OTHER_DEVICE),
            measured(tiled(128), 200.0, minute=3, problem=Problem(1, 2, 3), reference_us=(210.0,)),
        ]
    )
    assert [trial.config["block_m"] for trial in store.trials(query)] == configs


def test_a_race_comes_back_as_it_was_and_is_there_once(store: Store) -> None:
    made = race({CUBLAS: (100.0, 101.0), tiled(128): (98.0,)}, notes=("one left early",), confidence=0.99)
    store.add_race(made)
    store.add_race(made)
    assert store.races() == [made]


def test_races_come_newest_first_of_one_problem_and_device(store: Store) -> None:
    made = [race({CUBLAS: (100.0,)}, minute=minute) for minute in range(3)]
    other = race({CUBLAS: (100.0,)}, problem=Problem(1, 2, 3), device=OTHER_DEVICE)
    store.add_all([], [*made, other])
    assert store.races(PROBLEM) == made[::-1]
    assert store.races(PROBLEM, DEVICE.name, limit=2) == [made[2], made[1]]
    assert store.races(device="Another") == [other]


def test_lists_hold_what_was_added(store: Store) -> None:
    store.add_all(
        [measured(tiled(1), problem=Problem(2, 2, 2)), measured(tiled(1), environment=OLDER, device=OTHER_DEVICE)]
    )
    assert store.problems() == [Problem(2, 2, 2), PROBLEM]
    assert store.devices() == [OTHER_DEVICE, DEVICE]
    assert set(store.environments()) == {ENVIRONMENT, OLDER}
    assert store.environments(PROBLEM) == [OLDER]
    assert store.environments(PROBLEM, DEVICE.name) == []


def test_holdings_count(store: Store) -> None:
    store.add_all([measured(tiled(1)), failed(tiled(2), minute=5), measured(tiled(1), problem=Problem(2, 2, 2))])
    store.add_race(race({CUBLAS: (100.0,)}))
    store.add_race(race({CUBLAS: (100.0,)}, device=OTHER_DEVICE))
    other, this = store.holdings()
    assert (this.problems, this.trials, this.measured, this.races) == (2, 3, 2, 1)
    assert this.latest == NOON + timedelta(minutes=5)
    assert (other.device, other.trials, other.races, other.latest) == (OTHER_DEVICE, 0, 1, None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dataclasses.replace(measured(tiled(1)), measurement=None), "has no measurement"),
        (measured(tiled(1), float("nan")), "a time of nan us"),
        (measured(tiled(1), 0.0), "a time of 0.0 us"),
        (measured(tiled(1), 1.0, reference_us=(float("inf"),)), "a time of inf us"),
        (measured(tiled(1), protocol=""), "names no protocol"),
        (dataclasses.replace(measured(tiled(1)), started_at=NOON.replace(tzinfo=None)), "has no time zone"),
    ],
)
def test_a_trial_that_contradicts_itself_is_refused_with_all_beside_it(
    store: Store, wrong: Trial, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        store.add_all([measured(tiled(2)), wrong, measured(tiled(3))])
    assert store.trials() == []
    store.add(measured(tiled(2)))
    assert store.trials() == [measured(tiled(2))]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (race({}), "has 0 lanes"),
        (race({CUBLAS: ()}), "no time at all"),
        (race({CUBLAS: (1.0,)}, confidence=1.0), "confidence is 1.0"),
    ],
)
def test_a_race_that_contradicts_itself_is_refused(store: Store, wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store.add_race(wrong)  # type: ignore[arg-type]
    assert store.races() == []


def test_threads_may_share_a_store(store: Store) -> None:
    def write(first: int) -> None:
        for index in range(first, first + 10):
            store.add(measured(tiled(index)))

    threads = [threading.Thread(target=write, args=(10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.trials()) == 40


def test_what_was_added_is_there_when_it_is_opened_again(where: str) -> None:
    if where == "memory://":
        pytest.skip("memory is gone when it is closed")
    with open_store(where) as store:
        store.add(measured(tiled(1)))
    with open_store(where) as store:
        store.add(measured(tiled(2)))
    with open_store(where, readonly=True) as store:
        assert len(store.trials()) == 2
        with pytest.raises(StoreError):
            store.add(measured(tiled(3)))


def test_a_reader_finds_nothing_where_nothing_is(where: str) -> None:
    with pytest.raises(StoreError, match=r"is not there|holds no store yet|is empty when it is opened"):
        open_store(where, readonly=True)


@pytest.mark.parametrize("where", ["mysql://host/database", "http://x", "://"])
def test_an_unknown_kind_of_store_is_refused(where: str) -> None:
    with pytest.raises(StoreError, match="is of no known kind: give a path, or a URL that starts with memory://"):
        open_store(where)
