"""The commands that look at the store as a whole, and that take results out of it and in."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.kernels.dispatch.table import read_table
from tilewright.kernels.problem import Problem
from tilewright.tuner.store import open_store

from .conftest import DEVICE, ENVIRONMENT, FAST, PROBLEM, STARTED, Run, race, trials


def test_devices_are_listed_with_what_is_known_of_each(run: Run, stocked: str) -> None:
    shown = run("devices", "--db", stocked)
    assert shown.code == 0
    assert "NVIDIA H100 (nominal)" in shown.out
    (holding,) = json.loads(run("devices", "--db", stocked, "--json").out)
    assert (holding["trials"], holding["measured"], holding["races"], holding["problems"]) == (4, 3, 1, 1)
    assert holding["device"]["arch"] == "sm90"


def test_no_store_is_told(run: Run, tmp_path: Path) -> None:
    for command in ("devices", "regressions", "export"):
        assert "is not there: tune into it first" in run(command, "--db", str(tmp_path / "none.db")).error
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def upgraded(stocked: str) -> str:
    """The stocked store, and another problem's race lost a tenth under a newer Triton."""
    newer = replace(ENVIRONMENT, triton="3.8.0")
    slower = race(PROBLEM)
    lanes = [replace(lane, environment=newer) for lane in slower.lanes]
    lanes = [
        replace(lane, times_us=tuple(1.1 * one for one in lane.times_us)) if lane.config == FAST else lane
        for lane in lanes
    ]
    with open_store(stocked) as store:
        store.add_race(replace(slower, lanes=tuple(lanes), started_at=STARTED.replace(microsecond=7)))
        again = trials(PROBLEM)[0]
        store.add(replace(again, environment=newer, started_at=again.started_at.replace(microsecond=7)))
    return stocked


def test_regressions_are_shown_and_end_with_1_when_asked_to(run: Run, upgraded: str) -> None:
    sides = ("--before", "triton=3.7.1", "--after", "triton=3.8.0")
    shown = run("regressions", "--db", upgraded, *sides)
    assert (shown.code, "1 got slower or broke" in shown.out) == (0, True)
    assert run("regressions", "--db", upgraded, *sides, "--check").code == 1
    (change,) = json.loads(run("regressions", "--db", upgraded, *sides, "--json").out)
    assert (change["verdict"], change["paired"], change["problem"]["m"]) == ("slower", True, 512)
    assert change["gain"] == pytest.approx(1 / 1.1, rel=0.01)


def test_nothing_regressed(run: Run, stocked: str) -> None:
    shown = run("regressions", "--db", stocked, "--check")
    assert (shown.code, "0 problems, 0 got slower or broke" in shown.out) == (0, True)


def test_what_was_never_measured_is_no_sound_check(run: Run, upgraded: str) -> None:
    where = ("--db", upgraded, "--check")
    assert "has nothing of a device 'typo'" in run("regressions", *where, "--device", "typo").error
    with open_store(upgraded) as store:
        store.add(replace(trials(Problem(1, 4096, 4096))[0], environment=replace(ENVIRONMENT, triton="3.9.0")))
    sides = ("--before", "triton=3.8.0", "--after", "triton=3.9.0")
    nothing = run("regressions", *where, *sides)
    assert (nothing.code, "no problem was measured under both toolchains" in nothing.err) == (2, True)
    error = run("regressions", *where, "--after", "triton=9.9").error
    assert error.endswith("has no result of triton=9.9: name one of triton=3.7.1; triton=3.8.0; triton=3.9.0")


@pytest.mark.parametrize("word", ["3.8.0", "tritn=3.8.0"])
def test_what_names_no_toolchain_is_refused(run: Run, stocked: str, word: str) -> None:
    assert f"'{word}' names no toolchain: write one of triton, torch" in run("regressions", "--after", word).error


