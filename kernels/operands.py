"""Operands of a problem in real memory: random inputs, a poisoned result, in the problem's layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .device import Device
from .family import Call
from .problem import DTYPES, Problem
from .scratch import Scratch


@dataclass(frozen=True, slots=True)
class Operands:
    """A[m, k], B[k, n] and D[m, n], as views of memory laid out as the problem says, and what its epilogue takes."""

    a: torch.Tensor
    b: torch.Tensor
    d: torch.Tensor
    scale: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    up: torch.Tensor | None = None
    residual: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        held = (self.a, self.b, self.d, self.scale, self.bias, self.up, self.residual)
        return sum(one.numel() * one.element_size() for one in held if one is not None)


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype that stores `bf16`, `fp16`, `fp32` or `tf32`."""
    found: torch.dtype = getattr(torch, DTYPES[name].storage)
    return found


def random_operands(problem: Problem, generator: torch.Generator, b: torch.Tensor | None = None) -> Operands:
    """Standard normal A, B, bias, up and residual on the generator's device, a scale about 1, and D filled with NaN. A
    `b` that is given is taken for B."""
    a = _normal(problem, generator, "mk", transposed=problem.a_transposed)
    if b is None:
        b = _normal(problem, generator, "kn", transposed=problem.b_transposed)
    return Operands(a, b, poisoned(problem, generator.device), **epilogue_operands(problem, generator))


def _normal(problem: Problem, generator: torch.Generator, extents: str, *, transposed: bool) -> torch.Tensor:
    rows, columns = (getattr(problem, extent) for extent in extents)
    shape = (columns, rows) if transposed else (rows, columns)
    stored = torch.randn(shape, generator=generator, device=generator.device, dtype=torch_dtype(problem.dtype))
    return stored.T if transposed else stored


def epilogue_operands(problem: Problem, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """What the problem's epilogue takes, by name: standard normal, but the scale, which is between 0.5 and 1.5."""
    device, dtype = generator.device, torch_dtype(problem.out_dtype)
    shapes = {"bias": (problem.n,), "residual": (problem.m, problem.n)}
    made = {}
    for name in problem.epilogue_operands:
        if name == "scale":
            made[name] = torch.rand((), generator=generator, device=device) + 0.5
        elif name == "up":
            made[name] = _normal(problem, generator, "kn", transposed=problem.b_transposed)
        else:
            made[name] = torch.randn(shapes[name], generator=generator, device=device, dtype=dtype)
    return made


def poisoned(problem: Problem, device: torch.device) -> torch.Tensor:
    """A D[m, n] that holds nothing but NaN, so that an element never written is found."""
    return torch.full((problem.m, problem.n), float("nan"), dtype=torch_dtype(problem.out_dtype), device=device)


def call(problem: Problem, device: Device, operands: Operands, scratch: Scratch) -> Call:
    beside = (operands.scale, operands.bias, operands.up, operands.residual)
    return Call(problem, device, operands.a, operands.b, operands.d, scratch, *beside)


def current_device(index: int = 0) -> Device:
    """The GPU of that index, as the driver describes it.

    Raises:
        ValueError: there is no such GPU.
    """
    count = torch.cuda.device_count()
    if not 0 <= index < count:
        raise ValueError(f"GPU {index} is not there: this machine has {count}; use an index below that")
    properties: Any = torch.cuda.get_device_properties(index)  # the stubs lack half of it
    return Device(
        name=properties.name,
        arch=f"sm{properties.major}{properties.minor}",
        sm_count=properties.multi_processor_count,
        shared_memory_bytes=properties.shared_memory_per_block_optin,
        l2_bytes=properties.L2_cache_size,
        memory_bytes=properties.total_memory,
    )
