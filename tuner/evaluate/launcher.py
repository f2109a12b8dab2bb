"""Configs bound to operands: launches on one device, and laps of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ...kernels import families
from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.family import Launch
from ...kernels.operands import Operands, call, poisoned
from ...kernels.problem import Problem
from ...kernels.scratch import Scratch
from . import timing
from .check import Reference
from .timing import Lap


class Launcher:
    """Binds configs on one device (`cuda:0` or `cpu`); holds their scratch memory until it is released."""

    def __init__(self, device: Device, torch_device: str) -> None:
        self._device = device
        self.on_gpu = torch_device != "cpu"
        self._torch_device = torch_device
        self._scratches: list[Scratch] = []

    def release(self) -> None:
        """Gives the scratch memory back."""
        self._scratches.clear()

    def bind(self, problem: Problem, operands: Operands, config: Config, place: int = 0) -> Launch:
        """At that place of a rotation.

        Raises:
            ValueError: the family refuses these operands.
        """
        family = families.family(config.family)
        wanted = call(problem, self._device, operands, self._scratch(place))
        refused = family.refuses(wanted, config)
        if refused:
            raise ValueError(refused)
        return family.bind(wanted, config)

    def launches(self, problem: Problem, rotation: Sequence[Operands], config: Config) -> list[Launch]:
        """One on each of these operands."""
        return [self.bind(problem, operands, config, place) for place, operands in enumerate(rotation)]

    def lap(
        self,
        problem: Problem,
        rotation: Sequence[Operands],
        config: Config,
        reading_us: float,
        like: Lap | None = None,
    ) -> Lap:
        """Launches of a config on these operands in turn, to be read as one; as many as in another lap of it."""
        launches = self.launches(problem, rotation, config)
        launches[0]()
        make = timing.graph_lap if self.on_gpu else timing.host_lap
        return make(launches, reading_us, like)

    def result(self, config: Config, against: Reference) -> torch.Tensor:
        """The config's D for the reference's inputs, in memory that was poisoned."""
        given = against.operands
        operands = replace(given, d=poisoned(against.problem, given.a.device))
        self.bind(against.problem, operands, config)()
        if self.on_gpu:
            torch.cuda.synchronize()
        return operands.d

    def _scratch(self, place: int) -> Scratch:
        """One for each place of a rotation: in a model other layers' weights pass through the L2 between two launches
        that share a counter, and one that lies there ready is up to 2% of a decode kernel."""
        while len(self._scratches) <= place:
            self._scratches.append(Scratch(self._torch_device))
        return self._scratches[place]
