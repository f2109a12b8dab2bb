"""Runs a Python program under the recorder: what `tilewright record` starts, in the program's own interpreter."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Final

KINDS: Final = ("-m", "-c")
ENDS: Final = (signal.SIGTERM, signal.SIGHUP)
NO_PROGRAM: Final = 2  # the exit code of python for a script that is not there


def main(path: str, words: list[str]) -> None:
    """Runs `script.py ...`, `-m module ...` or `-c code ...`, as `python` would, and writes its problems to `path`.

    Raises:
        SystemExit: `words` name no program, and what the program raises.
    """
    if not words or (words[0] not in KINDS and not Path(words[0]).exists()) or (words[0] in KINDS and len(words) == 1):
        told = " ".join(words) or "nothing"
        print(f"Error: {told} names no Python program: write script.py, -m module or -c code", file=sys.stderr)
        sys.exit(NO_PROGRAM)
    from .record import record

    for number in ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, partial(_end, os.getpid()))
    with record(path):
        _run(*words)


def _end(recorder: int, number: int, frame: object) -> None:
    """By an exception, so that what was recorded is written; a process that was forked since ends as it would alone."""
    if os.getpid() == recorder:
        sys.exit(128 + number)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _run(kind: str, *rest: str) -> None:
    if kind in KINDS:
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = [kind, *rest[1:]]
        if kind == "-m":
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(kind).resolve().parent))
        sys.argv = [kind, *rest]
        runpy.run_path(kind, run_name="__main__")
