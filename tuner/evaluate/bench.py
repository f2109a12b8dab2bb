"""What a measuring process does with one config: load, check, time; and with several: race."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import torch

from ...kernels import families
from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.operands import Operands, poisoned, random_operands
from ...kernels.problem import Problem
from ..referee import fastest_level, run_race
from ..trial import Check
from . import timing
from .check import Reference, compare, ragged_companion, reference, with_library
from .launcher import Launcher
from .pace import Pace, Worth
from .regime import DEFAULT, REGIMES, Regime
from .rounds import Rounds
from .stress import stress
from .timing import Lap

# The operands that a lap walks through have so many times the bytes of the L2. An H200 keeps a part of what is six
# times as large, where cuBLAS is 3% faster (1x4096x14336), our kernels are 1%.
_L2_TIMES: Final = 8
_HOST_CACHE_TIMES: Final = 3
# Where operands lie moves a ratio of kernels that wait for memory: laps of four sets differ by 0.7% in the standard
# deviation, by up to 3% (H200, 2026-11). A race is a mean over so many sets, a lap over so few.
_ALLOCATIONS: Final = 4
_RACE_SETS: Final = 32
_MAX_SETS: Final = 64
_MEMORY_SHARE: Final = 0.4
_WARM_UP_S: Final = 0.25
# FLOP a byte from which a power cap, and with it the clock, decides how fast something is under load.
_HOT: Final = 150
_RESTED_AT_MOST: Final = 4  # lanes, beside the reference
_LONG: Final = 6  # a reading that takes so many times as long as it must is little disturbed: fewer do
_LONG_READINGS: Final = 3


@dataclass(slots=True)
class Prepared:
    """A problem in memory: rotating operands, references, the library's lap to pair with.

    Attributes:
        rotation: what a lap walks through.
        elsewhere: further rotations, which a race walks through by turns.
    """

    problem: Problem
    rotation: list[Operands]
    references: list[Reference]
    library: Config | None
    library_lap: Lap | None = None
    elsewhere: list[list[Operands]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Times:
    """Readings of one config, and what one reading of it costs in a race, in s of the device."""

    times_us: tuple[float, ...]
    reference_us: tuple[float, ...]
    round_s: float


def _judging(prepared: Prepared, config: Config) -> list[Reference]:
    """The references of a problem with the bound for `config`. A library that takes an epilogue step by step rounds to
    D's dtype in between, and what a bias cancels leaves that error beside almost nothing: it widens its own bound only.
    """
    if not prepared.problem.epilogue or config == prepared.library:
        return prepared.references
    return [replace(against, bound=1.0) for against in prepared.references]


class Bench:
    """Checks and times configs on one device (`cuda:0` or `cpu`); holds the operands of one problem at a time."""

    def __init__(self, device: Device, torch_device: str, seed: int, regime: Regime = REGIMES[DEFAULT]) -> None:
        self.device = device
        self.pace = Pace(regime)
        self.launcher = Launcher(device, torch_device)
        self.on_gpu = self.launcher.on_gpu
        self._generator = torch.Generator(torch_device)
        self._generator.manual_seed(seed)
        self._order = random.Random(seed)
        self._prepared: Prepared | None = None
        self._layer: tuple[Problem, list[torch.Tensor]] | None = None

    def prepare(self, problem: Problem) -> Prepared:
        """Operands and references of `problem`; those of another one are given back first."""
        if self._prepared is not None and self._prepared.problem == problem:
            return self._prepared
        self.release()
        first = random_operands(problem, self._generator)
        checked = [(problem, first)]
        if problem.flops:
            companion = ragged_companion(problem)
            checked.append((companion, random_operands(companion, self._generator)))
        library = self._library(problem, checked)
        sets = self._sets(first, self._reading_launches(problem, first, library))
        rotation = [first, *(random_operands(problem, self._generator) for _ in range(sets - 1))]
        references = [self._reference(one, operands, library) for one, operands in checked]
        prepared = Prepared(problem, rotation, references, library)
        if library is not None and problem.flops:
            prepared.library_lap = self.launcher.lap(problem, rotation, library, self.pace.regime.reading_us)
            self.pace.load([prepared.library_lap], _WARM_UP_S)
        self._prepared = prepared
        return prepared

    def release(self) -> None:
        """Gives the memory of the last problem back."""
        self._prepared = self._layer = None
        self.launcher.release()
        if self.on_gpu:
            torch.cuda.empty_cache()

    def rotation(self, problem: Problem, sets: int | None = None) -> list[Operands]:
        """Operands of `problem` to walk through, so many sets or as many as the L2 asks for, without references.

        All but the first are copies: a host draws random numbers at a tenth of the speed. The weights, B, of the layer
        before are taken again when it is the same.
        """
        self._prepared = None
        if self._layer is None or replace(self._layer[0], m=problem.m) != problem:
            self._layer = problem, []
        weights = self._layer[1]
        first = random_operands(problem, self._generator, weights[0] if weights else None)
        weights += [first.b] * (not weights)
        count = sets or self._sets(first)
        weights += [first.b.clone() for _ in range(count - len(weights))]
        return [first, *(first.copy(b) for b in weights[1:count])]

    def check(self, prepared: Prepared, config: Config) -> list[Check]:
        """Of the problem and of its ragged companion, stopping at the first that fails."""
        checks: list[Check] = []
        for against in _judging(prepared, config):
            checks.append(compare(self.launcher.result(config, against), against))
            if not checks[-1].passed:
                break
        return checks

    def stress(self, prepared: Prepared, config: Config) -> Check:
        """Of many launches on the problem and on its companion, the worst; what fails first is not gone beyond."""
        worst: list[Check] = []
        for against in _judging(prepared, config):
            given = against.operands
            operands = replace(given, d=poisoned(against.problem, given.a.device))
            worst.append(stress(self.launcher.bind(against.problem, operands, config), operands.d, against))
            if not worst[-1].passed:
                break
        return worst[-1]

    def time(self, prepared: Prepared, config: Config, worth: Worth) -> Times:
        """Paired readings; `worth` decides after the first ones whether to go on, as in `Pace.read_pairs`."""
        regime = self.pace.regime
        if not prepared.problem.flops:
            return Times((timing.host_us(self.launcher.bind(prepared.problem, prepared.rotation[0], config)),), (), 0.0)
        library, beside = prepared.library_lap, None
        if library is not None and config == prepared.library:
            lap = library
        else:
            lap, beside = self.launcher.lap(prepared.problem, prepared.rotation, config, regime.reading_us), library
        self.pace.load([lap] if beside is None else [lap, beside], regime.load_s)
        readings = _LONG_READINGS if lap.lap_us >= _LONG * regime.reading_us else regime.readings
        times, beside_us = self.pace.read_pairs(lap, beside, readings, worth)
        return Times(tuple(times), tuple(beside_us), regime.cost_s(lap.lap_us))

    def race(
        self, prepared: Prepared, configs: list[Config], rounds: int, seconds: float
    ) -> tuple[list[list[float]], list[list[float]]]:
        """For each config one time a round, in us; and of those that this leaves level, times after a rest. The first
        config is the reference and runs to the end; another one leaves once it is behind the leader with confidence."""
        read = self.lanes(prepared, configs)
        until = time.perf_counter() + seconds * self.pace.regime.patience
        times = run_race(read, len(configs), rounds, lambda: time.perf_counter() > until)
        return times, read.rested(self._to_rest(prepared.problem, times), len(configs))

    def _to_rest(self, problem: Problem, times: Sequence[Sequence[float]]) -> list[int]:
        """The reference and the lanes that are read once more after a rest; none where that tells nothing."""
        if not self.pace.regime.level_rest_s or problem.flops < _HOT * problem.bytes_moved:
            return []
        level = fastest_level(times, _RESTED_AT_MOST)
        return [0, *level] if len(level) > 1 else []

    def lanes(self, prepared: Prepared, configs: Sequence[Config]) -> Rounds:
        """What reads rounds of a race of `configs`, on a device that is under load when this returns."""
        regime = self.pace.regime
        laps: list[list[Lap]] = []
        for rotation in self._rotations(prepared):
            # The library gets other workspace too: where that lies makes 2% of cuBLAS (64x4096x14336, H200).
            if self.on_gpu:
                torch._C._cuda_clearCublasWorkspaces()
            like = laps[0] if laps else [None] * len(configs)
            laps.append([])
            for one, as_long in zip(configs, like, strict=True):
                if as_long is not None and regime.race_load_s:
                    self.pace.keep(as_long)
                laps[-1].append(self.launcher.lap(prepared.problem, rotation, one, regime.race_reading_us, as_long))
        self.pace.load([lap for there in laps for lap in there], regime.race_load_s)
        return Rounds(self.pace, laps, self._order)

    def _rotations(self, prepared: Prepared) -> list[list[Operands]]:
        """Of a problem, as many as make `_RACE_SETS` of operands and fit; one where launches are so long that a lap
        walks through few sets, for such a launch crosses enough memory by itself."""
        sets, first = len(prepared.rotation), prepared.rotation[0]
        wanted = -(-_RACE_SETS // sets) if self.on_gpu and sets >= _ALLOCATIONS else 1
        count = max(1, min(wanted, self._fitting(first) // sets))
        try:
            while len(prepared.elsewhere) < count - 1:
                prepared.elsewhere.append([random_operands(prepared.problem, self._generator) for _ in range(sets)])
        except torch.OutOfMemoryError:  # others hold the rest: the race goes on with what there is, less all that fits
            prepared.elsewhere[len(prepared.elsewhere) // 2 :] = []
            torch.cuda.empty_cache()
        return [prepared.rotation, *prepared.elsewhere]

    def _library(self, problem: Problem, checked: Sequence[tuple[Problem, Operands]]) -> Config | None:
        """What others are read beside. None also where the library refuses what its space admits, as cuBLAS some fp8:
        its own trial fails with the reason, and no other config's."""
        names = [one.name for one in families.FAMILIES.values() if one.is_library]
        able = (name for name in names if len(families.family(name).space(problem, self.device)))
        library = next(map(Config.of, able), None)
        if library is None:
            return None
        try:
            for one, operands in checked:
                self.launcher.bind(one, operands, library)()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return None
        return library

    def _reading_launches(self, problem: Problem, operands: Operands, library: Config | None) -> int:
        """Of the library in one reading, or 1 where there is none."""
        if library is None or not problem.flops:
            return 1
        once = self.launcher.lap(problem, [operands], library, 0.0)
        return int(self.pace.regime.reading_us / max(timing.read_us(once), 1.0))

    def _sets(self, operands: Operands, launches: int = 1) -> int:
        """How many operands to rotate through, so that none is still in the L2 when it comes round again, and so that
        `_ALLOCATIONS` are met in a reading of so many launches."""
        times = _L2_TIMES if self.on_gpu else _HOST_CACHE_TIMES
        for_l2 = -(-times * self.device.l2_bytes // max(operands.bytes, 1)) + 1
        needed = max(for_l2, min(launches, _ALLOCATIONS))
        return max(1, min(needed, self._fitting(operands), _MAX_SETS))

    def _fitting(self, operands: Operands) -> int:
        """How many sets like these the device's memory may be filled with."""
        return int(self.device.memory_bytes * _MEMORY_SHARE) // max(operands.bytes, 1)

    def _reference(self, problem: Problem, operands: Operands, library: Config | None) -> Reference:
        found = reference(problem, operands)
        if library is None:
            return found
        return with_library(found, compare(self.launcher.result(library, found), found).error)
