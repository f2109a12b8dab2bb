"""The program run in this process, and a store with something in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tilewright.cli.main import main
from tilewright.kernels.config import Config
from tilewright.kernels.device import nominal
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import open_store
from tilewright.tuner.trial import Environment, Lane, Measurement, Outcome, Race, Resources, Trial

PROBLEM = Problem(512, 4096, 4096)
DEVICE = nominal("sm90")
ENVIRONMENT = Environment("3.7.1", "2.13.0", "13.0", "580.1", "3.11.7", "0123456789abcdef")
CUBLAS = Config.of("cublas")
FAST = Config.of("tiled", block_m=128, block_n=256)
SLOW = Config.of("tiled", block_m=64, block_n=64)
WRONG = Config.of("tiled", block_m=16, block_n=16)
STARTED = datetime.now(UTC) - timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run of the program ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a bad input is answered with."""
        assert (self.code, self.out, self.err.count("\n")) == (2, "", 1), self
        assert self.err.startswith("Error: ")
        return self.err.removeprefix("Error: ").rstrip("\n")


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `tilewright ARGUMENTS`, with a data folder of its own."""
    monkeypatch.setenv("TILEWRIGHT_DB", str(tmp_path / "data" / "tilewright.db"))

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def stocked(tmp_path: Path) -> str:
    """A store with a race and four trials of one problem, one of them a failure."""
    path = tmp_path / "stocked.db"
    with open_store(path) as store:
        store.add_all(trials(PROBLEM), [race(PROBLEM)])
    return str(path)


def trials(problem: Problem, environment: Environment = ENVIRONMENT, started: datetime = STARTED) -> list[Trial]:
    """One a minute, the oldest first."""
    tried = [
        (FAST, Outcome.MEASURED, "", (20.0, 21.0, 22.0)),
        (SLOW, Outcome.MEASURED, "", (40.0, 41.0)),
        (CUBLAS, Outcome.MEASURED, "", (22.0, 23.0)),
        (WRONG, Outcome.WRONG, "error 3.1 is beyond the bound 1", ()),
    ]
    return [
        Trial(
            problem,
            DEVICE,
            config,
            environment,
            outcome,
            started + timedelta(minutes=minute),
            reason,
            measurement=Measurement(times_us, "graph") if times_us else None,
            resources=Resources(168, 0, 98304, 0.5) if len(config) else None,
        )
        for minute, (config, outcome, reason, times_us) in enumerate(tried)
    ]


def race(problem: Problem, environment: Environment = ENVIRONMENT, started: datetime = STARTED) -> Race:
    lanes = [
        Lane(FAST, environment, tuple(20.0 + turn / 1000 for turn in range(60))),
        Lane(CUBLAS, environment, tuple(22.0 + turn / 1000 for turn in range(60))),
    ]
    return Race(problem, DEVICE, "race", CUBLAS, tuple(lanes), started + timedelta(minutes=10))
