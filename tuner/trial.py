"""The values that pass between search, evaluation and store: a trial and what it is made of."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from ..kernels.config import Config
from ..kernels.device import Device
from ..kernels.problem import Problem
from ..kernels.result import Environment as Environment
from ..kernels.result import Ratio as Ratio

# How the reasons begin that measuring processes give: an error of torch, of Python, and of torch for the host's memory.
_LACKS_OF_MEMORY: Final = ("OutOfMemoryError:", "MemoryError:", "RuntimeError:")


class Outcome(StrEnum):
    """How a trial ended. Everything but MEASURED is a failure, kept with its reason."""

    MEASURED = "measured"
    REJECTED = "rejected"
    COMPILE_FAILED = "compile_failed"
    OUT_OF_RESOURCES = "out_of_resources"
    WRONG = "wrong"
    LAUNCH_FAILED = "launch_failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Resources:
    """What the compiler gave a kernel; shared memory in bytes a block, registers a thread, spills in bytes a thread."""

    registers: int
    spill_bytes: int
    shared_memory_bytes: int
    compile_seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """A config's output against the reference.

    Attributes:
        error: the largest deviation, in units of its element's tolerance.
        bound: the largest that is accepted.
        row, column: of the worst element.
        value, expected: there.
        problem: the key of the problem that was checked; a ragged companion is checked as well as the problem's own.
    """

    error: float
    bound: float
    row: int
    column: int
    value: float
    expected: float
    problem: str

    @property
    def passed(self) -> bool:
        return self.error <= self.bound  # False for NaN

    def __str__(self) -> str:
        verdict = "within" if self.passed else "beyond"
        return (
            f"{self.problem}: error {self.error:.3g} is {verdict} the bound {self.bound:.3g} at "
            f"[{self.row}, {self.column}]: {self.value:.6g}, expected {self.expected:.6g}"
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """Raw times of one config, in us a launch, and how they were read.

    Attributes:
        times_us: one a reading, in order; at least one.
        protocol: the name of the protocol that read them.
        reference_us: the library's time read right beside each of `times_us`; empty when it was timed alone.
        sm_clock_mhz, memory_clock_mhz, temperature_c, power_w: during the readings; None where it is not told.
        throttle: why the clocks were held down then, as the driver says.
        warnings: what spoiled the readings, when they were as bad the second time.
    """

    times_us: tuple[float, ...]
    protocol: str
    reference_us: tuple[float, ...] = ()
    sm_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    memory_clock_mhz: int | None = None
    throttle: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def speed(self) -> float | None:
        """How many times as fast as the library: the median over paired readings, free of drift. None if alone."""
        pairs = zip(self.reference_us, self.times_us, strict=False)
        ratios = [reference / time for reference, time in pairs]
        return statistics.median(ratios) if ratios else None

    @property
    def median_us(self) -> float:
        return statistics.median(self.times_us)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, over the median; 0 with fewer than four readings."""
        if len(self.times_us) < 4:
            return 0.0
        low, _, high = statistics.quantiles(self.times_us, n=4)
        return (high - low) / 2 / self.median_us


@dataclass(frozen=True, slots=True)
class Trial:
    """One config tried on one problem on one device, and how that ended."""

    problem: Problem
    device: Device
    config: Config
    environment: Environment
    outcome: Outcome
    started_at: datetime
    reason: str = ""
    checks: tuple[Check, ...] = ()
    measurement: Measurement | None = None
    resources: Resources | None = None

    @property
    def lacked_memory(self) -> bool:
        """Whether it failed for memory that was taken at that moment, of the device or of the host, and may be there
        another time; not for what one program of the kernel takes."""
        return self.outcome is Outcome.OUT_OF_RESOURCES and self.reason.startswith(_LACKS_OF_MEMORY)

    @property
    def median_us(self) -> float | None:
        """None when it failed."""
        return self.measurement.median_us if self.measurement is not None and self.outcome is Outcome.MEASURED else None


@dataclass(frozen=True, slots=True)
class Lane:
    """One racer: its config and one time a round, in us.

    Attributes:
        rested_us: one time a round after a rest, of those that the race left level, and of the reference; else empty.
    """

    config: Config
    environment: Environment
    times_us: tuple[float, ...]
    rested_us: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Race:
    """Finalists replayed in turn, round after round; what is compared is the ratio within a round.

    Attributes:
        reference: the config that ratios are taken against (a library).
        lanes: of equal length but for those that left early; round i of each was read side by side.
    """

    problem: Problem
    device: Device
    protocol: str
    reference: Config
    lanes: tuple[Lane, ...]
    started_at: datetime
    confidence: float = 0.95
    notes: tuple[str, ...] = field(default=())

    def lane(self, config: Config) -> Lane | None:
        return next((lane for lane in self.lanes if lane.config == config), None)
