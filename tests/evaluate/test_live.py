"""A config that fails costs one trial with the right outcome, in bounded time, and the next one is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.problem import Problem
from tilewright.tests.faults import config_of, name_of
from tilewright.tuner.effort import EFFORTS, StudyOptions
from tilewright.tuner.evaluate import MeterError, MeterOptions, RaceLimit
from tilewright.tuner.evaluate.compiler import CompilePool, Job, compile_all
from tilewright.tuner.evaluate.live import LiveMeter
from tilewright.tuner.evaluate.measuring import Measuring
from tilewright.tuner.evaluate.messages import RaceRequest
from tilewright.tuner.evaluate.regime import regime_of
from tilewright.tuner.store import TrialQuery, open_store
from tilewright.tuner.study import Study
from tilewright.tuner.trial import Outcome, Trial

from .processes import children, soon

PROBLEM = Problem(64, 96, 128, "fp32")
OPTIONS = MeterOptions(families=(name_of("HONEST"),), evaluate_timeout_s=12.0)
REPLACED_S = 60.0  # a new measuring process, on a machine that is busy with other tests
FAULTS = {
    "UNWRITTEN": (Outcome.WRONG, "64x96x128-fp32-nt: error inf is beyond the bound 1 at [63, 95]: nan, expected"),
    "WRONG_ON_RAGGED": (Outcome.WRONG, "error "),
    "RAISES": (Outcome.LAUNCH_FAILED, "RuntimeError: the launch was refused"),
    "ABORTS": (Outcome.CRASHED, "process killed by SIGABRT: a library gives up"),
    "HANGS": (Outcome.TIMED_OUT, "no end in 12 s: the measuring process was replaced"),
    "GREEDY": (Outcome.OUT_OF_RESOURCES, "MemoryError"),
}


@pytest.fixture(scope="module")
def meter() -> Iterator[LiveMeter]:
    opened = LiveMeter("cpu", OPTIONS)
    yield opened
    opened.close()


def test_the_fastest_so_far_has_to_be_right_every_time(meter: LiveMeter) -> None:
    meter.submit(Problem(48, 96, 128, "fp32"), config_of("WRONG_RARELY"))
    (trial,) = meter.collect()
    assert (trial.outcome, trial.measurement) == (Outcome.WRONG, None)
    assert trial.reason.startswith("wrong some of the time, in up to 2000 launches: ")
    assert [check.passed for check in trial.checks] == [True, True, False]


def tried(meter: LiveMeter, *configs: Config) -> list[Trial]:
    """The trials of these configs, in the order in which they were submitted."""
    for config in configs:
        meter.submit(PROBLEM, config)
    found: list[Trial] = []
    while ended := meter.collect():
        found += ended
    assert [trial.config for trial in found] == list(configs)
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_its_own_trial(meter: LiveMeter, fault: str) -> None:
    outcome, reason = FAULTS[fault]
    started = time.monotonic()
    before, bad, after = tried(meter, config_of("HONEST"), config_of(fault), config_of("HONEST", 1))
    assert time.monotonic() - started < 2 * OPTIONS.evaluate_timeout_s + REPLACED_S
    assert (bad.outcome, bad.measurement) == (outcome, None)
    assert reason in bad.reason
    assert [trial.outcome for trial in (before, after)] == [Outcome.MEASURED] * 2
    assert len(children()) == 1, "the process that failed is gone, another one is there"


def test_a_wrong_result_is_told_by_its_checks(meter: LiveMeter) -> None:
    (trial,) = tried(meter, config_of("WRONG_ON_RAGGED"))
    assert [check.passed for check in trial.checks] == [True, False]
    assert trial.checks[1].problem != PROBLEM.key
    assert trial.reason == str(trial.checks[1])
    (right,) = tried(meter, config_of("HONEST"))
    assert len(right.checks) >= 2  # a third one where it is among the fastest
    assert all(check.passed for check in right.checks)


def test_readings_are_paired_with_the_librarys(meter: LiveMeter) -> None:
    (trial,) = tried(meter, config_of("HONEST"))
    assert trial.measurement is not None
    assert trial.measurement.protocol == meter.protocol
    assert 1 <= len(trial.measurement.times_us) == len(trial.measurement.reference_us)
    assert all(time_us > 0 for time_us in (*trial.measurement.times_us, *trial.measurement.reference_us))


def test_a_race_in_which_one_hangs_ends_and_the_next_goes_on(meter: LiveMeter) -> None:
    limit = RaceLimit(rounds=12, seconds=0.2)
    started = time.monotonic()
    assert meter.race(PROBLEM, (config_of("HONEST"), config_of("ABORTS")), limit) is None
    race = meter.race(PROBLEM, (config_of("HONEST"), config_of("HONEST", 1)), limit)
    assert time.monotonic() - started < REPLACED_S
    assert race is not None
    assert [lane.config for lane in race.lanes] == [Config.of("cpu_blas"), config_of("HONEST"), config_of("HONEST", 1)]
    assert race.reference == race.lanes[0].config
    assert all(len(lane.times_us) <= len(race.lanes[0].times_us) for lane in race.lanes)


def test_what_fails_during_a_race_is_told_and_the_next_config_is_measured() -> None:
    """The race's answer is not taken for that to the next request."""
    process = Measuring("cpu", 0, regime_of("interleaved").name)
    request = RaceRequest(PROBLEM, (Config.of("cpu_blas"), config_of("HONEST")), 12, 0.1)

    def fail() -> None:
        raise OSError("no space left on device")

    try:
        with pytest.raises(OSError, match="no space left on device"):
            process.ask(request, 30.0, fail)
        assert len(process.ask(request, 30.0).times_us) == 2
    finally:
        process.close()


