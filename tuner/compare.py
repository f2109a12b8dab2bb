"""One problem on this machine, in one run: the tuned kernel, the GPU's library, the CPU's BLAS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from ..kernels import families
from ..kernels.config import Config
from ..kernels.device import Device
from ..kernels.problem import Problem
from .ceilings import known_ceilings
from .evaluate import RaceLimit
from .evaluate.cublas_best import MISSING, NAME, is_here
from .evaluate.live import LiveMeter
from .evaluate.machine import NO_GPU, Machine
from .evaluate.messages import ReadLane
from .ratio import is_tie, paired_ratio
from .referee import lane_ratio, verdict_text
from .roofline import roofline_us
from .store import Store
from .trial import Outcome, Race, Ratio
from .warm import stored_best

CPU: Final = "cpu_blas"
_RACE: Final = RaceLimit(rounds=84, seconds=2.0)
_CPU: Final = RaceLimit(rounds=24, seconds=2.0)
_AT_LEAST: Final = 6  # rounds on the CPU, however long they take: fewer bound no ratio


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to compute a problem, as it was measured.

    Attributes:
        what: in a few words.
        problem: that was computed; its dtype is another one when the CPU multiplies in fp32.
        threads: of the CPU; 0 on a GPU.
        time_us: the median of a launch, operands in the device's own memory.
        of_roofline: how near it is to what its device can do; None when that is not known.
        ratio: how much faster than the reference, with its interval; None for the reference itself.
    """

    what: str
    problem: Problem
    config: Config
    device: Device
    threads: int
    time_us: float
    of_roofline: float | None
    ratio: Ratio | None

    @property
    def tflops(self) -> float:
        return self.problem.flops / self.time_us / 1e6

    @property
    def is_tie(self) -> bool:
        return self.ratio is not None and is_tie(self.ratio)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found for one problem.

    Attributes:
        regime: how busy the devices were.
        reference: what the ratios are against, by its `what`; empty when nothing was measured.
        contenders: the GPU's first.
        verdict: how the GPU's race ended, in words; empty without one.
        missing: what could not be measured and why, a line each.
    """

    problem: Problem
    regime: str
    reference: str
    contenders: tuple[Contender, ...]
    verdict: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bout:
    """What ran: a contender in the making, with its times in the order in which they were read."""

    what: str
    problem: Problem
    config: Config
    meter: LiveMeter
    times_us: tuple[float, ...]
    ratio: Ratio | None = None


def compare(problem: Problem, machine: Machine, store: Store) -> Comparison:
    """Measures `problem` in every way there is here.

    Args:
        problem: what is computed.
        machine: the GPU, if there is one, and the host.
        store: holds the tuned configs; gets the ceilings of the devices if it has none.
    """
    missing: list[str] = []
    gpu, race = machine.gpu, None
    if gpu is None:
        missing.append(f"{NO_GPU}: the tuned kernel and cuBLAS are missing")
    else:
        race = gpu.race(problem, tuple(_racers(problem, gpu, store, missing)), _RACE)
        if race is None:
            missing.append(f"the GPU's library does not compute {problem}, or was lost over it")
    bouts = [] if race is None or gpu is None else list(_on_gpu(race, gpu))
    bouts += _on_cpu(problem, machine.cpu, missing)
    reference = bouts[0].what if bouts else ""
    contenders = tuple(_contender(bout, bouts[0], store) for bout in bouts)
    verdict = "" if race is None else verdict_text(race)
    regime = machine.cpu.protocol.partition("/")[0]
    return Comparison(problem, regime, reference, contenders, verdict, tuple(missing))


def _racers(problem: Problem, gpu: LiveMeter, store: Store, missing: list[str]) -> Iterator[Config]:
    """The tuned config, which must pass its check once more, and cuBLAS's best candidate."""
    tuned = next((one for one in stored_best(problem, gpu, store) if one.items_by_axis), None)
    if tuned is None:
        shape = "x".join(map(str, problem.shape))
        missing.append(f"nothing is tuned for {problem} on {gpu.device.name}: run `tilewright tune {shape}`")
    elif tuned not in gpu.space(problem):
        missing.append(f"the stored winner, {tuned}, is not in today's space: tune again")
    else:
        gpu.submit(problem, tuned)
        (trial,) = gpu.collect()
        if trial.outcome is Outcome.MEASURED:
            yield tuned
        else:
            missing.append(f"the stored winner, {tuned}, is {trial.outcome} today: {trial.reason}")
    if not is_here():
        missing.append(MISSING)
    elif len(families.family(NAME).space(problem, gpu.device)):
        yield Config.of(NAME)


def _on_gpu(race: Race, gpu: LiveMeter) -> Iterator[Bout]:
    names = {race.reference.family: "cuBLAS", NAME: "cuBLAS, best candidate"}
    for lane in race.lanes:
        ratio = lane_ratio(race, lane) if lane.config != race.reference else None
        what = names.get(lane.config.family, "tuned")
        yield Bout(what, race.problem, lane.config, gpu, lane.times_us, ratio)


def _on_cpu(problem: Problem, cpu: LiveMeter, missing: list[str]) -> Iterator[Bout]:
    """The CPU's BLAS in the problem's own dtype and in fp32."""
    wide = replace(problem, dtype="fp32", out_dtype="fp32")
    asked = dict.fromkeys((problem, wide))
    config = Config.of(CPU)
    able = [one for one in asked if len(families.family(CPU).space(one, cpu.device))]
    if problem not in able:
        missing.append(f"the CPU's BLAS does not compute {problem.dtype} to {problem.out_dtype}")
    read = cpu.read([ReadLane(one, config) for one in able], _CPU, _AT_LEAST)
    if not read.times_us:
        missing.append(f"the CPU's BLAS: {read.reason}")
    for one, times_us in zip(able, read.times_us, strict=False):
        yield Bout(f"CPU BLAS, {one.dtype}", one, config, cpu, times_us)


def _contender(bout: Bout, reference: Bout, store: Store) -> Contender:
    ratio = bout.ratio
    if ratio is None and bout is not reference:
        ratio = paired_ratio(bout.times_us, reference.times_us)
    least_us = roofline_us(bout.problem, known_ceilings(bout.meter, store))
    device, time_us = bout.meter.device, median(bout.times_us)
    threads = 0 if device.capability else device.sm_count
    near = None if least_us is None else least_us / time_us
    return Contender(bout.what, bout.problem, bout.config, device, threads, time_us, near, ratio)
