"""Whole runs on a GPU: a winner, memory given back, binaries shared, and nothing lost when a run is killed."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pynvml
import pytest

from tilewright.kernels.families import FAMILIES
from tilewright.kernels.problem import Problem
from tilewright.tuner.api import TuneOptions, tune
from tilewright.tuner.evaluate import MeterOptions
from tilewright.tuner.evaluate.live import LiveMeter
from tilewright.tuner.store import TrialQuery, open_store
from tilewright.tuner.trial import Outcome

pytestmark = pytest.mark.gpu

PROBLEM = Problem(16, 6144, 4096)
TRIALS = 120
Rows = dict[int, tuple[int, str]]


def used_bytes() -> int:
    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    finally:
        pynvml.nvmlShutdown()


def test_winner_is_right_and_memory_is_given_back(tmp_path: Path) -> None:
    before = used_bytes()
    (answer,) = tune([PROBLEM], db=tmp_path / "store.db", options=TuneOptions(trials=20))
    with open_store(tmp_path / "store.db", readonly=True) as store:
        (trial,) = store.trials(TrialQuery(problem=PROBLEM, config=answer.winner.config))
        races = store.races(PROBLEM)
    assert trial.outcome is Outcome.MEASURED
    assert len(trial.checks) == 3
    assert all(check.passed for check in trial.checks)
    assert races
    until = time.monotonic() + 10
    while used_bytes() != before and time.monotonic() < until:
        time.sleep(0.1)
    assert used_bytes() == before


def test_one_row_runs_the_binaries_of_sixteen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    meter = LiveMeter("0", MeterOptions(families=("tiled", "split_k"), jobs=2))
    try:
        entries = []
        one = Problem(1, PROBLEM.n, PROBLEM.k)
        configs = [FAMILIES[name].defaults(one, meter.device)[0] for name in ("tiled", "split_k")]
        for problem in (PROBLEM, one):
            for config in configs:
                meter.submit(problem, config)
            trials = []
            while ended := meter.collect():
                trials += ended
            assert [trial.outcome for trial in trials] == [Outcome.MEASURED] * len(configs)
            entries.append({path for path in tmp_path.rglob("*") if path.suffix == ".cubin"})
    finally:
        meter.close()
    assert entries[0]
    assert entries[1] == entries[0]


def stored(path: Path) -> Rows:
    """(config, start) of each stored trial by its id; nothing before there is a table."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        try:
            rows = connection.execute("SELECT id, config_id, started_at FROM trials").fetchall()
        except sqlite3.OperationalError:
            return {}
    return {row: (config, started) for row, config, started in rows}


def start(path: Path) -> subprocess.Popen[bytes]:
    program = "from tilewright.cli.main import main; main()"
    arguments = ["tune", "16x6144x4096", "--sampler", "random", "--trials", str(TRIALS), "--db", str(path)]
    return subprocess.Popen([sys.executable, "-P", "-c", program, *arguments], stdout=subprocess.DEVNULL)


def kill_once_it_stores(path: Path, seconds: float) -> None:
    before, process = stored(path), start(path)
    while len(stored(path)) == len(before):
        assert process.poll() is None, "it ended before it stored anything"
        time.sleep(0.05)
    time.sleep(seconds)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()


def test_killed_runs_lose_and_repeat_nothing(tmp_path: Path) -> None:
    path, chance, kept = tmp_path / "store.db", random.Random(3), Rows()
    for _ in range(3):
        kill_once_it_stores(path, chance.uniform(0.1, 1.5))
        now = stored(path)
        assert kept.items() <= now.items()
        kept = now
    assert start(path).wait() == 0
    final = stored(path)
    assert kept.items() <= final.items()
    assert len({config for config, _ in final.values()}) == len(final) == TRIALS + 1  # and the library
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
