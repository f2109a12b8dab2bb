"""What tiled families share: the order of tiles, and the run-time and compiled-in arguments of pointer kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

from ..access import VECTOR_BYTES, Accesses
from ..binary import Binary
from ..config import Config
from ..device import Device
from ..family import Call
from ..problem import DTYPES, Problem
from . import limits

SMALLEST_COPY_BYTES = 4  # of an asynchronous copy (cp.async)
TRITON_TYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


@triton.jit
def grouped(program, tiles_m, tiles_n, group_m):
    """(row, column) of the tile of a program: `group_m` rows of tiles are walked column by column."""
    group = program // (group_m * tiles_n)
    first = group * group_m
    height = tl.minimum(tiles_m - first, group_m)
    within = program % (group_m * tiles_n)
    return first + within % height, within // height


@dataclass(frozen=True, slots=True)
class Operands:
    """What a problem's operands are to the compiler."""

    problem: Problem
    accesses: Accesses

    def pointers(self) -> dict[str, str]:
        operand = "*" + TRITON_TYPES[DTYPES[self.problem.dtype].storage]
        return {"a": operand, "b": operand, "d": "*" + TRITON_TYPES[DTYPES[self.problem.out_dtype].storage]}


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
    return ordered(kernel, types, {**fixed, **constants}, divisible, config)


def ordered(
    kernel: Any, types: Mapping[str, str], constants: Mapping[str, Any], divisible: Mapping[str, int], config: Config
) -> Binary:
    names = kernel.arg_names
    return Binary(
        kernel,
        tuple((name, types[name]) for name in names if name in types),
        tuple((name, constants[name]) for name in names if name in constants),
        tuple((name, divisible[name]) for name in names if name in divisible),
        config.number("num_warps"),
        config.number("num_stages"),
    )


def run_time_strides(built: Binary, call: Call) -> list[int]:
    """The strides that were not compiled in, in the kernel's order."""
    strides = {
        "stride_am": call.a.stride(0), "stride_ak": call.a.stride(1),
        "stride_bk": call.b.stride(0), "stride_bn": call.b.stride(1),
        "stride_dm": call.d.stride(0), "stride_dn": call.d.stride(1),
    }  # fmt: skip
    return [strides[name] for name, _ in built.types if name in strides]


def pipelined_bytes(problem: Problem, device: Device, config: Config) -> int:
    """Shared memory of a block whose loads the compiler pipelines, in bytes.

    A ring of stages, one less where operands of a multiplication go through registers. An operand that cannot be
    copied 4 bytes at a time is not pipelined and takes one stage. Read off Triton 3.6 and 3.7; held against the
    compiler in the tests.
    """
    asynchronous = limits.asynchronous_mma(problem, device, config)
    stages = config.number("num_stages") - (0 if asynchronous else 1)
    size, accesses = DTYPES[problem.dtype].bytes, Accesses.dense(problem)
    total = 0
    for extent, access in (("block_m", accesses.a), ("block_n", accesses.b)):
        pipelined = access.aligned or size >= SMALLEST_COPY_BYTES
        total += (stages if pipelined else 1) * config.number(extent) * config.number("block_k") * size
    # The barrier that tells when tcgen05 is done.
    return total + (16 if asynchronous and device.capability >= 100 else 0)
