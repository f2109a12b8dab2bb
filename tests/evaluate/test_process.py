"""A process may hang, crash or be killed: whoever asked hears of it in time, and nothing outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tilewright.tuner.evaluate.process import Process, ProcessDied, ProcessTimedOut

from .processes import alive, children, soon

ECHO = "tilewright.tests.evaluate.echo"
PATIENCE_S = 60.0  # of a machine that is busy with other tests


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process(ECHO, environment={"TILEWRIGHT_ECHO": "set for it alone"})
    try:
        yield made
    finally:
        made.close()


def test_it_answers_one_request_after_another(process: Process) -> None:
    assert [process.ask(("echo", value), PATIENCE_S) for value in (1, "two", None)] == [1, "two", None]
    assert not process.busy
    assert process.seconds_left() == float("inf")


def test_what_is_sent_ahead_has_its_time_from_when_it_is_begun(process: Process) -> None:
    process.ask(("echo", "there"), PATIENCE_S)
    for value in (0.5, 0.4, 600.0):
        process.send(("sleep", value), 0.8)
    assert [process.receive(), process.receive()] == [0.5, 0.4]
    assert process.busy
    assert 0.5 < process.seconds_left() <= 0.8
    with pytest.raises(ProcessTimedOut):
        process.receive()


def test_it_has_an_environment_of_its_own(process: Process) -> None:
    assert process.ask(("environment", "TILEWRIGHT_ECHO"), PATIENCE_S) == "set for it alone"
    assert "TILEWRIGHT_ECHO" not in os.environ


def test_its_work_is_counted_without_its_start(process: Process) -> None:
    process.ask(("sleep", 0.2), PATIENCE_S)
    process.ask(("sleep", 0.2), PATIENCE_S)
    assert 0.4 <= process.worked_seconds < 2


def test_a_hang_is_cut_off_in_time(process: Process) -> None:
    process.ask(("ignore", None), PATIENCE_S)
    started = time.monotonic()
    with pytest.raises(ProcessTimedOut):
        process.ask(("sleep", 600), 0.3)
    assert 0.3 <= time.monotonic() - started < 5
    assert not alive(process.pid)


def test_a_late_answer_is_no_answer_to_the_next_request(process: Process) -> None:
    with pytest.raises(ProcessTimedOut):
        process.ask(("sleep", 0.5), 0.1)
    with pytest.raises(ProcessDied):
        process.ask(("echo", "next"), PATIENCE_S)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (("abort", None), "process killed by SIGABRT"),
        (("exit", "LLVM ERROR: cannot select"), "process ended with code 7: LLVM ERROR: cannot select"),
        (("raise", "why it failed"), "ended with code 1: .*RuntimeError: why it failed"),
        (("exit", "\x00\xff" * 9999), "process ended with code 7: "),
    ],
    ids=["abort", "exit", "raise", "noise"],
)
def test_a_crash_is_told_with_what_was_said_last(process: Process, request_: object, says: str) -> None:
    with pytest.raises(ProcessDied, match=f"(?s){says}") as died:
        process.ask(request_, PATIENCE_S)
    assert len(str(died.value)) < 2100


def test_a_kill_from_outside_is_told(process: Process) -> None:
    process.ask(("echo", None), PATIENCE_S)
    process.send(("sleep", 600), PATIENCE_S)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ProcessDied, match="process killed by SIGKILL"):
        process.receive()


def test_one_that_is_dead_cannot_be_asked(process: Process) -> None:
    process.ask(("echo", None), PATIENCE_S)
    os.kill(process.pid, signal.SIGKILL)
    assert soon(lambda: not alive(process.pid))
    with pytest.raises(ProcessDied, match="process killed by SIGKILL"):
        process.ask(("echo", None), PATIENCE_S)  # what was sent before the connection broke is lost


def test_a_module_that_is_none_is_told() -> None:
    process = Process("tilewright.tests.evaluate.nothing")
    with pytest.raises(ProcessDied, match=r"(?s)ended with code 1: .*No module named tilewright\.tests\.evaluate\.no"):
        process.ask(("echo", None), PATIENCE_S)
    process.close()


@pytest.mark.parametrize("request_", [None, ("sleep", 600)], ids=["idle", "busy"])
def test_nothing_is_left_when_it_is_closed(request_: object) -> None:
    before = children()
    process = Process(ECHO)
    process.ask(("echo", None), PATIENCE_S)
    if request_ is not None:
        process.send(request_, PATIENCE_S)
    started = time.monotonic()
    process.close()
    assert time.monotonic() - started < 5
    assert children() == before


def test_ctrl_c_is_left_to_the_parent(process: Process) -> None:
    process.ask(("echo", None), PATIENCE_S)
    os.kill(process.pid, signal.SIGINT)
    assert process.ask(("echo", "still here"), PATIENCE_S) == "still here"


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_it_ends_with_a_parent_that_is_killed(state: str) -> None:
    command = [sys.executable, "-P", "-m", "tilewright.tests.evaluate.parent", state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
        parent.wait()
        assert soon(lambda: not alive(child), 1.0)
