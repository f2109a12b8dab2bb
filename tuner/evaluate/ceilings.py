"""Measures what a device can do at best: copies, products of the library, transfers between host and device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import torch

from ...kernels import families
from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.operands import call, random_operands
from ...kernels.problem import Problem
from ...kernels.scratch import Scratch
from ..roofline import Ceilings
from . import timing
from .meter import now
from .pace import Pace
from .regime import REGIMES
from .timing import Lap

_PEAKS: Final = ("bf16", "fp16", "tf32", "fp32")  # as `Ceilings` has them
_READINGS: Final = 7
_BUFFER_BYTES: Final = 1 << 28
_L2_TIMES: Final = 4  # a copy's buffers are far larger than the L2
_LARGEST: Final = 8192
_SMALLEST: Final = 512
_HOST_S: Final = 0.05  # of one product on a host: the largest that does not take longer is read


def measure(device: Device, torch_device: str) -> Ceilings:
    """The ceilings of `device`, which torch calls `torch_device`; a second or two.

    The fastest of a few readings counts, each after a rest: on a GPU at its boost clock.
    """
    on_gpu = torch_device != "cpu"
    pace = Pace(REGIMES["burst"])
    peaks = {dtype: _matmul_tflops(device, torch_device, dtype, pace) for dtype in _PEAKS}
    transfers = _transfers(device, torch_device) if on_gpu else (None,) * 4
    return Ceilings(
        device,
        now(),
        _copy_gbs(device, torch_device, pace),
        *peaks.values(),
        *transfers,
    )


def _copy_gbs(device: Device, torch_device: str, pace: Pace) -> float:
    source = torch.ones(max(_BUFFER_BYTES, _L2_TIMES * device.l2_bytes), dtype=torch.uint8, device=torch_device)
    target = torch.empty_like(source)
    time_us = _fastest_us(_lap([lambda: _copy(target, source)], torch_device), pace)
    return 2 * source.numel() / time_us / 1e3


def _matmul_tflops(device: Device, torch_device: str, dtype: str, pace: Pace) -> float | None:
    """Of the library on a large square product; None when it has none for that dtype."""
    largest = _LARGEST
    if torch_device == "cpu":
        largest = _SMALLEST
        while largest < _LARGEST and _host_s(device, dtype, largest) * 8 <= _HOST_S:
            largest *= 2
    lap = _matmul_lap(Problem(largest, largest, largest, dtype), device, torch_device)
    return None if lap is None else 2 * largest**3 / _fastest_us(lap, pace) / 1e6


def _host_s(device: Device, dtype: str, extent: int) -> float:
    lap = _matmul_lap(Problem(extent, extent, extent, dtype), device, "cpu")
    return 0.0 if lap is None else min(timing.read_us(lap) for _ in range(2)) / 1e6


def _matmul_lap(problem: Problem, device: Device, torch_device: str) -> Lap | None:
    library = next(
        (one for one in families.FAMILIES.values() if one.is_library and len(one.space(problem, device))), None
    )
    if library is None:
        return None
    generator = torch.Generator(torch_device)
    generator.manual_seed(0)
    operands = random_operands(problem, generator)
    wanted = call(problem, device, operands, Scratch(torch_device))
    return _lap([library.bind(wanted, Config.of(library.name))], torch_device)


def _transfers(device: Device, torch_device: str) -> tuple[float, float, float, float]:
    """GB/s from pinned memory up and down, from pageable memory up and down."""
    size = _BUFFER_BYTES
    on_device = torch.ones(size, dtype=torch.uint8, device=torch_device)
    pinned = torch.ones(size, dtype=torch.uint8).pin_memory()
    pageable = torch.ones(size, dtype=torch.uint8)
    copies: tuple[tuple[torch.Tensor, torch.Tensor], ...] = (
        (on_device, pinned),
        (pinned, on_device),
        (on_device, pageable),
        (pageable, on_device),
    )
    up, down, pageable_up, pageable_down = (
        size / _host_fastest_s(partial(_copy, target, source)) / 1e9 for target, source in copies
    )
    return up, down, pageable_up, pageable_down


def _host_fastest_s(launch: Callable[[], None]) -> float:
    """By the host's clock, the end of the work on the GPU awaited."""
    fastest = math.inf
    for _ in range(_READINGS):
        torch.cuda.synchronize()
        started = time.perf_counter()
        launch()
        torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


def _fastest_us(lap: Lap, pace: Pace) -> float:
    return min(pace.read([lap] * _READINGS))


def _lap(rotation: list[Callable[[], None]], torch_device: str) -> Lap:
    rotation[0]()
    make = timing.host_lap if torch_device == "cpu" else timing.graph_lap
    return make(rotation, REGIMES["burst"].reading_us)


def _copy(target: torch.Tensor, source: torch.Tensor) -> None:
    target.copy_(source, non_blocking=True)
