"""The tuner is killed, for real, and goes on where it was."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tilewright.kernels.problem import Problem
from tilewright.tests import recorded
from tilewright.tests.recorded import OTHER, PROBLEM

TRIALS = 90
PROGRAM = "from tilewright.cli.main import main; main()"
Row = tuple[int, str]


def command(db: Path, landscapes: list[Path], *problems: Problem) -> list[str]:
    shapes = [f"{one.m}x{one.n}x{one.k}" for one in problems]
    device = ["--device", f"replay:{','.join(map(str, landscapes))}", "--sampler", "gp"]
    return [sys.executable, "-P", "-c", PROGRAM, "tune", *shapes, *device, "--trials", str(TRIALS), "--db", str(db)]


def rows(db: Path) -> dict[int, Row]:
    """What is stored: each trial's config and when it was started, by its number. Empty before the schema is there."""
    if not db.exists():
        return {}
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        found = connection.execute("select id, config_id, started_at from trials").fetchall()
    except sqlite3.OperationalError:
        return {}
    finally:
        connection.close()
    return {number: (config, started) for number, config, started in found}


def wait_for_more(db: Path, than: int, process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + 60
    while len(rows(db)) <= than and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)


def test_ten_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    landscapes = recorded.write(tmp_path, PROBLEM)
    db = tmp_path / "trials.db"
    chance = random.Random(5)
    seen: dict[int, Row] = {}
    for _ in range(10):
        process = subprocess.Popen(
            command(db, landscapes, PROBLEM), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_more(db, len(seen), process)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.wait()
        now = rows(db)
        assert {number: now.get(number) for number in seen} == seen, "a stored trial was lost or changed"
        seen = now
    assert 0 < len(seen) <= TRIALS + 1
    subprocess.run(command(db, landscapes, PROBLEM), check=True, capture_output=True, timeout=120)
    now = rows(db)
    assert {number: now.get(number) for number in seen} == seen
    assert len(now) == TRIALS + 1
    assert len({config for config, _ in now.values()}) == TRIALS + 1, "a config was tried twice"
    assert sqlite3.connect(db).execute("pragma integrity_check").fetchall() == [("ok",)]


def test_ctrl_c_ends_in_one_line_keeps_everything_and_the_same_command_goes_on(tmp_path: Path) -> None:
    tune = command(db := tmp_path / "trials.db", recorded.write(tmp_path, PROBLEM, OTHER), PROBLEM, OTHER)
    process = subprocess.Popen(tune, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_more(db, TRIALS + 4, process)  # in the midst of the second problem
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert error.splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in error
    kept = rows(db)
    assert TRIALS + 5 <= len(kept) < 2 * (TRIALS + 1)
    subprocess.run(tune, check=True, capture_output=True, timeout=120)
    now = rows(db)
    assert {number: now.get(number) for number in kept} == kept
    assert len(now) == 2 * (TRIALS + 1), "each config of each problem once, and the library"
