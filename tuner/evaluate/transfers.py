"""Laps of single problems wherever their data lie: on the device, or in host memory and moved there and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch

from ...kernels.family import Launch
from ...kernels.operands import Operands
from . import timing
from .bench import Bench
from .messages import Placement, ReadLane
from .timing import Lap

AT_LEAST: Final = 6  # rounds, however long they take: fewer bound no ratio


def read_lanes(bench: Bench, lanes: Sequence[ReadLane], rounds: int, expired: Callable[[], bool]) -> list[list[float]]:
    """One time a round for each lane, in us a launch, in turn; each is waited for before the next begins.

    What is moved is timed by the host's clock, from the call to the moment when the result is in host memory; what lies
    on a GPU, by the GPU's, in a graph of many launches.
    """
    laps = [lap_of(bench, lane) for lane in lanes]
    times: list[list[float]] = [[] for _ in laps]
    for number in range(rounds):
        order = range(len(laps)) if number % 2 == 0 else reversed(range(len(laps)))
        for lane in order:
            times[lane] += bench.pace.read([laps[lane]])
        if number + 1 >= AT_LEAST and expired():
            break
    return times


def lap_of(bench: Bench, lane: ReadLane) -> Lap:
    """The work of a lane, ready to be read."""
    reading_us = bench.pace.regime.reading_us
    sets = 1 if lane.move_weights else None
    rotation = bench.rotation(lane.problem, sets)
    if lane.placement is Placement.DEVICE:
        return bench.lap(lane.problem, rotation, lane.config, reading_us)
    launches = bench.launches(lane.problem, rotation, lane.config)
    moved = [
        _moving(launch, operands, lane.placement is Placement.PINNED, lane.move_weights)
        for launch, operands in zip(launches, rotation, strict=True)
    ]
    moved[0]()
    return timing.host_lap(moved, reading_us)


def _moving(launch: Launch, operands: Operands, pinned: bool, weights: bool) -> Launch:
    """`launch` with A (and B, the weights) moved to the device before it and D back to the host after it."""
    up = [_twin(matrix, pinned) for matrix in ((operands.a, operands.b) if weights else (operands.a,))]
    down = _twin(operands.d, pinned)

    def move() -> None:
        for on_device, on_host in up:
            on_device.copy_(on_host, non_blocking=pinned)
        launch()
        down[1].copy_(down[0], non_blocking=pinned)
        torch.cuda.synchronize()

    return move


def _twin(matrix: torch.Tensor, pinned: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrix as it is stored on the device, row after row, and memory for the same on the host."""
    stored = matrix if matrix.is_contiguous() else matrix.T
    return stored, torch.zeros(stored.shape, dtype=stored.dtype, pin_memory=pinned)
