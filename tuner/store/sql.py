"""The store on SQLAlchemy: the same statements on SQLite, PostgreSQL and memory."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Final, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ...kernels.device import Device
from ...kernels.problem import Problem
from ..roofline import Ceilings
from ..trial import Environment, Outcome, Race, Trial
from .protocol import Holding, StoreError, TrialQuery
from .reading import Reader
from .writing import Named, Writer, in_order

WRITES: Final = "tilewright_writes"  # the execution option of a connection that will write
ATTEMPTS: Final = 6
PATIENCE_SECONDS: Final = 40.0  # then nothing is run again
T = TypeVar("T")


class SqlStore:
    """A store behind an engine. Each method is one transaction, run again when another process was in the way.

    Args:
        name: for people.
        engine: its `begin` heeds the option `WRITES` where the database needs to know.
        explain: says in one line why an error happened and what to do.
        passes: whether an error goes away when the transaction is run again.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        *,
        explain: Callable[[DBAPIError], str],
        passes: Callable[[DBAPIError], bool],
    ) -> None:
        self.name = name
        self._engine = engine
        self._explain = explain
        self._passes = passes
        self._protocol: str | None = None
        self._kept = 0  # trials since it was opened, for people who lose the disk
        self._ids: dict[Named, int] = {}
        self._values: dict[tuple[type, int], Named] = {}

    def add(self, trial: Trial) -> None:
        self.add_all([trial])

    def add_race(self, race: Race) -> None:
        self.add_all([], [race])

    def add_ceilings(self, ceilings: Ceilings) -> None:
        self.add_all([], [], [ceilings])

    def add_all(self, trials: Iterable[Trial], races: Iterable[Race] = (), ceilings: Iterable[Ceilings] = ()) -> None:
        ordered, kept_races, kept_ceilings = in_order(trials), list(races), list(ceilings)

        def write(connection: Connection) -> dict[Named, int]:
            writer = Writer(connection, self._ids)
            writer.trials(ordered)
            for race in kept_races:
                writer.race(race)
            for one in kept_ceilings:
                writer.ceilings(one)
            return writer.fresh

        self._ids.update(self._run(write, writes=True))
        self._kept += len(ordered)

    def trials(self, query: TrialQuery = TrialQuery()) -> list[Trial]:  # noqa: B008 (frozen)
        if self._protocol is not None and query.outcome is Outcome.MEASURED:  # a failure has no protocol
            query = replace(query, protocol=self._protocol)
        return self._read(lambda reader: reader.trials(query))

    def races(
        self, problem: Problem | None = None, device: str | None = None, *, limit: int | None = None
    ) -> list[Race]:
        return self._read(lambda reader: reader.races(problem, device, limit, self._protocol))

    def by_protocol(self, protocol: str) -> Self:
        narrowed = copy.copy(self)
        narrowed._protocol = protocol
        return narrowed

    def problems(self) -> list[Problem]:
        return sorted(self._read(lambda reader: reader.all(Problem)))

    def devices(self) -> list[Device]:
        return sorted(self._read(lambda reader: reader.all(Device)), key=lambda device: (device.name, device.arch))

    def holdings(self) -> list[Holding]:
        found = self._read(lambda reader: reader.holdings())
        return sorted(found, key=lambda holding: (holding.device.name, holding.device.arch))

    def ceilings(self, device: str | None = None) -> list[Ceilings]:
        return self._read(lambda reader: reader.ceilings(device))

    def environments(self, problem: Problem | None = None, device: str | None = None) -> list[Environment]:
        return self._read(lambda reader: reader.environments(problem, device))

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, read: Callable[[Reader], T]) -> T:
        return self._run(lambda connection: read(Reader(connection, self._values)), writes=False)

    def _run(self, action: Callable[[Connection], T], *, writes: bool) -> T:
        """`action` in one transaction that is committed when it returns."""
        until = time.monotonic() + PATIENCE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._engine.connect().execution_options(**{WRITES: writes}) as connection, connection.begin():
                    return action(connection)
            except DBAPIError as error:
                if attempt == ATTEMPTS or not self._passes(error) or (attempt > 1 and time.monotonic() > until):
                    kept = f"; {self._kept} trials of this run are kept" if writes and self._kept else ""
                    raise StoreError(f"{self._explain(error)}{kept}") from error
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")
