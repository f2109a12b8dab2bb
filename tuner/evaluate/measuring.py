"""The measuring process of a device, replaced when a kernel took it along."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final

from .limits import START_S
from .messages import Hello, Raced, RaceRequest, ReadRequest, Welcome
from .meter import MeterError
from .process import Process, ProcessDied, ProcessTimedOut

SERVER: Final = f"{__package__}.server"


class Measuring:
    """Sends requests to a process that runs `server.py` for the device `where`, and starts another one after a loss.

    Raises:
        MeterError: the device is not there, or the process does not start.
    """

    def __init__(self, where: str, seed: int, regime: str) -> None:
        self._where = where
        self._arguments = (where, str(seed), regime)
        self._worked_before = 0.0
        self._process = Process(SERVER, *self._arguments)
        self.welcome = self._greet()

    @property
    def connection(self) -> Connection:
        return self._process.connection

    @property
    def worked_seconds(self) -> float:
        """On requests, by all processes together."""
        return self._worked_before + self._process.worked_seconds

    @property
    def has_answered(self) -> bool:
        """Whether `receive` returns or raises at once."""
        return self._process.connection.poll() or self._process.seconds_left() <= 0

    def seconds_left(self) -> float:
        return self._process.seconds_left()

    def send(self, request: object, timeout_s: float) -> None:
        self._process.send(request, timeout_s)

    def receive(self) -> Any:
        return self._process.receive()

    def replace(self) -> None:
        """Kills it, with the requests that it was sent, and starts another one."""
        self._worked_before += self._process.worked_seconds
        self._process.kill()
        self._process.close()
        self._process = Process(SERVER, *self._arguments)
        self._greet()

    def ask(
        self, request: RaceRequest | ReadRequest, timeout_s: float, meanwhile: Callable[[], None] = lambda: None
    ) -> Raced:
        """The answer, when nothing else is asked; a process that is lost over it is replaced, and answers nothing but
        why. `meanwhile` is called while it is at work; of what that raises, the answer is not waited for."""
        try:
            self._process.send(request, timeout_s)
            self._meanwhile(meanwhile)
            answer: Raced = self._process.receive()
        except (ProcessDied, ProcessTimedOut) as lost:
            answer = Raced((), reason=str(lost), fatal=True)
        if answer.fatal:
            self.replace()
        return answer

    def _meanwhile(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            self.replace()  # or its answer would be taken for that to the next request
            raise

    def ask_for(self, request: object, timeout_s: float) -> Any:
        """The same of any request, and None for a process that is lost over it."""
        try:
            return self._process.ask(request, timeout_s)
        except (ProcessDied, ProcessTimedOut):
            self.replace()
            return None

    def close(self) -> None:
        self._process.close()

    def _greet(self) -> Welcome:
        try:
            welcome: Welcome = self._process.ask(Hello(), START_S)
        except (ProcessDied, ProcessTimedOut) as error:
            self._process.close()
            raise MeterError(
                f"device {self._where!r} does not answer: {_last_line(error)}; run `tilewright doctor`"
            ) from None
        return welcome


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
