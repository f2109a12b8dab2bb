"""What a store is: the methods that every one has, the questions it takes, and the error it raises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.problem import Problem
from ..roofline import Ceilings
from ..trial import Environment, Outcome, Race, Trial


class StoreError(ValueError):
    """A store that cannot be opened, read or written: one line with its name, the cause and the next step."""


@dataclass(frozen=True, slots=True)
class TrialQuery:
    """Which trials are asked for; a field that is None does not filter.

    Attributes:
        device: by name.
        order: `time` gives the oldest first; `median` what was measured, the shortest median first; `speed` what was
            measured beside a library, the fastest against it first.
        limit: at most so many: the newest in order of time, the first in another order.
    """

    problem: Problem | None = None
    device: str | None = None
    family: str | None = None
    config: Config | None = None
    outcome: Outcome | None = None
    environment: Environment | None = None
    protocol: str | None = None
    order: Literal["time", "median", "speed"] = "time"
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """How much a store holds of one device.

    Attributes:
        problems, trials, races: how many.
        measured: trials that did not fail.
        latest: when the last trial began; None without trials.
    """

    device: Device
    problems: int
    trials: int
    measured: int
    races: int
    latest: datetime | None


class Store(Protocol):
    """Trials and races, kept. A context manager that closes itself.

    An implementer must not lose what it has acknowledged, must not write before it returns an error, and must not
    check before it writes where the write itself can decide: other processes write at the same moment.
    """

    @property
    def name(self) -> str:
        """For people: a path or an address, without a password."""
        ...

    def add(self, trial: Trial) -> None:
        """Keeps a trial; it is on disk when this returns.

        A config tried again on the same problem, device, environment and protocol has one row: what was measured
        stands before what failed, then the newer before the older. So the order in which trials arrive is of no
        matter, and a trial added twice is one. A failure without a measurement has no protocol and its own row:
        it is not hidden by an earlier success.

        Raises:
            StoreError: it could not be kept.
            ValueError: the trial contradicts itself, as a measured one without a measurement.
        """
        ...

    def add_race(self, race: Race) -> None:
        """Keeps a race. A race is known by problem, device, protocol and start: the same again changes nothing."""
        ...

    def add_ceilings(self, ceilings: Ceilings) -> None:
        """Keeps what a device can do at best; of two measurements of one device the newer stands."""
        ...

    def add_all(self, trials: Iterable[Trial], races: Iterable[Race] = (), ceilings: Iterable[Ceilings] = ()) -> None:
        """Keeps all of them, or none, in one transaction."""
        ...

    def trials(self, query: TrialQuery = ...) -> list[Trial]: ...

    def races(
        self, problem: Problem | None = None, device: str | None = None, *, limit: int | None = None
    ) -> list[Race]:
        """The races of a problem and a device by name, the newest first, at most `limit`."""
        ...

    def problems(self) -> list[Problem]:
        """Every problem with a trial or a race, sorted."""
        ...

    def devices(self) -> list[Device]:
        """Every device with a trial or a race, by name."""
        ...

    def by_protocol(self, protocol: str) -> Store:
        """This store, of whose times only those are seen that were read by a protocol. It is closed with this one."""
        ...

    def holdings(self) -> list[Holding]:
        """How much there is of each device, by the device's name."""
        ...

    def ceilings(self, device: str | None = None) -> list[Ceilings]:
        """The ceilings of the devices of that name, or of all, the newest first."""
        ...

    def environments(self, problem: Problem | None = None, device: str | None = None) -> list[Environment]:
        """The environments in which a problem was tried on a device by name."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
