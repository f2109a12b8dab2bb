"""A family: one kernel and its space of configs. A library is a family with no axes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .config import Config
from .device import Device
from .problem import Problem
from .space import Axis, Constraint, SearchSpace

if TYPE_CHECKING:
    import torch

    from .access import Accesses
    from .binary import Binary
    from .scratch import Scratch

Launch = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Call:
    """One matrix product on real memory: A[m, k], B[k, n] and D[m, n], each with any strides, on one device.

    Calls that share `scratch` run one after another. `scale` (one fp32 number), `row_scale` (m of them), `column_scale`
    (n of them), `bias` (n elements of D's dtype), `up` (as B) and `residual` (m x n of D's dtype) are there when the
    problem's epilogue takes them.
    """

    problem: Problem
    device: Device
    a: torch.Tensor
    b: torch.Tensor
    d: torch.Tensor
    scratch: Scratch
    scale: torch.Tensor | None = None
    row_scale: torch.Tensor | None = None
    column_scale: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    up: torch.Tensor | None = None
    residual: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One kernel and what may vary in it.

    Attributes:
        name, summary: for tables and for people.
        axes: the parameters; none for a library.
        constraints: what a config must keep; pure functions of problem, device and config.
        defaults: (problem, device) -> points of the axes that are tried first, best guess first.
        binary: (problem, device, config, accesses) -> what must be compiled; None for a library.
        refuses: (call, config) -> why this memory cannot be taken (an alignment, a stride), or "" when it can.
        bind: (call, config) -> what launches it on the current stream, any number of times. Compiles what is missing.
            An implementer must not synchronize, and must write every element of D and nothing else.
        sources: the files that decide what is computed; their hash is part of a result's environment.
        runs_on: "gpu" or "cpu".
        deterministic: (problem, config) -> whether the same input gives the same bits in every run, whatever else the
            device does meanwhile. What does not say so is held for one that may not.
    """

    name: str
    summary: str
    axes: tuple[Axis, ...]
    constraints: tuple[Constraint, ...]
    defaults: Callable[[Problem, Device], tuple[Config, ...]]
    binary: Callable[[Problem, Device, Config, Accesses], Binary] | None
    refuses: Callable[[Call, Config], str]
    bind: Callable[[Call, Config], Launch]
    sources: tuple[Path, ...]
    runs_on: str = "gpu"
    deterministic: Callable[[Problem, Config], bool] = lambda problem, config: False

    @property
    def is_library(self) -> bool:
        return not self.axes

    def space(self, problem: Problem, device: Device) -> SearchSpace:
        return SearchSpace(self.name, self.axes, self.constraints, problem=problem, device=device)


@cache
def source_hash(sources: tuple[Path, ...]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the files' bytes, in order."""
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