def test_a_pack_goes_from_store_to_store(run: Run, stocked: str, tmp_path: Path) -> None:
    pack, other = tmp_path / "pack.json", str(tmp_path / "other" / "store.db")
    assert run("export", "--db", stocked, "--output", str(pack)).code == 0
    shown = run("import", str(pack), "--db", other)
    assert shown.out == f"4 trials and 1 races of 1 packs are in {other}\n"
    assert run("import", str(pack), str(pack), "--db", other, "--device", DEVICE.name).code == 0
    assert run("export", "--db", other).out == pack.read_text()


def test_nothing_of_several_packs_is_taken_when_one_is_wrong(run: Run, stocked: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    text = run("export", "--db", stocked).out
    good.write_text(text)
    bad.write_text(text.replace('"family":"tiled"', '"family":"triangular"'))
    error = run("import", str(good), str(bad), "--db", str(tmp_path / "new.db")).error
    assert error.startswith(f"{bad}: trials[1].family is 'triangular': use one of tiled")
    assert not (tmp_path / "new.db").exists()
    foreign = run("import", str(good), "--db", str(tmp_path / "new.db"), "--device", "NVIDIA H200").error
    assert "name is 'NVIDIA H100 (nominal)': a foreign device, only NVIDIA H200 may come in" in foreign
    assert not (tmp_path / "new.db").exists()


def test_some_problems_can_be_exported(run: Run, stocked: str) -> None:
    with open_store(stocked) as store:
        store.add_all(trials(Problem(16, 4096, 4096)))
    root = json.loads(run("export", "16x4096x4096", "--db", stocked, "--top", "1").out)
    assert [trial["problem"]["m"] for trial in root["trials"]] == [16]
    assert root["races"] == []


def test_the_flat_table(run: Run, stocked: str) -> None:
    rows = list(csv.DictReader(io.StringIO(run("export", "--db", stocked, "--format", "csv").out)))
    assert sorted(row["outcome"] for row in rows) == ["measured", "measured", "measured", "wrong"]


def test_the_table_for_dispatch(run: Run, stocked: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    assert run("export", "--db", stocked, "--format", "table", "--output", str(path), "--top", "1").code == 0
    table = read_table(path.read_bytes(), str(path))
    assert {problem: [one.config.family for one in row] for problem, row in table.winners.items()} == {
        PROBLEM: ["cublas"]
    }


def test_only_what_is_deterministic(run: Run, stocked: str) -> None:
    shown = run("export", "--db", stocked, "--format", "triton", "--deterministic")
    assert 'triton.Config({"BLOCK_M": 128, "BLOCK_N": 256})' in shown.out
    assert "cublas" not in shown.out
    refused = run("export", "--db", stocked, "--deterministic")
    assert "--deterministic is for a table and a Triton module: a pack holds all that was measured" in refused.error


def test_the_triton_module(run: Run, stocked: str) -> None:
    shown = run("export", "--db", stocked, "--format", "triton", "--rename", "block_m=BM")
    assert 'triton.Config({"BM": 128, "BLOCK_N": 256})' in shown.out
    assert "'block_m=1' renames nothing" in run("export", "--db", stocked, "--rename", "block_m=1").error


def test_a_file_that_cannot_be_written_is_named(run: Run, stocked: str, tmp_path: Path) -> None:
    error = run("export", "--db", stocked, "--output", str(tmp_path / "no" / "pack")).error
    assert error.endswith(f"there is no folder {tmp_path / 'no'}: make it, or name another")


def test_a_problem_of_which_nothing_is_stored_is_not_exported(run: Run, stocked: str) -> None:
    for form in ("pack", "csv"):
        assert "holds nothing of 7x7x7-bf16-nt" in run("export", "7x7x7", "--format", form, "--db", stocked).error
        partly = run("export", "512x4096x4096", "7x7x7", "--format", form, "--db", stocked)
        assert (partly.code, partly.err) == (0, f"{stocked} holds nothing of 7x7x7-bf16-nt\n")
