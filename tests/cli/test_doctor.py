"""`doctor`: what is on this machine, and what it says of a machine that lacks something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.cli import doctor
from tilewright.kernels.device import nominal
from tilewright.kernels.families import FAMILIES

from .conftest import Run


def examined(run: Run, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    ran = run("doctor", "--json", *arguments)
    return ran.code, {finding["what"]: finding for finding in json.loads(ran.out)}


def test_this_machine_is_sound(run: Run) -> None:
    code, found = examined(run)
    assert code == 0
    assert {name for name, finding in found.items() if finding["state"] == "broken"} == set()
    assert found["compiler"]["state"] == found["kernel cache"]["state"] == "ok"
    assert all(f"family {name}" in found for name in FAMILIES)
    # Without a GPU they are told as of a Hopper, where each has configs for something.
    assert not [what for what, one in found.items() if what.startswith("family") and one["found"].startswith("not on")]


def test_a_family_that_a_device_cannot_run_is_told_with_the_cause() -> None:
    for name in FAMILIES.keys() - {"tiled", "split_k", "descriptor", "cublas", "cpu_blas"}:
        found = doctor._family(FAMILIES[name], nominal("sm80"), here=True)
        assert (found.state, found.found.partition(":")[0]) == (doctor.State.ABSENT, "not on sm80")
        assert "Hopper" in found.found


def test_what_would_spoil_a_measurement_is_always_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    assert examined(run)[1]["host health"]["found"].endswith("nothing that would spoil a measurement")
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert "load average 1000.0" in examined(run)[1]["host health"]["found"]


def test_people_get_a_table(run: Run) -> None:
    assert "what to do" in run("doctor").out


def test_a_store_that_is_none_is_broken(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no store" * 100)
    code, found = examined(run, "--db", str(file))
    assert code == 1
    assert found["trials"]["state"] == "broken"
    assert found["trials"]["remedy"]


def test_a_stocked_store_is_counted(run: Run, stocked: str) -> None:
    assert examined(run, "--db", stocked)[1]["trials"]["found"] == f"{stocked}: 1 problems on 1 devices"


def test_a_cache_that_cannot_be_written_is_broken(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file" / "cache"))
    code, found = examined(run)
    assert code == 1
    assert found["kernel cache"]["found"].endswith("Not a directory")
    assert "TRITON_CACHE_DIR" in found["kernel cache"]["remedy"]
