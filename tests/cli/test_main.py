"""The program as a whole: what it imports, how fast it answers, and how it ends when something is wrong."""

from __future__ import annotations

import errno
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FunctionType

import click
import pytest

from tilewright import __version__
from tilewright.cli import main as program
from tilewright.kernels.problem import Problem

from .conftest import Run

MAIN = "from tilewright.cli.main import main; main()"
HEAVY = {"torch", "triton", "optuna", "sqlalchemy", "alembic", "scipy", "numpy", "rich", "matplotlib"}


def start(*arguments: str, program: str = MAIN) -> subprocess.Popen[str]:
    """The program as a process of its own."""
    command = [sys.executable, "-P", "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Makes `tilewright planted` call a function."""

    def plant(called: Callable[[], object]) -> None:
        command = click.Command("planted", callback=lambda: called() and None)
        monkeypatch.setattr(program.Commands, "get_command", lambda self, ctx, name: command)

    return plant


def test_help_imports_nothing_heavy() -> None:
    told = f"import sys\ntry:\n    {MAIN}\nfinally:\n    print('loaded:', {HEAVY!r} & sys.modules.keys())"
    out, err = start("--help", program=told).communicate(timeout=60)
    assert (out.splitlines()[-1], err) == ("loaded: set()", "")


def test_help_is_quick() -> None:
    """0.13 s of processor time on a shared server in 2026, and as much by the clock when it is idle."""
    seconds = []
    for _ in range(5):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        start("--help").communicate(timeout=60)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    assert min(seconds) < 0.4


def test_one_command_does_not_import_the_others() -> None:
    told = f"import sys\ntry:\n    {MAIN}\nfinally:\n    print('tilewright.cli.doctor' in sys.modules)"
    out, _ = start("best", "--help", program=told).communicate(timeout=60)
    assert out.splitlines()[-1] == "False"


def test_it_tells_its_version(run: Run) -> None:
    assert run("--version").out == f"tilewright {__version__}\n"


def test_without_a_command_it_tells_them_all(run: Run) -> None:
    ran = run()
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.partition("Commands:\n")[2].splitlines()] == list(program.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["tnue"], "No such command 'tnue'"),
        (["--dbb"], "No such option '--dbb'. See `tilewright --help`."),
        (["best", "--runner-up", "3"], "See `tilewright best --help`."),
        (["best", "--db"], "Option '--db' requires an argument."),
        (["best", "--layout", "xx"], "Invalid value for '--layout': 'xx' is not one of 'nn', 'nt', 'tn', 'tt'."),
        (["best", "--runners-up", "-1"], "Invalid value for '--runners-up': -1 is not in the range x>=0."),
    ],
)
def test_a_bad_call_is_answered_in_one_line(run: Run, arguments: list[str], error: str) -> None:
    assert error in run(*arguments).error


def test_a_caller_s_mistake_is_told_wherever_it_is_found(run: Run, plant: Callable[..., None]) -> None:
    plant(lambda: Problem(-1, 2, 3))
    assert run("planted").error.startswith("m is -1: an extent is")


def test_an_error_of_several_lines_is_told_in_one(run: Run, plant: Callable[..., None]) -> None:
    plant(lambda: Problem(1, 2, 3, dtype="bf16\nfp8"))
    assert r"dtype 'bf16\nfp8' is not known" in run("planted").error


def test_a_file_s_error_names_the_file(run: Run, plant: Callable[..., None]) -> None:
    plant(lambda: open("/nowhere/to/be/found"))  # noqa: SIM115
    assert run("planted").error == "/nowhere/to/be/found: No such file or directory"


def test_a_full_disk_behind_the_output_is_told(run: Run, plant: Callable[..., None]) -> None:
    def fill() -> None:
        with open("/dev/full", "w") as full:
            full.write("x")

    plant(fill)
    assert run("planted").error == "the output: No space left on device"


@pytest.mark.parametrize("bug", [KeyError("k"), ValueError("out of a library"), OSError(errno.EIO, "no file")])
def test_a_bug_keeps_its_traceback(plant: Callable[..., None], bug: Exception) -> None:
    def library() -> None:
        raise bug

    # As a function of a library is: of a module that is none of ours.
    plant(FunctionType(library.__code__, {"__name__": "json.decoder"}, closure=library.__closure__))
    with pytest.raises(type(bug)):
        program.main(["planted"])


def test_an_interrupt_ends_with_130_and_one_line() -> None:
    waits = (
        "import click, time; from tilewright.cli import main as program\n"
        "command = click.Command('wait', callback=lambda: (print('ready', flush=True), time.sleep(60)))\n"
        "program.Commands.get_command = lambda *_: command\n"
        "program.main()"
    )
    process = start("wait", program=waits)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, "", "Interrupted; every trial that had ended is kept")


@pytest.mark.parametrize("arguments", [["best", "--help"], ["doctor", "--json"]])
def test_a_closed_pipe_is_no_error(arguments: list[str]) -> None:
    process = start(*arguments)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
