"""Reading times on a device: launches in a CUDA graph over rotating operands, the library right beside."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch

from ...kernels.family import Launch

READINGS: Final = 7
READING_US: Final = 1000.0
RACE_READING_US: Final = 2000.0
MAX_LAUNCHES: Final = 200


class Lap(Protocol):
    """Work that can be repeated and timed as one: `launches` launches."""

    launches: int

    def read_us(self) -> float:
        """Runs it once; us a launch."""
        ...


@dataclass(slots=True)
class GraphLap:
    """A CUDA graph of launches that walk through rotating operands; no host time between them."""

    graph: torch.cuda.CUDAGraph
    launches: int
    begin: torch.cuda.Event
    end: torch.cuda.Event

    def start(self) -> None:
        self.begin.record()
        self.graph.replay()
        self.end.record()

    def elapsed_us(self) -> float:
        """Of the replay started last, us a launch; the device must have finished it."""
        return float(self.begin.elapsed_time(self.end)) * 1000.0 / self.launches

    def read_us(self) -> float:
        self.start()
        self.end.synchronize()
        return self.elapsed_us()


@dataclass(slots=True)
class HostLap:
    """Launches on the host, timed by its clock."""

    rotation: Sequence[Launch]
    launches: int

    def read_us(self) -> float:
        started = time.perf_counter()
        for index in range(self.launches):
            self.rotation[index % len(self.rotation)]()
        return (time.perf_counter() - started) * 1e6 / self.launches


def host_us(launch: Launch) -> float:
    """One launch by the host's clock, on a device that the host waits for."""
    started = time.perf_counter()
    launch()
    return (time.perf_counter() - started) * 1e6


def graph_lap(rotation: Sequence[Launch], reading_us: float = READING_US) -> GraphLap:
    """A lap on the GPU of about `reading_us`, and of at least one launch for each of the rotating operands."""
    short = _capture(rotation, len(rotation))
    short.read_us()
    wanted = math.ceil(reading_us / max(short.read_us(), 0.5))
    if wanted <= 1.5 * short.launches:
        return short
    return _capture(rotation, min(wanted, MAX_LAUNCHES))


def host_lap(rotation: Sequence[Launch], reading_us: float = READING_US) -> HostLap:
    """The same on the host."""
    return HostLap(rotation, max(1, min(MAX_LAUNCHES, math.ceil(reading_us / max(host_us(rotation[0]), 1.0)))))


def _capture(rotation: Sequence[Launch], launches: int) -> GraphLap:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(launches):
            rotation[index % len(rotation)]()
    return GraphLap(graph, launches, _event(), _event())


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def warm_up(work: Lap, seconds: float) -> None:
    """Repeats `work` for that long: clocks and caches settle by time, not by count."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        work.read_us()


def read_pairs(
    candidate: Lap, library: Lap | None, readings: int, keep_going: Callable[[float], bool]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Times of the candidate, and of the library right beside each, in alternating order.

    `keep_going` is given the first pair's speed (library / candidate) and says whether more readings are worth it.
    """
    times: list[float] = []
    beside: list[float] = []
    for index in range(readings):
        if library is None:
            times.append(candidate.read_us())
            continue
        if index % 2:
            times.append(candidate.read_us())
            beside.append(library.read_us())
        else:
            beside.append(library.read_us())
            times.append(candidate.read_us())
        if index == 0 and not keep_going(beside[0] / times[0]):
            break
    return tuple(times), tuple(beside)


def race_round(laps: Sequence[Lap], backwards: bool) -> list[float]:
    """One time for each lap, read in turn without a pause between them; in the order given, whatever was run first."""
    order = list(reversed(laps)) if backwards else list(laps)
    if all(isinstance(one, GraphLap) for one in order):
        for one in order:
            assert isinstance(one, GraphLap)
            one.start()
        torch.cuda.synchronize()
        return [one.elapsed_us() for one in laps if isinstance(one, GraphLap)]
    read = {id(one): one.read_us() for one in order}
    return [read[id(one)] for one in laps]
