"""Runs a Python program under the recorder: what `tilewright record` starts, in the program's own interpreter."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main(path: str, words: list[str]) -> None:
    """Runs `script.py ...`, `-m module ...` or `-c code ...`, as `python` would, and writes its problems to `path`.

    Raises:
        ValueError: `words` name no program.
    """
    from .record import record

    with record(path):
        _run(words)


def _run(words: list[str]) -> None:
    kind, rest = (words[0], words[1:]) if words else ("", [])
    if kind in ("-m", "-c") and rest:
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = [kind, *rest[1:]]
        if kind == "-m":
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind and not kind.startswith("-"):
        sys.path.insert(0, str(Path(kind).resolve().parent))
        sys.argv = [kind, *rest]
        runpy.run_path(kind, run_name="__main__")
    else:
        raise ValueError(f"{' '.join(words)!r} names no program: write script.py, -m module or -c code")
