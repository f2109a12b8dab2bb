"""Starts workers, tells them what to do, and hears what they acknowledge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SCRIPT: Final = Path(__file__).with_name("worker.py")


class Worker:
    """A process that runs `worker.py`; it is ready once `ready` returns."""

    def __init__(self) -> None:
        # -P: the folder of the script is no place to import from.
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ready(self) -> None:
        assert self.lines("ready") == []

    def tell(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def lines(self, last: str = "done") -> list[str]:
        """What it says before `last`."""
        assert self.process.stdout is not None
        said: list[str] = []
        for line in self.process.stdout:
            if line == f"{last}\n":
                return said
            said.append(line.rstrip("\n"))
        raise AssertionError(f"a worker ended with {self.process.wait()} before {last}; its last words: {said[-3:]}")

    def kill(self) -> list[int]:
        """Kills it with SIGKILL; the numbers that it had acknowledged."""
        assert self.process.stdout is not None
        self.process.kill()
        said = self.process.stdout.read().splitlines(keepends=True)
        self.process.wait()
        return [int(line) for line in said if line.endswith("\n") and line not in ("ready\n", "done\n")]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()
