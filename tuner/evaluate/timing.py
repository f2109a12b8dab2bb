"""Laps: work that is repeated and timed as one, on a GPU in a CUDA graph over rotating operands, or on the host."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

import torch

from ...kernels.family import Launch

MAX_LAUNCHES: Final = 200
Reading = Callable[[], float]


class Lap(Protocol):
    """Work that can be repeated: `launches` launches, which take about `lap_us` together."""

    launches: int
    lap_us: float

    def start(self) -> Reading:
        """Begins it, behind what was begun before. What this gives tells the us a launch, once `wait` has returned."""
        ...

    def lead(self) -> None:
        """Begins it unread, so that a GPU is at work when a reading begins; nothing on a host, where nothing queues."""
        ...

    def wait(self) -> None:
        """Until all that was begun has ended."""
        ...


def read_us(lap: Lap) -> float:
    """Runs it once, alone; us a launch."""
    reading = lap.start()
    lap.wait()
    return reading()


@dataclass(slots=True)
class GraphLap:
    """A CUDA graph of launches that walk through rotating operands; no host time between them.

    Attributes:
        rotation: what was captured. It holds the memory that a launch has of its own, where a second product goes, say.
    """

    graph: torch.cuda.CUDAGraph
    rotation: Sequence[Launch]
    launches: int
    lap_us: float = 0.0

    def start(self) -> Reading:
        begin, end = _event(), _event()
        begin.record()
        self.graph.replay()
        end.record()
        return lambda: float(begin.elapsed_time(end)) * 1000.0 / self.launches

    def lead(self) -> None:
        self.graph.replay()

    def wait(self) -> None:
        torch.cuda.synchronize()


@dataclass(slots=True)
class HostLap:
    """Launches on the host, timed by its clock."""

    rotation: Sequence[Launch]
    launches: int
    lap_us: float = 0.0

    def start(self) -> Reading:
        started = time.perf_counter()
        for index in range(self.launches):
            self.rotation[index % len(self.rotation)]()
        elapsed_us = (time.perf_counter() - started) * 1e6 / self.launches
        return lambda: elapsed_us

    def lead(self) -> None:
        """Nothing: it would end before a reading begins."""

    def wait(self) -> None:
        """Nothing: what was begun has ended."""


def host_us(launch: Launch) -> float:
    """One launch by the host's clock, on a device that the host waits for."""
    started = time.perf_counter()
    launch()
    return (time.perf_counter() - started) * 1e6


def graph_lap(rotation: Sequence[Launch], reading_us: float, like: Lap | None = None) -> GraphLap:
    """A lap on the GPU of about `reading_us`, in whole walks through the rotating operands, of one at the least; or as
    long as another lap, of the same launches on other operands.

    A lap that broke off inside a walk would leave in the L2 what the next lap begins with: 1 to 3% of a lap of kernels
    that wait for memory, to the gain of whoever comes after a lap that ends so.
    """
    if like is not None:
        lap = _capture(rotation, like.launches)
        lap.lap_us = like.lap_us
        return lap
    walk = _capture(rotation, len(rotation))
    read_us(walk)
    launch_us = max(read_us(walk), 0.5)
    wanted = whole_walks(len(rotation), launch_us, reading_us)
    lap = walk if wanted == walk.launches else _capture(rotation, wanted)
    lap.lap_us = launch_us * lap.launches
    return lap


def whole_walks(places: int, launch_us: float, reading_us: float) -> int:
    """Launches of a lap of `reading_us`, as far as `MAX_LAUNCHES` allow it: a multiple of the places of a rotation."""
    wanted = math.ceil(reading_us / launch_us / places)
    return places * max(1, min(wanted, MAX_LAUNCHES // places))


def host_lap(rotation: Sequence[Launch], reading_us: float, like: Lap | None = None) -> HostLap:
    """The same on the host."""
    if like is not None:
        return HostLap(rotation, like.launches, like.lap_us)
    launch_us = max(host_us(rotation[0]), 1.0)
    launches = max(1, min(MAX_LAUNCHES, math.ceil(reading_us / launch_us)))
    return HostLap(rotation, launches, launch_us * launches)


def _capture(rotation: Sequence[Launch], launches: int) -> GraphLap:
    return GraphLap(captured(rotation[index % len(rotation)] for index in range(launches)), rotation, launches)


def captured(launches: Iterable[Launch]) -> torch.cuda.CUDAGraph:
    """A CUDA graph of these launches, one after another.

    It neither waits for the device nor gives back memory that is not in use, as `torch.cuda.graph` does: a search
    captures thousands, and the device would idle at each of them.
    """
    graph, here, aside = torch.cuda.CUDAGraph(), torch.cuda.current_stream(), _aside(torch.cuda.current_device())
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            for launch in launches:
                launch()
        finally:
            graph.capture_end()
    here.wait_stream(aside)
    return graph


@cache
def _aside(index: int) -> torch.cuda.Stream:
    """A stream to capture on, for the one that is in use cannot be captured."""
    return torch.cuda.Stream(index)  # type: ignore[no-untyped-call]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
