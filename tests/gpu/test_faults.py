"""A config that fails costs one trial, in bounded time, and the same meter measures the next one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilewright.kernels.config import Config
from tilewright.kernels.problem import Problem
from tilewright.tests import faults as compiled_faults
from tilewright.tests.gpu.faults import MODULE, config_of
from tilewright.tuner.api import TuneOptions, tune_with
from tilewright.tuner.evaluate import MeterOptions
from tilewright.tuner.evaluate.live import LiveMeter
from tilewright.tuner.evaluate.measuring import SERVER
from tilewright.tuner.store import TrialQuery, open_store
from tilewright.tuner.trial import Outcome, Trial

pytestmark = pytest.mark.gpu

PROBLEM = Problem(256, 256, 256)
UNKNOWN = Problem(256, 256, 264)  # beside nothing that is faster, so that it may win
SMALL = Problem(40, 48, 520)  # with few configs, and ragged in all extents
FAULTS = ("NEVER_ENDS", "ILLEGAL_ADDRESS", "MISALIGNED", "WRONG_WHEN_RAGGED", "WRONG_RARELY", "TOO_LARGE")
LIMIT_S = 8.0
REPLACED_S = 40.0  # a new measuring process: its imports and a device that settles


@pytest.fixture(scope="module")
def meter() -> Iterator[LiveMeter]:
    opened = LiveMeter("0", MeterOptions(families=("tiled",), jobs=2, evaluate_timeout_s=LIMIT_S))
    yield opened
    opened.close()


def measured(meter: LiveMeter, config: Config, problem: Problem = PROBLEM) -> Trial:
    meter.submit(problem, config)
    (trial,) = meter.collect()
    assert trial.config == config
    return trial


def assert_works(meter: LiveMeter) -> None:
    trial = measured(meter, meter.defaults(PROBLEM)[0])
    assert trial.outcome is Outcome.MEASURED, trial.reason


@pytest.mark.parametrize(
    ("fault", "outcomes"),
    [
        ("NEVER_ENDS", {Outcome.TIMED_OUT}),
        ("ILLEGAL_ADDRESS", {Outcome.LAUNCH_FAILED, Outcome.CRASHED}),
        ("MISALIGNED", {Outcome.LAUNCH_FAILED, Outcome.CRASHED}),
        ("WRONG_WHEN_RAGGED", {Outcome.WRONG}),
        ("TOO_LARGE", {Outcome.OUT_OF_RESOURCES}),
    ],
)
def test_fault_costs_its_own_trial(meter: LiveMeter, fault: str, outcomes: set[Outcome]) -> None:
    started = time.monotonic()
    trial = measured(meter, config_of(fault))
    assert trial.outcome in outcomes, trial.reason
    assert trial.reason
    assert time.monotonic() - started < 2 * LIMIT_S + REPLACED_S
    assert_works(meter)


def test_wrong_on_ragged_shapes_names_the_companion(meter: LiveMeter) -> None:
    checks = measured(meter, config_of("WRONG_WHEN_RAGGED")).checks
    assert [check.passed for check in checks] == [True, False]
    assert checks[-1].problem != PROBLEM.key


def test_wrong_one_time_in_many(meter: LiveMeter) -> None:
    trial = measured(meter, config_of("WRONG_RARELY"), UNKNOWN)
    assert trial.outcome is Outcome.WRONG, trial.reason
    assert [check.passed for check in trial.checks] == [True, True, False]
    assert_works(meter)


def test_measuring_process_killed_from_outside(meter: LiveMeter) -> None:
    killer = threading.Timer(2.0, lambda: os.kill(measuring_process(), signal.SIGKILL))
    killer.start()
    trial = measured(meter, config_of("NEVER_ENDS"))
    killer.join()
    assert trial.outcome is Outcome.CRASHED
    assert "SIGKILL" in trial.reason
    assert_works(meter)


def test_compiler_that_crashes(meter: LiveMeter) -> None:
    trial = measured(meter, compiled_faults.config_of("COMPILER_CRASHES"))
    assert trial.outcome is Outcome.CRASHED, trial.reason
    assert_works(meter)


def test_tuning_among_faults_ends_with_the_same_winner(tmp_path: Path) -> None:
    """The whole space both times; of winners that tie, either may be named."""
    winners = {}
    for kind, more in (("alone", ()), ("among faults", tuple(f"{MODULE}:{fault}" for fault in FAULTS))):
        path = tmp_path / f"{kind}.db"
        study = TuneOptions(effort="exhaustive").study()
        meter = LiveMeter("0", MeterOptions(families=("tiled", *more), evaluate_timeout_s=LIMIT_S))
        try:
            ((answer,), _) = tune_with(meter, [SMALL], path, study, lambda progress: None)
        finally:
            meter.close()
        winners[kind] = answer.winner
        with open_store(path, readonly=True) as store:
            failed = {t.config.family: t.outcome for t in store.trials(TrialQuery(problem=SMALL)) if t.reason}
        assert set(failed) == set(more)
    alone, among = winners["alone"], winners["among faults"]
    assert alone.ratio is not None
    assert among.ratio is not None
    assert among.config == alone.config or abs(among.ratio.median / alone.ratio.median - 1) < 0.02


def measuring_process() -> int:
    """The child of this process that runs the measuring program."""
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            if SERVER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return int(pid)
    raise LookupError("no measuring process is a child of this one")
