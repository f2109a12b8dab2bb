"""What tiled families share: the order of tiles, and the run-time and compiled-in arguments of pointer kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

from .. import fused
from ..access import VECTOR_BYTES, Access, Accesses
from ..binary import Binary
from ..config import Config
from ..device import Device
from ..family import Call
from ..problem import DTYPES, PROMOTED, Problem
from . import limits

PROMOTED_AFTER = tl.constexpr(PROMOTED)
SMALLEST_COPY_BYTES = 4  # of an asynchronous copy (cp.async)
TRITON_TYPES = {
    "bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float8_e4m3fn": "fp8e4nv", "float8_e5m2": "fp8e5",
    "int8": "i8",
}  # fmt: skip


@triton.jit
def grouped(program, tiles_m, tiles_n, group_m):
    """(row, column) of the tile of a program: `group_m` rows of tiles are walked column by column."""
    group = program // (group_m * tiles_n)
    first = group * group_m
    height = tl.minimum(tiles_m - first, group_m)
    within = program % (group_m * tiles_n)
    return first + within % height, within // height


@triton.jit
def nothing(BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, OPERAND: tl.constexpr):
    """An accumulator of zeros for operands of that type."""
    return tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.int32 if tl.int8 == OPERAND else tl.float32)


@triton.jit
def multiply(a_tile, b_tile, total, PRECISION: tl.constexpr):
    """total + a_tile @ b_tile. `PRECISION` is that of a dtype in `problem.py`."""
    if PRECISION == "promoted":
        STEPS: tl.constexpr = a_tile.shape[1] if a_tile.shape[1] < PROMOTED_AFTER else PROMOTED_AFTER
        total = tl.dot(a_tile, b_tile, total, max_num_imprecise_acc=STEPS)
    else:
        total = tl.dot(a_tile, b_tile, total, input_precision=PRECISION, out_dtype=total.dtype)
    return total


@triton.jit
def last_to_arrive(total, partials, counters, tile, part, split):
    """Leaves a program's part of a tile in scratch memory; whether all others are there. Only a counter is atomic."""
    AREA: tl.constexpr = total.shape[0] * total.shape[1]
    within = tl.arange(0, total.shape[0])[:, None] * total.shape[1] + tl.arange(0, total.shape[1])[None, :]
    slot = partials + tile.to(tl.int64) * split * AREA + within
    # What is summed in int32 keeps its bits.
    tl.store(slot + part * AREA, total.to(tl.float32, bitcast=True), cache_modifier=".cg")
    # Every thread's part of the tile is stored before one thread counts this program in.
    tl.debug_barrier()
    return tl.atomic_add(counters + tile, 1, sem="acq_rel") == split - 1


@triton.jit
def in_order(total, partials, counters, tile, split):
    """The sum of all parts of a tile in the order of k; the counter is at 0 again."""
    AREA: tl.constexpr = total.shape[0] * total.shape[1]
    within = tl.arange(0, total.shape[0])[:, None] * total.shape[1] + tl.arange(0, total.shape[1])[None, :]
    slot = partials + tile.to(tl.int64) * split * AREA + within
    found = tl.zeros_like(total)
    for earlier in range(split):
        found += tl.load(slot + earlier * AREA, cache_modifier=".cg").to(total.dtype, bitcast=True)
    tl.store(counters + tile, 0)
    return found


@dataclass(frozen=True, slots=True)
class Operands:
    """What a problem's operands are to the compiler."""

    problem: Problem
    accesses: Accesses

    def pointers(self) -> dict[str, str]:
        operand = "*" + TRITON_TYPES[DTYPES[self.problem.dtype].storage]
        return {"a": operand, "b": operand, "d": "*" + TRITON_TYPES[DTYPES[self.problem.out_dtype].storage]}

    def paired(self) -> tuple[dict[str, str], dict[str, Any], dict[str, int]]:
        """Types, constants and divisors of `up` where a kernel has it as a parameter."""
        if self.problem.products == 1:
            return {}, {"up": None}, {}
        aligned = self.accesses.b.aligned and self.accesses.b.unit is not None
        return {"up": self.pointers()["b"]}, {}, {"up": VECTOR_BYTES} if aligned else {}


