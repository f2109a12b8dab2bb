"""What serves calls on one device: its table, its scratch memory, and the plans made of both."""

from __future__ import annotations

from dataclasses import replace

from ..device import Device
from ..operands import current_device
from ..problem import Problem
from .find import Found, find
from .lookup import Choice, Origin, lookup
from .plan import NotServed, Plan, Settings
from .pool import Place, pool_of
from .serve import serve, serve_with_bias
from .wanted import Wanted


class Engine:
    """Serves one GPU. Built outside of any capture."""

    def __init__(self, index: int, settings: Settings) -> None:
        from .toolchain import toolchain

        self.index = index
        self.settings = settings
        self.device: Device = current_device(index)
        self.found: Found = find(self.device, settings.named, None if settings.trust else toolchain())
        self._place = Place(index, self.device, pool_of(index))

    def choose(self, problem: Problem) -> Choice:
        return lookup(self.found.table, problem, self.settings.miss)

    def plan(self, wanted: Wanted) -> Plan:
        """How `wanted` is served; compiles and loads its kernel.

        Raises:
            NotTunedError: it was not tuned, and the miss policy is `error`.
        """
        if not wanted.problem:
            return Plan(Choice(Origin.LIBRARY, wanted.refusal), None)
        choice = self.choose(wanted.problem)
        if choice.config is None:
            return Plan(choice, None)
        try:
            return Plan(choice, serve(self._place, wanted, choice))
        except NotServed as reason:
            return Plan(Choice(Origin.LIBRARY, f"{choice.config} cannot take it: {reason}"), None)

    def plan_with_bias(self, wanted: Wanted) -> Plan:
        """How `wanted` and the addition of a dense bias of its dtype are served: by what was tuned with a bias.

        The winner of the plain product is no guess: with a bias the library chooses among other kernels of its own. On
        an H200 (2026-11) winners at 1.01 to 1.09 of the library without one stood at 0.957 to 1.093 with one, in
        another run (results/nvidia-h200/dispatch-bias.json).
        """
        if not wanted.problem:
            return Plan(Choice(Origin.LIBRARY, wanted.refusal), None)
        choice = self.choose(replace(wanted.problem, epilogue="bias"))
        if choice.config is None:
            return Plan(choice, None)
        try:
            return Plan(choice, serve_with_bias(self._place, wanted, choice))
        except NotServed as reason:
            return Plan(Choice(Origin.LIBRARY, f"{choice.config} cannot take it with a bias: {reason}"), None)
