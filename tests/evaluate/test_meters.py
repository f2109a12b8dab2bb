"""What every meter promises, held by each entry of `METERS`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tests import recorded
from tilewright.tuner.evaluate import METERS, Meter, MeterError, MeterOptions, RaceLimit, open_meter
from tilewright.tuner.evaluate.health import gpu_count
from tilewright.tuner.trial import Outcome, Trial

from .processes import children, soon

PROBLEM = recorded.PROBLEM
KINDS = [pytest.param(kind, marks=[pytest.mark.gpu] if kind == "gpu" else []) for kind in METERS]


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "gpu" and not gpu_count():
        pytest.skip("no NVIDIA GPU here")
    return f"replay:{recorded.write(tmp_path, PROBLEM)[0]}" if request.param == "replay" else str(request.param)


@pytest.fixture
def meter(where: str) -> Iterator[Meter]:
    opened = open_meter(where, MeterOptions(jobs=2))
    yield opened
    opened.close()


def everything(meter: Meter) -> list[Trial]:
    found: list[Trial] = []
    while ended := meter.collect():
        found += ended
    return found


def test_defaults_are_of_the_space_and_libraries_are_not(meter: Meter) -> None:
    space, library = meter.space(PROBLEM), meter.library(PROBLEM)
    assert all(config in space for config in meter.defaults(PROBLEM))
    assert library is not None
    assert library not in space


def test_what_is_submitted_comes_back_once(meter: Meter) -> None:
    library = meter.library(PROBLEM)
    wanted = [*([library] if library else []), *list(meter.space(PROBLEM))[:3]]
    for config in wanted:
        meter.submit(PROBLEM, config)
    found = everything(meter)
    assert sorted(trial.config for trial in found) == sorted(wanted)
    for trial in found:
        assert trial.problem == PROBLEM
        assert trial.device == meter.device
        assert trial.environment == meter.environment(trial.config)
        assert (trial.measurement is not None) == (trial.outcome is Outcome.MEASURED)
        assert trial.measurement is None or trial.measurement.protocol == meter.protocol
        assert trial.reason or trial.outcome is Outcome.MEASURED
    assert meter.collect() == []


def test_the_library_is_measured(meter: Meter) -> None:
    library = meter.library(PROBLEM)
    assert library is not None
    meter.submit(PROBLEM, library)
    (trial,) = everything(meter)
    assert trial.median_us is not None
    assert trial.median_us > 0


def test_what_fails_is_a_trial_with_a_reason(tmp_path: Path) -> None:
    meter = open_meter(f"replay:{recorded.write(tmp_path, PROBLEM)[0]}")
    for config in meter.space(PROBLEM):
        meter.submit(PROBLEM, config)
    failed = [trial for trial in everything(meter) if trial.outcome is not Outcome.MEASURED]
    assert [(trial.outcome, trial.measurement) for trial in failed] == [(Outcome.OUT_OF_RESOURCES, None)] * 4
    assert all(trial.reason for trial in failed)
    meter.close()


def test_nothing_is_left_of_one_that_is_closed(where: str) -> None:
    before = children()
    meter = open_meter(where, MeterOptions(jobs=2))
    meter.prefetch(PROBLEM, meter.space(PROBLEM))
    for config in (meter.library(PROBLEM), *list(meter.space(PROBLEM))[:3]):
        if config is not None:
            meter.submit(PROBLEM, config)
    meter.collect()
    meter.close()
    assert soon(lambda: children() == before)


def test_a_race_is_of_equal_readings_or_there_is_none(meter: Meter) -> None:
    configs = tuple(list(meter.space(PROBLEM))[:1])
    race = meter.race(PROBLEM, configs, RaceLimit(rounds=12, seconds=0.5))
    if race is not None:
        assert race.reference == meter.library(PROBLEM)
        assert race.lanes[0].config == race.reference
        assert all(lane.times_us for lane in race.lanes)


def test_it_is_busy_for_a_part_of_the_time_or_never(meter: Meter) -> None:
    assert meter.capacity >= 1
    assert meter.busy_share is None or 0 <= meter.busy_share <= 1


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("tpu", "gpu, gpu:1, cpu or replay:FILE"),
        ("cpu:3", "the host is cpu"),
        ("gpu:x", "gpu:1 for the second"),
        ("replay:", "replay:FILE"),
    ],
)
def test_a_device_that_is_none_is_named(where: str, said: str) -> None:
    with pytest.raises(MeterError, match=said):
        open_meter(where)


@pytest.mark.skipif(gpu_count() > 0, reason="there is a GPU here")
def test_no_gpu_is_said_at_once() -> None:
    with pytest.raises(MeterError, match=r"no NVIDIA GPU here.*replay:FILE"):
        open_meter("gpu")


def test_a_replay_of_another_problem_says_what_was_recorded(tmp_path: Path) -> None:
    paths = recorded.write(tmp_path, PROBLEM, recorded.OTHER)
    meter = open_meter(f"replay:{','.join(map(str, paths))}")
    with pytest.raises(MeterError, match=PROBLEM.key):
        meter.space(Problem(1, 2, 3))
    meter.close()


def test_a_landscape_of_another_name_stands_for_any_problem(tmp_path: Path) -> None:
    (path,) = recorded.write(tmp_path, PROBLEM)
    meter = open_meter(f"replay:{path.rename(tmp_path / 'anything.csv.gz')}")
    assert len(meter.space(Problem(1, 2, 3))) == 96
    assert meter.library(Problem(1, 2, 3)) == Config.of("cublas")
    meter.close()
