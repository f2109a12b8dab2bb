"""Operands of a problem in real memory: random inputs, a poisoned result, in the problem's layout."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch

from .device import Device
from .epilogue import OPERANDS, SCALES
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
    row_scale: torch.Tensor | None = None
    column_scale: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    up: torch.Tensor | None = None
    residual: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        scales = (self.scale, self.row_scale, self.column_scale)
        held = (self.a, self.b, self.d, *scales, self.bias, self.up, self.residual)
        return sum(one.numel() * one.element_size() for one in held if one is not None)

    def copy(self, b: torch.Tensor) -> Operands:
        """The same numbers in other memory, with `b` for B."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        copies: dict[str, Any] = {
            name: one if one is None or name == "b" else one.clone() for name, one in given.items()
        }
        return Operands(**copies | {"b": b})


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype that stores `bf16`, `tf32` or another one of `DTYPES`."""
    found: torch.dtype = getattr(torch, DTYPES[name].storage)
    return found


def random_operands(problem: Problem, generator: torch.Generator, b: torch.Tensor | None = None) -> Operands:
    """Standard normal A, B, bias, up and residual on the generator's device, scales about 1, and D filled with NaN. A
    `b` that is given is taken for B. Where there is a scale, A and B of one byte use the range of their dtype, and the
    first scale takes that back."""
    sigma = sigma_of(problem)
    a = _normal(problem, generator, "mk", transposed=problem.a_transposed, sigma=sigma)
    if b is None:
        b = _normal(problem, generator, "kn", transposed=problem.b_transposed, sigma=sigma)
    return Operands(a, b, poisoned(problem, generator.device), **epilogue_operands(problem, generator))


def _normal(
    problem: Problem, generator: torch.Generator, extents: str, *, transposed: bool, sigma: float = 1.0
) -> torch.Tensor:
    """Of that standard deviation in a dtype of one byte, standard normal in others."""
    rows, columns = (getattr(problem, extent) for extent in extents)
    shape, dtype = (columns, rows) if transposed else (rows, columns), torch_dtype(problem.dtype)
    wide = dtype if dtype.itemsize > 1 else torch.float32
    stored = torch.randn(shape, generator=generator, device=generator.device, dtype=wide)
    if dtype.itemsize == 1:
        stored = quantized(stored.mul_(sigma), dtype)
    return stored.T if transposed else stored


def quantized(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """In a dtype of one byte, each element rounded and kept within its range; `matrix` is lost."""
    if dtype.is_floating_point:
        largest = torch.finfo(dtype).max
        return matrix.clamp_(-largest, largest).to(dtype)
    return matrix.round_().clamp_(-127, 127).to(dtype)


def sigma_of(problem: Problem) -> float:
    """The standard deviation of random A and B: where a scale takes it out again, they use their dtype's range."""
    return DTYPES[problem.dtype].sigma if _scales(problem) else 1.0


def _scales(problem: Problem) -> list[str]:
    return [name for name in problem.epilogue_operands if name in SCALES]


def epilogue_operands(problem: Problem, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """What the problem's epilogue takes, by name: standard normal, but scales, which are between 0.5 and 1.5;
    the first one over what multiplying A and B of one byte has brought in, see `random_operands`."""
    device, dtype = generator.device, torch_dtype(problem.out_dtype)
    shapes: dict[str, tuple[int, ...]] = {"row_scale": (problem.m,), "column_scale": (problem.n,), "bias": (problem.n,)}
    shapes |= {"scale": (), "residual": (problem.m, problem.n)}
    scales = _scales(problem)
    made = {}
    for name in problem.epilogue_operands:
        if name in scales:
            made[name] = torch.rand(shapes[name], generator=generator, device=device) + 0.5
            made[name] /= DTYPES[problem.dtype].sigma ** 2 if name == scales[0] else 1.0
        elif name == "up":
            made[name] = _normal(problem, generator, "kn", transposed=problem.b_transposed)
        else:
            made[name] = torch.randn(shapes[name], generator=generator, device=device, dtype=dtype)
    return made


def poisoned(problem: Problem, device: torch.device) -> torch.Tensor:
    """A D[m, n] that holds nothing but NaN, so that an element never written is found."""
    return torch.full((problem.m, problem.n), float("nan"), dtype=torch_dtype(problem.out_dtype), device=device)


def call(problem: Problem, device: Device, operands: Operands, scratch: Scratch) -> Call:
    beside = {name: getattr(operands, name) for name in OPERANDS}
    return Call(problem, device, operands.a, operands.b, operands.d, scratch, **beside)


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
