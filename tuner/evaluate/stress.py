"""Whether a config is right every time: many launches, of which the least and the greatest of each element are kept.

A race between the threads of a kernel may go wrong one time in a thousand, and one check before timing misses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import torch

from ...kernels.family import Launch
from ..trial import Check
from .check import Reference, compare
from .timing import captured

LAUNCHES: Final = 2000  # a fault of one launch in a thousand escapes with a chance of exp(-2)
SECONDS: Final = 0.02  # a large problem, or a host, gets as many as fit
AT_LEAST: Final = 16
_AT_ONCE: Final = 50  # in a graph
_LONG_US: Final = 2000.0  # what so many launches may take before fewer go into a graph


@dataclass(frozen=True, slots=True)
class Extremes:
    """The least and the greatest value that each element of D[m, n] has had; a NaN stays in both."""

    least: torch.Tensor
    greatest: torch.Tensor

    @classmethod
    def none_yet(cls, d: torch.Tensor) -> Extremes:
        return cls(torch.full_like(d, torch.inf), torch.full_like(d, -torch.inf))

    def take(self, d: torch.Tensor) -> None:
        torch.minimum(self.least, d, out=self.least)
        torch.maximum(self.greatest, d, out=self.greatest)


def stress(launch: Launch, d: torch.Tensor, against: Reference) -> Check:
    """The worst element over `AT_LEAST` to `LAUNCHES` launches, as fit into `SECONDS`, D poisoned before each.

    Args:
        launch: writes D[m, n] for the reference's operands.
        d: where it writes.
        against: what must come out.
    """
    extremes = Extremes.none_yet(d)

    def step() -> None:
        d.fill_(torch.nan)
        launch()
        extremes.take(d)

    _repeat(step, on_gpu=d.is_cuda)
    checks = [compare(extreme, against) for extreme in (extremes.least, extremes.greatest)]
    return max(checks, key=lambda check: check.error)


def _repeat(step: Callable[[], None], *, on_gpu: bool) -> None:
    done, many, run = 0, 1, step
    if on_gpu:
        many, run = _captured(step)
    until = time.monotonic() + SECONDS
    while done < LAUNCHES and (done < AT_LEAST or time.monotonic() < until):
        run()
        done += many
        if on_gpu:
            torch.cuda.synchronize()


def _captured(step: Callable[[], None]) -> tuple[int, Callable[[], None]]:
    """A graph of several steps, which the host need not start one by one: how many, and what runs it."""
    step()
    torch.cuda.synchronize()
    started = time.monotonic()
    step()
    torch.cuda.synchronize()
    step_us = (time.monotonic() - started) * 1e6
    many = max(1, min(_AT_ONCE, int(_AT_ONCE * _LONG_US / max(step_us, _LONG_US))))
    return many, captured(repeat(step, many)).replay


def described(check: Check) -> str:
    """Why a config that passed its first check is wrong all the same."""
    return f"wrong some of the time, in up to {LAUNCHES} launches: {check}"
