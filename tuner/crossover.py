"""Where a layer should run: the CPU, or the GPU with its data there or moved over PCIe, for growing m."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from ..kernels import families
from ..kernels.config import Config
from ..kernels.problem import Problem
from .evaluate import RaceLimit
from .evaluate.live import LiveMeter
from .evaluate.machine import NO_GPU, Machine
from .evaluate.messages import Placement, ReadLane
from .store import Store
from .warm import stored_best

CPU: Final = "CPU, data in host memory"
GPU: Final = "GPU, data on the GPU"
PINNED: Final = "GPU, data moved from and to pinned memory"
PAGEABLE: Final = "GPU, data moved from and to pageable memory"
PLACES: Final = ((GPU, Placement.DEVICE), (PINNED, Placement.PINNED), (PAGEABLE, Placement.PAGEABLE))
_LIMIT: Final = RaceLimit(rounds=15, seconds=0.3)
_AT_LEAST: Final = 3


@dataclass(frozen=True, slots=True)
class Point:
    """One m: the median time of a launch, in us, and with what it was computed."""

    m: int
    time_us: float
    how: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A place to run at, for growing m."""

    where: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Overtaking:
    """From which m on a place is faster than the CPU, at every larger one that was measured.

    Attributes:
        m: interpolated between two that were measured; the smallest one when it is faster there already; None when the
            CPU is faster at the largest.
        above: the last m at which the CPU is faster; None when there is none.
    """

    where: str
    m: float | None
    above: int | None


@dataclass(frozen=True, slots=True)
class Crossover:
    """A layer on this machine.

    Attributes:
        layer: with the largest m.
        move_weights: whether moving means the weights as well.
        devices: names, the GPU's first.
        sentence: where the layer should run.
        missing: what could not be measured and why, a line each.
    """

    layer: Problem
    move_weights: bool
    devices: tuple[str, ...]
    curves: tuple[Curve, ...]
    overtakings: tuple[Overtaking, ...]
    sentence: str
    missing: tuple[str, ...]

    def curve(self, where: str) -> Curve | None:
        return next((one for one in self.curves if one.where == where), None)


def crossover(
    layer: Problem, sizes: Sequence[int], machine: Machine, store: Store, *, move_weights: bool = False
) -> Crossover:
    """Measures a layer in every place there is here.

    Args:
        layer: n, k, dtypes and layout; its m is of no matter.
        sizes: the values of m.
        machine: the GPU, if there is one, and the host.
        store: a config that is tuned for a problem is taken for it; the GPU's library for the others.
        move_weights: moves B with A; else it stays on the GPU.

    Raises:
        ValueError: no m.
    """
    if not sizes:
        raise ValueError("sizes is empty: give at least one m")
    problems = [replace(layer, m=m) for m in sorted(set(sizes))]
    missing: dict[str, None] = {}
    curves = [_on_cpu(problems, machine.cpu, missing)]
    if machine.gpu is None:
        missing[f"{NO_GPU}: its three curves are missing"] = None
    else:
        curves += _on_gpu(problems, machine.gpu, store, move_weights, missing)
    curves = [curve for curve in curves if curve.points]
    overtakings = tuple(_overtaking(curve, curves[0]) for curve in curves[1:] if curves[0].where == CPU)
    meters = [meter for meter in (machine.gpu, machine.cpu) if meter is not None]
    return Crossover(
        problems[-1],
        move_weights,
        tuple(meter.device.name for meter in meters),
        tuple(curves),
        overtakings,
        sentence(overtakings),
        tuple(missing),
    )


def _on_cpu(problems: Sequence[Problem], cpu: LiveMeter, missing: dict[str, None]) -> Curve:
    """The CPU's BLAS in the problems' dtype or in fp32, whichever is faster: weights are held as suits it."""
    family = families.family("cpu_blas")
    wide = [replace(problem, dtype="fp32", out_dtype="fp32") for problem in problems]
    fastest: dict[int, Point] = {}
    for one in dict.fromkeys((*problems, *wide)):  # one dtype after the other: the weights are made once for each
        if not len(family.space(one, cpu.device)):
            continue
        read = cpu.read([ReadLane(one, Config.of(family.name))], _LIMIT, _AT_LEAST)
        if not read.times_us:
            missing[f"the CPU's BLAS in {one.dtype} at m = {one.m}: {read.reason}"] = None
            continue
        point = Point(one.m, median(read.times_us[0]), f"CPU BLAS in {one.dtype}, {cpu.device.sm_count} threads")
        fastest[one.m] = min(point, fastest.get(one.m, point), key=lambda found: found.time_us)
    return Curve(CPU, tuple(fastest[m] for m in sorted(fastest)))


def _on_gpu(
    problems: Sequence[Problem], gpu: LiveMeter, store: Store, move_weights: bool, missing: dict[str, None]
) -> list[Curve]:
    points: dict[str, list[Point]] = {where: [] for where, _ in PLACES}
    for problem in problems:
        config = _config(problem, gpu, store)
        if config is None:
            missing[f"the GPU's library does not compute {problem.dtype} to {problem.out_dtype}"] = None
            continue
        for where, placement in PLACES:
            moved = move_weights and placement is not Placement.DEVICE
            read = gpu.read([ReadLane(problem, config, placement, moved)], _LIMIT, _AT_LEAST)
            if read.times_us:
                points[where].append(Point(problem.m, median(read.times_us[0]), config.family))
            else:
                missing[f"{where} at m = {problem.m}: {read.reason}"] = None
    return [Curve(where, tuple(found)) for where, found in points.items()]


def _config(problem: Problem, gpu: LiveMeter, store: Store) -> Config | None:
    """What is stored as the fastest and still valid, else the library."""
    space = gpu.space(problem)
    library = gpu.library(problem)
    valid = (one for one in stored_best(problem, gpu, store) if one == library or one in space)
    return next(valid, library)


def _overtaking(curve: Curve, cpu: Curve) -> Overtaking:
    """From which m on `curve` is below the CPU's."""
    on_cpu = {point.m: point.time_us for point in cpu.points}
    gains = [(point.m, math.log(on_cpu[point.m] / point.time_us)) for point in curve.points if point.m in on_cpu]
    last_behind = max((index for index, (_, gain) in enumerate(gains) if gain <= 0), default=-1)
    if last_behind == len(gains) - 1:
        return Overtaking(curve.where, None, gains[-1][0] if gains else None)
    if last_behind < 0:
        return Overtaking(curve.where, float(gains[0][0]), None)
    (m, gain), (next_m, next_gain) = gains[last_behind : last_behind + 2]
    share = -gain / (next_gain - gain)
    return Overtaking(curve.where, math.exp(math.log(m) + share * math.log(next_m / m)), m)


def sentence(overtakings: Sequence[Overtaking]) -> str:
    """Where the layer should run, for data that lie on the GPU and for data that lie in host memory."""
    by_place = {one.where: one for one in overtakings}
    if GPU not in by_place:
        return "Only the CPU was measured: there is no telling where this layer should run."
    told = f"With its data on the GPU this layer should run {_where(by_place[GPU])}"
    moved = by_place.get(PINNED)
    return f"{told}; with its data in pinned host memory, {_where(moved)}." if moved else f"{told}."


def _where(found: Overtaking) -> str:
    if found.m is None:
        return "on the CPU at every m measured"
    if found.above is None:
        return "on the GPU at every m measured"
    return f"on the CPU up to about m = {found.m:.0f} and on the GPU beyond"
