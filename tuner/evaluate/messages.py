"""What a tuner and its processes say to each other. Light: the tuner itself imports neither torch nor the compiler."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """Check and time `config`. One that reads slower than half of `best_speed` at first sight is read once.

    `best_speed` is in units of the library's speed on the same problem; 0 when nothing is known.
    """

    problem: Problem
    config: Config
    best_speed: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`fatal`: the device's context is lost, and the process with it."""

    outcome: Outcome
    reason: str = ""
    checks: tuple[Check, ...] = ()
    measurement: Measurement | None = None
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class RaceRequest:
    """Race `configs`, the reference first, for so many rounds or seconds."""

    problem: Problem
    configs: tuple[Config, ...]
    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Raced:
    times_us: tuple[tuple[float, ...], ...]
    reason: str = ""
    fatal: bool = False
