"""`record` runs a program and writes its problems; `coverage` tells them against a table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tilewright.cli.shapes import read_weighted
from tilewright.kernels.problem import Problem
from tilewright.tuner.export import write_table

from ..dispatch.tables import CUBLAS, kernel, table
from .conftest import Run
from .test_main import MAIN, start

PROGRAM = """
import sys
import torch
torch.ones(16, 32) @ torch.ones(32, 64)
print(__name__, sys.argv[1:])
sys.exit(3)
"""


def test_a_program_is_recorded(run: Run, tmp_path: Path) -> None:
    script, shapes = tmp_path / "program.py", tmp_path / "shapes.csv"
    script.write_text(PROGRAM)
    done = run("record", "-o", str(shapes), "--", sys.executable, str(script), "--batch", "8")
    assert done.code == 3
    assert [shape.problem for shape in read_weighted(shapes, Problem(1, 1, 1))] == [Problem(16, 64, 32, "fp32", "nn")]
    assert "name a program" in run("record", "--", "python").error


@pytest.mark.parametrize("words", [("python", "missing.py"), ("ls",), ("python", "-m"), ("python", "-x")])
def test_what_is_no_program_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("m,n,k\n1,2,3\n")
    process = start("record", "-o", str(shapes), "--", *words)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told.count("\n")) == (2, 1)
    assert "names no Python program: write script.py, -m module or -c code" in told
    assert shapes.read_text() == "m,n,k\n1,2,3\n", "what was recorded before is kept"


ENDLESS = "import time, torch; torch.ones(16, 32) @ torch.ones(32, 64); print('ready', flush=True); time.sleep(60)"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_recorded_until_it_is_ended_is_kept(tmp_path: Path, end: signal.Signals) -> None:
    """By whatever ends the recorder alone, as systemd and `timeout` do; the program ends with it."""
    shapes = tmp_path / "shapes.csv"
    process = start("record", "-o", str(shapes), "--", "python", "-c", ENDLESS)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(end)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + end
    assert [shape.problem for shape in read_weighted(shapes, Problem(1, 1, 1))] == [Problem(16, 64, 32, "fp32", "nn")]


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As under `nohup`."""
    shapes, program = tmp_path / "shapes.csv", ENDLESS.replace("sleep(60)", "sleep(1)")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start("record", "-o", str(shapes), "--", "python", "-c", program)
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert shapes.exists()


def test_what_was_recorded_until_ctrl_c_is_kept(tmp_path: Path) -> None:
    shapes = tmp_path / "shapes.csv"
    command = [sys.executable, "-P", "-c", MAIN, "record", "-o", str(shapes), "--", "python", "-c", ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(30) != 0
        finally:
            process.kill()
    assert [shape.problem for shape in read_weighted(shapes, Problem(1, 1, 1))] == [Problem(16, 64, 32, "fp32", "nn")]


def test_a_program_without_a_product_leaves_the_file(run: Run, tmp_path: Path) -> None:
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("m,n,k\n1,2,3\n")
    done = run("record", "-o", str(shapes), "--", "python", "-c", "x = 1")
    assert (done.code, done.err) == (0, f"It computed no product that is recorded: {shapes} is not written\n")
    assert shapes.read_text() == "m,n,k\n1,2,3\n"


def test_a_file_that_cannot_be_written_is_told_before_the_program_runs(run: Run, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    where = str(tmp_path / "no" / "shapes.csv")
    error = run("record", "-o", where, "--", "python", "-c", f"open({str(ran)!r}, 'w')").error
    assert "there is no folder" in error
    assert not ran.exists()


def test_coverage_weighs_by_time_and_names_what_to_tune(run: Run, tmp_path: Path) -> None:
    shapes, tuned = tmp_path / "shapes.csv", tmp_path / "table.json"
    shapes.write_text("m,n,k,calls,us\n16,4096,4096,10,600\n3,4096,4096,10,100\n7,512,512,5,300\n")
    tuned.write_text(write_table(table({16: [(kernel(), 1.2), (CUBLAS, 1.0)]})))
    lines = run("coverage", str(shapes), "--table", str(tuned)).out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["tuned", "60.0%"], ["near", "10.0%"], ["missing", "30.0%"]]
    assert "tilewright tune 7x512x512 --dtype bf16 --layout nt" in lines[3]
