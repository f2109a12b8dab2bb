"""Laps of single problems wherever their data lie: on the device, or in host memory and moved there and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ...kernels.family import Launch
from . import timing
from .bench import Bench
from .messages import Placement, ReadLane, ReadRequest
from .timing import Lap


def read_lanes(bench: Bench, request: ReadRequest, expired: Callable[[], bool]) -> list[list[float]]:
    """One time a round for each lane, in us a launch, in turn; each is waited for before the next begins.

    What is moved is timed by the host's clock, from the call to the moment when the result is in host memory; what lies
    on a GPU, by the GPU's, in a graph of many launches.
    """
    laps = [lap_of(bench, lane) for lane in request.lanes]
    times: list[list[float]] = [[] for _ in laps]
    for number in range(request.rounds):
        order = range(len(laps)) if number % 2 == 0 else reversed(range(len(laps)))
        for lane in order:
            times[lane] += bench.pace.read([laps[lane]])
        if number + 1 >= request.at_least and expired():
            break
    return times


def lap_of(bench: Bench, lane: ReadLane) -> Lap:
    """The work of a lane, ready to be read."""
    reading_us = bench.pace.regime.reading_us
    sets = 1 if lane.move_weights else None
    rotation = bench.rotation(lane.problem, sets)
    if lane.placement is Placement.DEVICE:
        return bench.launcher.lap(lane.problem, rotation, lane.config, reading_us)
    launches = bench.launcher.launches(lane.problem, rotation, lane.config)
    wait = torch.cuda.synchronize if bench.on_gpu else _ended
    moved = []
    for launch, operands in zip(launches, rotation, strict=True):
        up = [operands.a, operands.b] if lane.move_weights else [operands.a]
        twins = [twin(matrix, lane.placement is Placement.PINNED) for matrix in up]
        moved.append(moving(launch, twins, twin(operands.d, lane.placement is Placement.PINNED), wait))
    moved[0]()
    return timing.host_lap(moved, reading_us)


@dataclass(frozen=True, slots=True)
class Twin:
    """A matrix as it is stored on the device, and memory for the same on the host."""

    device: torch.Tensor
    host: torch.Tensor
    pinned: bool


def twin(matrix: torch.Tensor, pinned: bool) -> Twin:
    """The host's memory holds what the device's holds now."""
    stored = matrix if matrix.is_contiguous() else matrix.T
    host = torch.empty(stored.shape, dtype=stored.dtype, pin_memory=pinned)
    return Twin(stored, host.copy_(stored), pinned)


def moving(launch: Launch, up: Sequence[Twin], down: Twin, wait: Launch) -> Launch:
    """`launch` with its inputs moved to the device before it and its result back to the host after it, waited for."""

    def move() -> None:
        for one in up:
            one.device.copy_(one.host, non_blocking=one.pinned)
        launch()
        down.host.copy_(down.device, non_blocking=down.pinned)
        wait()

    return move


def _ended() -> None:
    """On a host, what was called has ended."""
