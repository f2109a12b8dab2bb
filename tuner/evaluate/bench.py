"""What a measuring process does with one config: load, check, time; and with several: race."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from ...kernels import families
from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.family import Launch
from ...kernels.operands import Operands, call, poisoned, random_operands
from ...kernels.problem import Problem
from ...kernels.scratch import Scratch
from ..ratio import paired_ratio
from ..trial import Check
from . import timing
from .check import Reference, compare, ragged_companion, reference, with_library
from .timing import Lap

_L2_TIMES: Final = 3
_MAX_SETS: Final = 64
_MEMORY_SHARE: Final = 0.4
_WARM_UP_S: Final = 0.25
_RACE_CHECK_EVERY: Final = 6
_RACE_MINIMUM: Final = 12


@dataclass(slots=True)
class Prepared:
    """A problem in memory: rotating operands, references, the library's lap to pair with."""

    problem: Problem
    rotation: list[Operands]
    references: list[Reference]
    library: Config | None
    library_lap: Lap | None = None


@dataclass(frozen=True, slots=True)
class Times:
    times_us: tuple[float, ...]
    reference_us: tuple[float, ...]


class Bench:
    """Checks and times configs on one device (`cuda:0` or `cpu`); holds the operands of one problem at a time."""

    def __init__(self, device: Device, torch_device: str, seed: int) -> None:
        self.device = device
        self._on_gpu = torch_device != "cpu"
        self._torch_device = torch_device
        self._generator = torch.Generator(torch_device)
        self._generator.manual_seed(seed)
        self._scratch = Scratch(torch_device)
        self._prepared: Prepared | None = None

    def prepare(self, problem: Problem) -> Prepared:
        """Operands and references of `problem`; those of another one are given back first."""
        if self._prepared is not None and self._prepared.problem == problem:
            return self._prepared
        self._prepared = None
        if self._on_gpu:
            torch.cuda.empty_cache()
        first = random_operands(problem, self._generator)
        rotation = [first, *(random_operands(problem, self._generator) for _ in range(self._sets(first) - 1))]
        prepared = Prepared(problem, rotation, [], self._library(problem))
        prepared.references = [self._reference(problem, first, prepared.library)]
        companion = ragged_companion(problem)
        if problem.flops:
            operands = random_operands(companion, self._generator)
            prepared.references.append(self._reference(companion, operands, prepared.library))
        if prepared.library is not None and problem.flops:
            prepared.library_lap = self._lap(prepared, prepared.library)
            timing.warm_up(prepared.library_lap, _WARM_UP_S)
        self._prepared = prepared
        return prepared

    def check(self, prepared: Prepared, config: Config) -> list[Check]:
        """Of the problem and of its ragged companion, stopping at the first that fails."""
        checks: list[Check] = []
        for against in prepared.references:
            checks.append(compare(self._run(config, against), against))
            if not checks[-1].passed:
                break
        return checks

    def time(self, prepared: Prepared, config: Config, worth: Callable[[float], bool]) -> Times:
        """Paired readings; `worth(speed)` decides after the first pair whether to go on."""
        if not prepared.problem.flops:
            return Times((timing.host_us(self._launches(prepared, config)[0]),), ())
        if config == prepared.library and prepared.library_lap is not None:
            return Times(*timing.read_pairs(prepared.library_lap, None, timing.READINGS, worth))
        lap = self._lap(prepared, config)
        return Times(*timing.read_pairs(lap, prepared.library_lap, timing.READINGS, worth))

    def race(self, prepared: Prepared, configs: list[Config], rounds: int, seconds: float) -> list[list[float]]:
        """One time a round and config, in us. The first config is the reference and runs to the end; another one leaves
        once it is behind the leader with confidence."""
        laps = [self._lap(prepared, config, timing.RACE_READING_US) for config in configs]
        until = time.perf_counter() + seconds
        times: list[list[float]] = [[] for _ in laps]
        running = list(range(len(laps)))
        for number in range(rounds):
            for lane, read in zip(running, timing.race_round([laps[i] for i in running], number % 2 == 1), strict=True):
                times[lane].append(read)
            if number % _RACE_CHECK_EVERY == _RACE_CHECK_EVERY - 1 and number + 1 >= _RACE_MINIMUM:
                running = _still_running(times, running)
            if len(times[0]) >= _RACE_MINIMUM and (time.perf_counter() > until or len(running) == 1):
                break
        return times

    def _library(self, problem: Problem) -> Config | None:
        for family in families.FAMILIES.values():
            if family.is_library and len(family.space(problem, self.device)):
                return Config.of(family.name)
        return None

    def _sets(self, operands: Operands) -> int:
        """How many operands to rotate through, so that none is still in the L2 when it comes round again."""
        needed = -(-_L2_TIMES * self.device.l2_bytes // max(operands.bytes, 1)) + 1
        fitting = int(self.device.memory_bytes * _MEMORY_SHARE) // max(operands.bytes, 1)
        return max(1, min(needed, fitting, _MAX_SETS))

    def _reference(self, problem: Problem, operands: Operands, library: Config | None) -> Reference:
        found = reference(problem, operands)
        if library is None:
            return found
        return with_library(found, compare(self._run(library, found), found).error)

    def _run(self, config: Config, against: Reference) -> torch.Tensor:
        """The config's D for the reference's inputs, in memory that was poisoned."""
        given = against.operands
        operands = Operands(given.a, given.b, poisoned(against.problem, given.a.device))
        self._bind(against.problem, operands, config)()
        if self._on_gpu:
            torch.cuda.synchronize()
        return operands.d

    def _bind(self, problem: Problem, operands: Operands, config: Config) -> Launch:
        family = families.family(config.family)
        wanted = call(problem, self.device, operands, self._scratch)
        refused = family.refuses(wanted, config)
        if refused:
            raise ValueError(refused)
        return family.bind(wanted, config)

    def _launches(self, prepared: Prepared, config: Config) -> list[Launch]:
        return [self._bind(prepared.problem, operands, config) for operands in prepared.rotation]

    def _lap(self, prepared: Prepared, config: Config, reading_us: float = timing.READING_US) -> Lap:
        launches = self._launches(prepared, config)
        launches[0]()
        make = timing.graph_lap if self._on_gpu else timing.host_lap
        return make(launches, reading_us)


def _still_running(times: list[list[float]], running: list[int]) -> list[int]:
    """The lanes not yet beaten with confidence by the fastest of them; lane 0, the reference, always stays."""
    medians = {lane: paired_ratio(times[lane], times[0]).median for lane in running}
    leader = max(running, key=lambda lane: medians[lane])
    return [lane for lane in running if lane == 0 or paired_ratio(times[lane], times[leader]).high >= 1.0]
