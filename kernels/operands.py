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
    """A[m, k], B[k, n] and D[m, n], as views of memory laid out as the problem says."""

    a: torch.Tensor
    b: torch.Tensor
    d: torch.Tensor

    @property
    def bytes(self) -> int:
        return sum(matrix.numel() * matrix.element_size() for matrix in (self.a, self.b, self.d))


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype that stores `bf16`, `fp16`, `fp32` or `tf32`."""
    found: torch.dtype = getattr(torch, DTYPES[name].storage)
    return found


def random_operands(problem: Problem, generator: torch.Generator, b: torch.Tensor | None = None) -> Operands:
    """Standard normal A and B on the generator's device; D is filled with NaN. A `b` that is given is taken for B."""
    device, dtype = generator.device, torch_dtype(problem.dtype)

    def normal(rows: int, columns: int, transposed: bool) -> torch.Tensor:
        shape = (columns, rows) if transposed else (rows, columns)
        stored = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        return stored.T if transposed else stored

    a = normal(problem.m, problem.k, problem.a_transposed)
    if b is None:
        b = normal(problem.k, problem.n, problem.b_transposed)
    return Operands(a, b, poisoned(problem, device))


def poisoned(problem: Problem, device: torch.device) -> torch.Tensor:
    """A D[m, n] that holds nothing but NaN, so that an element never written is found."""
    return torch.full((problem.m, problem.n), float("nan"), dtype=torch_dtype(problem.out_dtype), device=device)


def call(problem: Problem, device: Device, operands: Operands, scratch: Scratch) -> Call:
    return Call(problem, device, operands.a, operands.b, operands.d, scratch)


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
