"""`ReplayMeter`: answers from recorded landscapes as if they were the device, and says so wherever it is asked."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ...kernels.config import Config
from ...kernels.device import REPLAYED, Device
from ...kernels.problem import Problem
from ...kernels.space import ConfigSpace
from ...kernels.stale import Today
from ..landscape import Landscape, read_landscape
from ..trial import Environment, Measurement, Outcome, Race, Trial
from .meter import MeterError, RaceLimit, now

PROTOCOL: Final = "replay"
DIGITS: Final = 16  # of a hash, as of a kernel's


class ReplayMeter:
    """Measures nothing: each trial is a row of a landscape.

    Raises:
        MeterError: a problem is asked for that no landscape was recorded for.
        ValueError: a file that is no landscape.
    """

    capacity = 1

    def __init__(
        self, landscapes: Mapping[Problem | None, Landscape], device: Device, environment: Environment
    ) -> None:
        self._landscapes = landscapes
        self._device = device
        self._environment = environment
        self._waiting: deque[tuple[Problem, Config]] = deque()

    @property
    def device(self) -> Device:
        return self._device

    @property
    def protocol(self) -> str:
        return PROTOCOL

    @property
    def busy_share(self) -> None:
        """No device is at work."""
        return None

    @property
    def concerns(self) -> tuple[str, ...]:
        """There is no device to be concerned about."""
        return ()

    @property
    def spending(self) -> None:
        """No device is at work."""
        return None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was recorded; empty when one landscape stands for any."""
        return tuple(problem for problem in self._landscapes if problem is not None)

    def space(self, problem: Problem) -> ConfigSpace:
        landscape = self._landscape(problem)
        return ConfigSpace(landscape.axes, (config for config in landscape.readings if not _is_library(config)))

    def defaults(self, problem: Problem) -> tuple[Config, ...]:
        return ()

    def library(self, problem: Problem) -> Config | None:
        return next((config for config in self._landscape(problem).readings if _is_library(config)), None)

    def environment(self, config: Config) -> Environment:
        return self._environment

    @property
    def today(self) -> Today:
        return self._environment

    def submit(self, problem: Problem, config: Config) -> None:
        self._waiting.append((problem, config))

    def prefetch(self, problem: Problem, configs: Iterable[Config]) -> None:
        """Nothing is compiled."""

    def withdraw(self) -> list[Config]:
        """Nothing is compiled."""
        return []

    def collect(self) -> list[Trial]:
        if not self._waiting:
            return []
        problem, config = self._waiting.popleft()
        reading = self._landscape(problem).readings[config]
        library_us = self._library_us(problem)
        failed = reading.outcome is not Outcome.MEASURED or reading.time_us is None
        return [
            Trial(
                problem=problem,
                device=self._device,
                config=config,
                environment=self._environment,
                outcome=reading.outcome,
                started_at=now(),
                reason="recorded so" if failed else "",
                measurement=None if reading.time_us is None or failed else _measurement(reading.time_us, library_us),
            )
        ]

    def race(
        self,
        problem: Problem,
        configs: tuple[Config, ...],
        limit: RaceLimit,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Race | None:
        """None: there is no second reading to be had of a recording."""
        return None

    def ceilings(self) -> None:
        """None: they are not in a landscape."""

    def close(self) -> None:
        self._waiting.clear()

    def _landscape(self, problem: Problem) -> Landscape:
        found = self._landscapes.get(problem, self._landscapes.get(None))
        if found is None:
            recorded = ", ".join(known.key for known in self.problems)
            raise MeterError(f"{problem} was not recorded: this replay has {recorded}; tune one of these")
        return found

    def _library_us(self, problem: Problem) -> float | None:
        library = self.library(problem)
        return None if library is None else self._landscape(problem).readings[library].time_us


def _measurement(time_us: float, library_us: float | None) -> Measurement:
    return Measurement((time_us,), PROTOCOL, () if library_us is None else (library_us,))


def _is_library(config: Config) -> bool:
    return not len(config)


def open_replay(paths: Sequence[Path]) -> ReplayMeter:
    """A meter over landscape files of one device, named as `4096x4096x4096-bf16-nt.csv.gz`.

    A single file of another name stands for whatever problem is asked of it.

    Raises:
        ValueError: a file cannot be read, or one of several has a name that is no problem's key.
    """
    recorded = [read_landscape(path) for path in paths]
    if len(paths) == 1 and not _names_problem(paths[0]):
        landscapes: dict[Problem | None, Landscape] = {None: recorded[0]}
    else:
        landscapes = {problem_of(path): landscape for path, landscape in zip(paths, recorded, strict=True)}
    folder = paths[0].parent
    name = folder.parent.name if folder.name == "landscapes" else paths[0].name.partition(".")[0]
    device = Device(f"replay of {name}", REPLAYED, 0, 0, 0, 0)
    return ReplayMeter(landscapes, device, Environment("", "", "", "", "", _digest(paths)))


def _digest(paths: Sequence[Path]) -> str:
    """Of all that is replayed: a file that was recorded anew gives other answers."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGITS]


def _names_problem(path: Path) -> bool:
    try:
        problem_of(path)
    except ValueError:
        return False
    return True


def problem_of(path: Path) -> Problem:
    """The problem that a landscape's file name states.

    Raises:
        ValueError: the name is not `<m>x<n>x<k>-<dtype>-<layout>.csv` or `.csv.gz`; an epilogue follows
            the layout, as in `-nt-bias.csv`.
    """
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    shape, _, rest = stem.partition("-")
    dtype, _, rest = rest.partition("-")
    layout, _, epilogue = rest.partition("-")
    dtype, _, out_dtype = dtype.partition("_")
    try:
        return Problem.parse(shape, dtype, layout, out_dtype, epilogue)
    except ValueError as error:
        raise ValueError(
            f"landscape {path} names no problem ({error}): call it as in 4096x4096x4096-bf16-nt.csv.gz"
        ) from None
