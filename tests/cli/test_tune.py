"""`tune` and `landscape` where nothing can be measured, or not all of it: on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run

ON_CPU = ("--device", "cpu", "--budget", "1s")


def test_what_can_be_measured_is_answered_and_the_rest_is_told(run: Run) -> None:
    ran = run("tune", "2000000x2000000x2000000", "16x16x16", *ON_CPU, "--json")
    assert [answer["problem"]["m"] for answer in json.loads(ran.out)] == [16]
    assert "There is no result for 2000000x2000000x2000000-bf16-nt" in ran.err
    assert "1 of 1 trials, of cpu_blas, ended as out_of_resources" in ran.err


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("--dtype", "e4m3"), "there is no kernel and no library that takes it"),
        (("--deterministic",), "there is no kernel that gives the same bits in every run that takes it"),
    ],
)
def test_where_nothing_can_be_measured_it_says_why(run: Run, asked: tuple[str, ...], why: str) -> None:
    ran = run("tune", "16x16x16", "32x16x16", *ON_CPU, *asked)
    assert ran.code == 2
    assert ran.err.splitlines()[-1].endswith(f"{why}; and for 1 more problem")


def test_a_family_that_runs_elsewhere_is_refused(run: Run) -> None:
    error = run("tune", "16x16x16", *ON_CPU, "--family", "tiled").error
    assert error == "family tiled does not run on a cpu: name one of cpu_blas, or another --device"


def test_where_there_is_no_kernel_there_is_no_landscape(run: Run, tmp_path: Path) -> None:
    error = run("landscape", "16x16x16", "--device", "cpu", "--out", str(tmp_path)).error
    assert "has no kernel for 16x16x16-bf16-nt, and so no landscape" in error
    assert not list(tmp_path.glob("*.csv.gz"))