def pointer_binary(
    kernel: Any, operands: Operands, constants: Mapping[str, Any], config: Config, *, types: Mapping[str, str]
) -> Binary:
    """The binary of a kernel with pointers a, b, d, extents m, n, k and strides stride_am ... stride_dn.

    Unit strides are compiled in, and that the others fill whole vectors is promised where they do; nothing else about
    the shape is. `types` are the kernel's other run-time parameters.
    """
    problem, accesses = operands.problem, operands.accesses
    in_vector = VECTOR_BYTES // DTYPES[problem.dtype].bytes
    out_vector = VECTOR_BYTES // DTYPES[problem.out_dtype].bytes
    types = {**operands.pointers(), **dict.fromkeys("mnk", "i32"), **types}
    fixed: dict[str, Any] = {}
    divisible: dict[str, int] = {}
    for name, extents, access, vector in (
        ("a", "mk", accesses.a, in_vector),
        ("b", "kn", accesses.b, in_vector),
        ("d", "mn", accesses.d, out_vector),
    ):
        for axis in (0, 1):
            stride = f"stride_{name}{extents[axis]}"
            if access.unit == axis:
                fixed[stride] = 1
                continue
            types[stride] = "i64"
            if access.aligned:
                divisible[stride] = vector
        if access.aligned and access.unit is not None:
            divisible[name] = VECTOR_BYTES
            extent = extents[access.unit]
            divisible[extent] = max(vector, divisible.get(extent, 1))
    extra = fused.parameters(problem, accesses, operands.pointers()["d"][1:])
    up_types, up_constants, up_divisible = operands.paired()
    types = {**types, **up_types, **extra.types}
    constants = {**fixed, **constants, **up_constants, **extra.constants}
    divisible.update(up_divisible)
    return ordered(kernel, types, constants, {**extra.divisible, **divisible}, config)


def ordered(
    kernel: Any, types: Mapping[str, str], constants: Mapping[str, Any], divisible: Mapping[str, int], config: Config
) -> Binary:
    names = kernel.arg_names
    if missing := [name for name in names if name not in types and name not in constants]:
        raise ValueError(f"{kernel.__name__} lacks {', '.join(missing)}: give each parameter a type or a value")
    return Binary(
        kernel,
        tuple((name, types[name]) for name in names if name in types),
        tuple((name, constants[name]) for name in names if name in constants),
        tuple((name, divisible[name]) for name in names if name in divisible),
        config.number("num_warps"),
        config.number("num_stages"),
    )


def run_time_strides(built: Binary, call: Call) -> list[int]:
    """The strides that were not compiled in, in the kernel's order; `up` has those of B."""
    strides = {
        "stride_am": call.a.stride(0), "stride_ak": call.a.stride(1),
        "stride_bk": call.b.stride(0), "stride_bn": call.b.stride(1),
        "stride_dm": call.d.stride(0), "stride_dn": call.d.stride(1),
    }  # fmt: skip
    return [strides[name] for name, _ in built.types if name in strides]


def default_warps(problem: Problem) -> int:
    """Twice as many where an operand is loaded element by element: with four, its addresses spill hundreds of bytes."""
    accesses = Accesses.dense(problem)
    return 4 if accesses.a.aligned and accesses.b.aligned else 8


def pipelined_bytes(problem: Problem, device: Device, config: Config) -> int:
    """Shared memory of a block whose loads the compiler pipelines, in bytes: a ring of buffers for each operand.

    The tile of D leaves through the same memory: where the rings are smaller than that tile, the compiler takes up to
    the tile. Read off Triton 3.6 and 3.7; held against the compiler in the tests.
    """
    accesses = Accesses.dense(problem)
    buffer_a, buffer_b = (config.number(axis) * config.number("block_k") for axis in ("block_m", "block_n"))
    count_a = _buffers(problem, device, config, access=accesses.a)
    count_b = _buffers(problem, device, config, access=accesses.b)
    barrier = 0
    if _tcgen05(problem, device, config):
        barrier = 16  # tells when the multiplication is done
        if _through_tensor_memory(problem, config, accesses.a):
            count_a -= 1 if _pipelined(problem, accesses.a) else 2
    return (count_a * buffer_a + count_b * buffer_b) * DTYPES[problem.dtype].bytes + barrier


def _buffers(problem: Problem, device: Device, config: Config, *, access: Access) -> int:
    """How many tiles of an operand are in shared memory at once: a stage each, one less where they go on to registers.

    An operand that is not pipelined takes one, or two where tcgen05 reads it.
    """
    if _pipelined(problem, access):
        return config.number("num_stages") - (0 if limits.asynchronous_mma(problem, device, config) else 1)
    return 2 if _tcgen05(problem, device, config) else 1


def _tcgen05(problem: Problem, device: Device, config: Config) -> bool:
    return device.capability >= 100 and limits.asynchronous_mma(problem, device, config)


def _pipelined(problem: Problem, access: Access) -> bool:
    """What cannot be copied 4 bytes at a time is not."""
    return access.aligned or DTYPES[problem.dtype].bytes >= SMALLEST_COPY_BYTES


def _through_tensor_memory(problem: Problem, config: Config, a: Access) -> bool:
    """Whether A goes through registers into the tensor memory of sm_100: stored as columns, not aligned, 128 rows or
    more, and of 16 bits a row a thread."""
    rows = config.number("block_m")
    fitting = DTYPES[problem.dtype].bytes == 4 or rows == limits.WARP * config.number("num_warps")
    return a.unit == 0 and not a.aligned and rows >= 128 and fitting
