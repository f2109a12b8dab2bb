"""A process of its own that answers requests, and that may hang or die without taking anyone along."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from ..parent import end_with_parent

_SAID_AT_MOST = 2000


class ProcessDied(Exception):
    """The process ended before it answered; the text says how, and what it printed last."""


class ProcessTimedOut(Exception):
    """The process did not answer in time and was killed."""


class Process:
    """Runs `python -m MODULE FD ARGUMENTS...`, which answers on a connection, one request after another.

    Requests may be sent ahead: each has its time from when the one before it was answered.

    A program of its own and not `multiprocessing`: a caller's script is not imported again, and the environment
    (which GPUs are visible) is the process's own. It ends with the one that started it, even when that is killed.
    """

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments]
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self._asked: deque[float] = deque()  # for each request that is not answered, the seconds that it has
        self._since = 0.0  # by the clock, when the first of them began
        self.worked_seconds = 0.0  # on requests, by its own clock

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def busy(self) -> bool:
        return bool(self._asked)

    def seconds_left(self) -> float:
        """Until the request under way must be answered; infinite when none is."""
        return self._since + self._asked[0] - time.monotonic() if self._asked else float("inf")

    def send(self, request: object, timeout_s: float) -> None:
        """Asks; the answer must come within `timeout_s` of when the request is begun.

        Raises:
            ProcessDied: it is not there any more.
        """
        if not self._asked:
            self._since = time.monotonic()
        self._asked.append(timeout_s)
        try:
            self.connection.send(request)
        except OSError:
            raise self._died() from None

    def receive(self) -> Any:
        """The answer to the first of the requests that are not answered, waited for until its time is up.

        Raises:
            ProcessDied: it ended instead of answering.
            ProcessTimedOut: it did not answer, and was killed.
        """
        limit = max(0.0, self.seconds_left())
        try:
            if not self.connection.poll(limit):
                self.kill()
                raise ProcessTimedOut("no answer in time")
            answer, seconds = self.connection.recv()
        except (OSError, EOFError, pickle.UnpicklingError):
            raise self._died() from None
        self._asked.popleft()
        self._since = time.monotonic()
        self.worked_seconds += seconds
        return answer

    def ask(self, request: object, timeout_s: float) -> Any:
        self.send(request, timeout_s)
        return self.receive()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it: asked by the end of the connection, killed when it does not listen."""
        self.connection.close()
        try:
            self._process.wait(0.2 if not self.busy else 0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._said.close()

    def _died(self) -> ProcessDied:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - _SAID_AT_MOST))
        said = self._said.read().decode(errors="replace").strip()
        return ProcessDied(f"process {how}" + (f": {said}" if said else ""))


def serve(answer: Callable[[Any], Any]) -> None:
    """The other end of `Process`: answers requests until the connection ends or the parent does."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection = Connection(int(sys.argv[1]))
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        started = time.monotonic()
        answered = answer(request)
        connection.send((answered, time.monotonic() - started))