def test_what_is_compiled_ahead_goes_on_during_a_race(
    meter: LiveMeter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a pool as a GPU has it: one process, so that the second config is begun when the first is there."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    device = nominal("sm90")
    pool = CompilePool(device, jobs=1)
    try:
        compile_all(device, [Job(PROBLEM, config_of("COMPILES"))], pool)  # what takes longest is the start
        monkeypatch.setattr(meter, "_pool", pool)
        ahead = [config_of("COMPILES", variant) for variant in (1, 2)]
        limit = RaceLimit(rounds=400, seconds=4.0)
        race = meter.race(PROBLEM, (config_of("HONEST"),), limit, lambda: pool.prefetch(PROBLEM, ahead))
        assert race is not None
        assert soon(lambda: len(list(tmp_path.glob("*/*.cubin"))) == 3)
    finally:
        pool.close()


def test_the_same_winner_is_found_among_faults(tmp_path: Path) -> None:
    before = children()
    names = ("HONEST", "UNWRITTEN", "RAISES", "GREEDY")
    meter = LiveMeter("cpu", MeterOptions(families=tuple(map(name_of, names))))
    try:
        with open_store(tmp_path / "trials.db") as store:
            study = Study(PROBLEM, meter, store, StudyOptions(EFFORTS["quick"], "exhaustive"))
            study.advance(100, None, lambda progress: None)
            trials = store.trials(TrialQuery(problem=PROBLEM))
            best = store.trials(TrialQuery(problem=PROBLEM, order="median", limit=2))
    finally:
        meter.close()
    assert children() == before
    outcomes = {(trial.config.family, trial.outcome) for trial in trials}
    expected = {(name_of(name), FAULTS[name][0] if name in FAULTS else Outcome.MEASURED) for name in names}
    assert outcomes == expected | {("cpu_blas", Outcome.MEASURED)}
    assert len(trials) == len(names) * 4 + 1
    assert {trial.config.family for trial in best} <= {"cpu_blas", name_of("HONEST")}


def test_closing_in_the_middle_of_a_hang_leaves_nothing() -> None:
    before = children()
    meter = LiveMeter("cpu", OPTIONS)
    meter.submit(PROBLEM, config_of("HONEST"))
    meter.submit(PROBLEM, config_of("HANGS"))
    assert len(meter.collect()) == 1, "the first has ended, the second is under way"
    assert len(children() - before) == 1
    started = time.monotonic()
    meter.close()
    assert time.monotonic() - started < OPTIONS.evaluate_timeout_s
    assert soon(lambda: children() == before)


def test_a_device_that_does_not_answer_is_told_in_a_line() -> None:
    before = children()
    with pytest.raises(MeterError, match=r"device '97' does not answer: .*; run `tilewright doctor`") as refusal:
        LiveMeter("97", MeterOptions())
    assert "\n" not in str(refusal.value)
    assert children() == before
