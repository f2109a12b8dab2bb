"""What was bad on one problem is left alone on the next, where it is the same binary, unless somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tests import recorded
from tilewright.tests.recorded import OTHER, PROBLEM
from tilewright.tuner.effort import EFFORTS, Progress, StudyOptions
from tilewright.tuner.evaluate.meter import now
from tilewright.tuner.evaluate.replay import ReplayMeter, open_replay
from tilewright.tuner.remembered import BAD, bad_elsewhere
from tilewright.tuner.store import Store, TrialQuery, open_store
from tilewright.tuner.store.ranking import ranking
from tilewright.tuner.study import Study
from tilewright.tuner.trial import Measurement, Outcome, Trial

EVERYTHING = StudyOptions(replace(EFFORTS["exhaustive"], trials=0), "exhaustive")


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        yield opened


@pytest.fixture
def meter(tmp_path: Path) -> ReplayMeter:
    return open_replay(recorded.write(tmp_path, PROBLEM, OTHER))


def failed(meter: ReplayMeter, outcome: Outcome, problem: Problem = OTHER, index: int = 0) -> Trial:
    config = list(meter.space(PROBLEM))[index]
    return Trial(problem, meter.device, config, meter.environment(config), outcome, now(), "it went wrong")


def tried(meter: ReplayMeter, store: Store, options: StudyOptions = EVERYTHING) -> tuple[set[Config], Progress]:
    """All that a study of everything tries, and where it stands at the end."""
    told: list[Progress] = []
    Study(PROBLEM, meter, store, options).advance(10**6, None, told.append)
    return {trial.config for trial in store.trials() if trial.problem == PROBLEM}, told[-1]


@pytest.mark.parametrize("outcome", Outcome)
def test_only_what_was_bad_is_left_out(outcome: Outcome, meter: ReplayMeter, store: Store) -> None:
    trial = failed(meter, outcome)
    if outcome is not Outcome.MEASURED:
        store.add(trial)
    configs, progress = tried(meter, store)
    assert (trial.config not in configs) == (outcome in BAD)
    assert progress.left_out == (outcome in BAD)


def test_what_was_measured_since_is_not_left_out(meter: ReplayMeter, store: Store) -> None:
    trial = failed(meter, Outcome.CRASHED)
    store.add(trial)
    assert bad_elsewhere(PROBLEM, meter, store) == {trial.config}
    measured = Measurement((1.0,), meter.protocol, (1.0,))
    store.add(replace(trial, outcome=Outcome.MEASURED, reason="", measurement=measured, started_at=now()))
    assert bad_elsewhere(PROBLEM, meter, store) == frozenset()


@pytest.mark.parametrize(
    ("reason", "is_tried"),
    [
        ("OutOfMemoryError: CUDA out of memory", True),
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory", True),
        ("OutOfResources: shared memory", False),
        ("262144 bytes of shared memory", False),
    ],
)
def test_memory_that_was_taken_then_may_be_there_now(
    reason: str, is_tried: bool, meter: ReplayMeter, store: Store
) -> None:
    lacking = replace(failed(meter, Outcome.OUT_OF_RESOURCES, PROBLEM), reason=reason)
    store.add(lacking)
    tried(meter, store)
    outcomes = {trial.outcome for trial in store.trials(TrialQuery(problem=PROBLEM, config=lacking.config))}
    assert (Outcome.MEASURED in outcomes) == is_tried
    ranked = [one.config for one in ranking(store, PROBLEM, meter.device.name, count=200)]
    assert (lacking.config in ranked) == is_tried
    store.add(replace(lacking, started_at=now()))
    ranked = [one.config for one in ranking(store, PROBLEM, meter.device.name, count=200)]
    assert (lacking.config in ranked) == is_tried, "a winner is none the less for memory that is taken later"


def test_it_is_tried_when_somebody_asks(meter: ReplayMeter, store: Store) -> None:
    trial = failed(meter, Outcome.CRASHED)
    store.add(trial)
    configs, progress = tried(meter, store, replace(EVERYTHING, retry_bad=True))
    assert trial.config in configs
    assert progress.left_out == 0


def test_what_was_bad_on_this_problem_is_tried_again_when_somebody_asks(meter: ReplayMeter, store: Store) -> None:
    trial = failed(meter, Outcome.WRONG, PROBLEM)
    store.add(trial)
    tried(meter, store)
    assert [one.outcome for one in store.trials() if one.config == trial.config] == [Outcome.WRONG]
    tried(meter, store, replace(EVERYTHING, retry_bad=True))
    outcomes = [one.outcome for one in store.trials() if one.config == trial.config]
    assert outcomes == [Outcome.WRONG, Outcome.MEASURED]


@pytest.mark.parametrize(
    "other",
    [
        replace(OTHER, dtype="fp16", out_dtype="fp16"),
        replace(OTHER, layout="nn"),
        replace(OTHER, epilogue="bias+gelu"),
        replace(OTHER, out_dtype="fp32"),
        replace(OTHER, k=OTHER.k + 1),  # rows that no 16 bytes divide are loaded in another way
    ],
)
def test_another_binary_is_another_matter(other: Problem, meter: ReplayMeter, store: Store) -> None:
    store.add(failed(meter, Outcome.CRASHED, other))
    assert bad_elsewhere(PROBLEM, meter, store) == frozenset()


@pytest.mark.parametrize("changes", [{"triton": "another"}, {"driver": "another"}, {"kernel_hash": "another"}])
def test_another_toolchain_is_another_matter(changes: dict[str, str], meter: ReplayMeter, store: Store) -> None:
    old = failed(meter, Outcome.TIMED_OUT)
    store.add(replace(old, environment=replace(old.environment, **changes)))
    assert bad_elsewhere(PROBLEM, meter, store) == frozenset()
    store.add(failed(meter, Outcome.TIMED_OUT, index=1))
    assert len(bad_elsewhere(PROBLEM, meter, store)) == 1


def test_another_device_is_another_matter(meter: ReplayMeter, store: Store) -> None:
    store.add(replace(failed(meter, Outcome.WRONG), device=replace(meter.device, name="another")))
    assert bad_elsewhere(PROBLEM, meter, store) == frozenset()
