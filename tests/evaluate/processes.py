"""What processes there are, asked of the system."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether it runs: a zombie has ended."""
    try:
        return _status(Path(f"/proc/{pid}/stat"))[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int | None = None) -> set[int]:
    """The processes that `pid` (this one) has started and that run, but for Python's own resource tracker."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = _status(stat)
        except (FileNotFoundError, ProcessLookupError):
            continue
        try:
            command = stat.with_name("cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"multiprocessing.resource_tracker" in command:
            continue
        if int(parent) == (pid or os.getpid()) and state != "Z":
            found.add(int(stat.parent.name))
    return found


def _status(stat: Path) -> tuple[str, str]:
    """State and parent: the fields after the name, which may hold anything but ends with the last parenthesis."""
    state, parent, *_ = stat.read_text().rpartition(")")[2].split()
    return state, parent


def soon(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    """Whether it comes true in that time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
