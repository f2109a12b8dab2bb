"""Tables for tests: what was measured is said in a line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from tilewright.kernels.config import Config
from tilewright.kernels.device import Device, nominal
from tilewright.kernels.dispatch.table import Standing, Table
from tilewright.kernels.problem import Problem
from tilewright.kernels.result import Environment, Ratio

DEVICE: Final = nominal("sm90")
ENVIRONMENT: Final = Environment("3.6.0", "2.11.0", "13.0", "580.1", "3.12.3", "abc")
CUBLAS: Final = Config.of("cublas")
LIBRARY_US: Final = 100.0


def kernel(block_m: int = 16) -> Config:
    return Config.of("tiled", block_m=block_m, block_n=64, block_k=64, group_m=1, num_warps=4, num_stages=3)


def standing(
    config: Config, speed: float, low: float | None = None, environment: Environment = ENVIRONMENT
) -> Standing:
    """A config that is `speed` times as fast as the library, surely at least `low`."""
    ratio = Ratio(speed, speed if low is None else low, speed)
    measured_at = datetime(2026, 11, 1, tzinfo=UTC)
    return Standing(config, LIBRARY_US / speed, ratio, CUBLAS, True, environment, "test/1", measured_at)


def problem(m: int) -> Problem:
    return Problem(m, 4096, 4096)


def table(rows: dict[int, list[tuple[Config, float]]], device: Device = DEVICE) -> Table:
    """m -> (config, speed), the best first."""
    return Table(device, {problem(m): tuple(standing(*one) for one in row) for m, row in rows.items()})
