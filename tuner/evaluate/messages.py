"""What a tuner and its processes say to each other. Light: the tuner itself imports neither torch nor the compiler."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.problem import Problem
from ..trial import Check, Measurement, Outcome, Resources


@dataclass(frozen=True, slots=True)
class CompileRequest:
    problem: Problem
    device: Device
    config: Config


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of it: resources, or an outcome and a reason (empty when it compiled)."""

    resources: Resources | None = None
    outcome: Outcome = Outcome.COMPILE_FAILED
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hello:
    """Asks what device and toolchain a measuring process works with."""


@dataclass(frozen=True, slots=True)
class Welcome:
    device: Device
    triton: str
    torch: str
    cuda: str
    driver: str
    python: str
    concerns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """Check and time `config`. One that reads far slower than `best_speed` at first sight is read once or twice.

    `best_speed` is in units of the library's speed on the same problem; 0 when nothing is known.
    """

    problem: Problem
    config: Config
    best_speed: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`fatal`: the device's context is lost, and the process with it. `read_s`: of the device, for readings; `round_s`:
    of it, for one round of a race."""

    outcome: Outcome
    reason: str = ""
    checks: tuple[Check, ...] = ()
    measurement: Measurement | None = None
    fatal: bool = False
    read_s: float = 0.0
    round_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RaceRequest:
    """Race `configs`, the reference first, for so many rounds or seconds."""

    problem: Problem
    configs: tuple[Config, ...]
    rounds: int
    seconds: float


class Placement(StrEnum):
    """Where A and D lie before and after a launch: on the device, or in page-locked or ordinary host memory."""

    DEVICE = "device"
    PINNED = "pinned"
    PAGEABLE = "pageable"


@dataclass(frozen=True, slots=True)
class ReadLane:
    """One problem computed by one config. `move_weights`: B is moved with A; else it stays on the device."""

    problem: Problem
    config: Config
    placement: Placement = Placement.DEVICE
    move_weights: bool = False


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Read the lanes in turn for so many rounds or seconds, `at_least` rounds; nothing is checked, nobody leaves."""

    lanes: tuple[ReadLane, ...]
    rounds: int
    seconds: float
    at_least: int


@dataclass(frozen=True, slots=True)
class CeilingsRequest:
    """Asks what the device can do at best: its answer is `Ceilings`."""


@dataclass(frozen=True, slots=True)
class Raced:
    """Of a race or of lanes that were read: one time a round for each lane, and of some as many after a rest."""

    times_us: tuple[tuple[float, ...], ...]
    rested_us: tuple[tuple[float, ...], ...] = ()
    reason: str = ""
    fatal: bool = False
    read_s: float = 0.0
    warnings: tuple[str, ...] = ()
