"""`compare`, `crossover` and the regimes as commands, on a machine with or without a GPU."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import Run


def test_a_comparison_is_shown_to_people(run: Run) -> None:
    ran = run("compare", "8x32x32", "--dtype", "fp32")
    assert ran.code == 0
    assert "CPU BLAS, fp32" in ran.out
    assert "roofline" in ran.out
    assert "threads" in ran.out


def test_a_comparison_is_shown_to_programs(run: Run) -> None:
    ran = run("compare", "8x32x32", "--regime", "burst", "--json")
    (found,) = json.loads(ran.out)
    assert found["regime"] == "burst"
    assert {"time_us", "tflops", "of_roofline", "ratio", "threads", "is_tie"} <= set(found["contenders"][0])


def test_of_several_each_is_named_as_it_begins(run: Run) -> None:
    lines = run("compare", "8x32x32", "9x32x32", "--dtype", "fp32", "--json").err.splitlines()
    assert [line for line in lines if line.startswith("[")] == ["[1/2] 8x32x32-fp32-nt", "[2/2] 9x32x32-fp32-nt"]


def test_nothing_stored_and_nothing_named_is_a_mistake(run: Run) -> None:
    assert "name a problem" in run("compare").error


def test_a_regime_that_is_none_is_named(run: Run) -> None:
    assert (
        "regime 'idle' is not known: use one of interleaved, burst, sustained"
        in run("compare", "8x32x32", "--regime", "idle").error
    )


@pytest.mark.parametrize("end", ["png", "svg"])
def test_a_crossover_is_a_table_and_a_picture(run: Run, tmp_path: Path, end: str) -> None:
    picture = tmp_path / f"layer.{end}"
    ran = run("crossover", "64", "32", "--m", "1,4", "--plot", str(picture))
    assert ran.code == 0
    assert "CPU, data in host memory" in ran.out
    start = picture.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if end == "png" else b"<?xml" in start


def test_a_crossover_is_told_to_programs(run: Run) -> None:
    found = json.loads(run("crossover", "64", "32", "--m", "1,4", "--json").out)
    assert [point["m"] for point in found["curves"][0]["points"]] == [1, 4]
    assert found["sentence"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("64", "32", "--plot", "layer.pdf"), "end its name with .png or .svg"),
        (("64", "32", "--m", "0"), "whole numbers from 1 on"),
        (("0", "32"), "0 is not in the range"),
    ],
)
def test_what_is_no_crossover_is_refused(run: Run, arguments: tuple[str, ...], said: str) -> None:
    assert said in run("crossover", *arguments).error


def test_results_of_a_regime_are_kept_apart(run: Run, tmp_path: Path) -> None:
    where = ("8x32x32", "--dtype", "fp32", "--db", str(tmp_path / "trials.db"))
    (tuned,) = json.loads(run("tune", *where, "--device", "cpu", "--regime", "burst", "--json").out)
    assert tuned["winner"]["protocol"] == "burst/3"
    assert tuned["winner"]["of_roofline"] is not None
    assert json.loads(run("best", *where, "--regime", "burst", "--json").out)[0]["winner"]["protocol"] == "burst/3"
    assert "has no result for" in run("best", *where, "--regime", "sustained").error


def test_a_family_that_is_no_more_ends_nothing(run: Run, tmp_path: Path) -> None:
    """A store outlives the version that wrote it: what it names and nobody knows is stale, and is not tried."""
    where = ("8x32x32", "--dtype", "fp32", "--device", "cpu", "--db", str(tmp_path / "trials.db"))
    assert run("tune", *where).code == 0
    with closing(sqlite3.connect(tmp_path / "trials.db")) as connection, connection:
        connection.execute("update configs set family = 'bygone', axes = '{\"block_m\": 64}'")
    (tuned,) = json.loads(run("tune", *where, "--json").out)
    assert tuned["winner"]["config"]["family"] == "cpu_blas"
    assert run("verify", *where).code in (0, 1)
    assert run("compare", *where[:3], *where[-2:]).code == 0
