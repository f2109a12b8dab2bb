"""`verify` in the hands of a user and of CI: what it prints, what it ends with, and that it makes no store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.tests import recorded
from tilewright.tests.recorded import OTHER, PROBLEM
from tilewright.tuner.landscape import Landscape, Reading, write_landscape

from .conftest import Run


@pytest.fixture
def landscape(run: Run, tmp_path: Path) -> Path:
    """A recorded problem, tuned."""
    (path,) = recorded.write(tmp_path, PROBLEM)
    assert run("tune", "--device", f"replay:{path}", "--trials", "20", "--sampler", "random").code == 0
    return path


def test_what_holds_ends_with_0_and_what_regressed_with_1(run: Run, landscape: Path) -> None:
    device = f"replay:{landscape}"
    ran = run("verify", "--device", device)
    assert (ran.code, ran.err) == (0, "")
    assert "1 verified, 0 regressed" in ran.out
    (verdict,) = json.loads(run("verify", "--device", device, "--json").out)
    assert (verdict["change"], verdict["after"]["config"]) == ("kept", verdict["before"]["config"])
    readings = recorded.landscape(PROBLEM).readings
    slower = {one: Reading(2 * read.time_us) if len(one) and read.time_us else read for one, read in readings.items()}
    write_landscape(landscape, Landscape.of(PROBLEM.key, slower))
    ran = run("verify", "64", "512", "512", "--device", device)
    assert (ran.code, "1 verified, 1 regressed" in ran.out) == (1, True)


def test_nothing_to_verify_is_an_error(run: Run, landscape: Path, tmp_path: Path) -> None:
    """A job in CI whose store or whose device is misspelt must not pass."""
    device = f"replay:{landscape}"
    missing = tmp_path / "none.db"
    assert "is not there: tune into it first" in run("verify", "--device", device, "--db", str(missing)).error
    assert not missing.exists()
    (other,) = recorded.write(tmp_path / "elsewhere", PROBLEM)
    other = other.rename(other.with_name("elsewhere.csv.gz"))
    assert (
        "on replay of elsewhere: tune first, or name another --device"
        in run("verify", "--device", f"replay:{other}").error
    )


def test_a_problem_without_results_is_told_beside_the_others(run: Run, landscape: Path, tmp_path: Path) -> None:
    recorded.write(tmp_path, OTHER)
    ran = run("verify", "64x512x512", "128x512x512", "--device", f"replay:{landscape}")
    assert ran.code == 0
    *begun, missing = ran.err.splitlines()
    assert begun == ["[1/2] 64x512x512-bf16-nt", f"[2/2] {OTHER.key}"]
    assert OTHER.key in missing
    assert "1 verified, 0 regressed" in ran.out
