"""What a measured result is told with: the toolchain that produced it, and a speed against a reference."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Environment:
    """The toolchain that produced a result. Another one makes the result stale.

    Attributes:
        kernel_hash: of the family's source.
        commit: of this project, empty when not known.
    """

    triton: str
    torch: str
    cuda: str
    driver: str
    python: str
    kernel_hash: str
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much faster than the reference, paired round by round: 1.03 is 3% faster. `low` and `high` bound the median
    with the confidence that the race states."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """`1.031 [1.027, 1.035]`; without an interval where too few rounds were read to give one."""
        if not math.isfinite(self.high):
            return f"{self.median:.3f}"
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"
