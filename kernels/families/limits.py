"""Limits that families share: what a device, a problem or the compiler imposes on a tiled kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..config import Config
from ..device import MAX_REGISTERS_PER_THREAD, REGISTERS_PER_SM, Device
from ..problem import DTYPES, MAX_EXTENT, Problem
from ..space import Constraint

WARP: Final = 32
SM_RESERVED_BYTES: Final = 1024  # of shared memory, for each resident block
GUIDE: Final = "CUDA C++ Programming Guide, technical specifications per compute capability"


def cdiv(a: int, b: int) -> int:
    return -(-a // b)


def next_power_of_2(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()


def tile_columns(problem: Problem, config: Config) -> int:
    """Of D in a tile: all that are multiplied at once, or where there are two products, half of them."""
    return config.number("block_n") // problem.products


def tile_count(problem: Problem, config: Config) -> int:
    return cdiv(problem.m, config.number("block_m")) * cdiv(problem.n, tile_columns(problem, config))


def multiplies_on_tensor_cores(problem: Problem) -> bool:
    """IEEE fp32 alone is multiplied by ordinary fused multiply-adds."""
    return DTYPES[problem.dtype].bytes <= 2 or DTYPES[problem.dtype].precision == "tf32"


NON_EMPTY = Constraint(
    "extents",
    "zero extents",
    lambda problem, device, config: sum(extent == 0 for extent in problem.shape),
    lambda problem, device, config: 0,
    "an empty product has nothing to tune; the library serves it",
)

FP8 = Constraint(
    "dtype_arch",
    "(needed sm)",
    lambda problem, device, config: 89 if DTYPES[problem.dtype].storage.startswith("float8") else 0,
    lambda problem, device, config: device.capability,
    "tensor cores multiply fp8 from Ada (sm_89) on",
)

EXTENT = Constraint(
    "extent",
    "elements",
    lambda problem, device, config: max(problem.shape),
    lambda problem, device, config: MAX_EXTENT - 1024,
    "row and column numbers are 32-bit, up to one tile past the end",
)

ACCUMULATOR = Constraint(
    "accumulator",
    "registers a thread",
    lambda problem, device, config: (
        config.number("block_m") * config.number("block_n") / (config.number("num_warps") * WARP)
    ),
    lambda problem, device, config: (
        min(MAX_REGISTERS_PER_THREAD, REGISTERS_PER_SM // (config.number("num_warps") * WARP)) - 31
    ),
    f"fp32 tile of D, 31 kept for addresses; {GUIDE}",
)

FMA_UNROLL = Constraint(
    "fma_unroll",
    "multiply-adds a thread",
    lambda problem, device, config: (
        0
        if multiplies_on_tensor_cores(problem)
        else config.number("block_m")
        * config.number("block_n")
        * config.number("block_k")
        / (config.number("num_warps") * WARP)
    ),
    lambda problem, device, config: 2048,
    "IEEE fp32 has no tensor core: the whole tile is unrolled, and beyond this compilation takes minutes",
)


def fitting(axis: str, extent: str, smallest: int) -> Constraint:
    """The tile is not larger than the extent that it covers, rounded up to a power of two."""
    return Constraint(
        axis,
        "elements",
        lambda problem, device, config: config.number(axis),
        lambda problem, device, config: max(
            smallest, next_power_of_2(getattr(problem, extent) * (problem.products if extent == "n" else 1))
        ),
        f"a tile larger than {extent} multiplies zeros",
    )


def grouping(values: tuple[int, ...]) -> Constraint:
    """The first of `values` that holds all rows of tiles is the last that orders the tiles in a way of its own."""
    return Constraint(
        "group_m",
        "rows of tiles",
        lambda problem, device, config: config.number("group_m"),
        lambda problem, device, config: next(
            (value for value in values if value >= cdiv(problem.m, config.number("block_m"))), values[-1]
        ),
        "more rows than there are order the tiles no other way",
    )


def at_least(capability: int, why: str) -> Constraint:
    """The device has at least this compute capability (90 for 9.0)."""
    return Constraint(
        "arch",
        "(needed sm)",
        lambda problem, device, config: capability,
        lambda problem, device, config: device.capability,
        why,
    )


def step(problem: Problem) -> int:
    """Of k, where nothing speaks for another: 64, and of operands of one byte, a row of shared memory (128)."""
    return 128 if DTYPES[problem.dtype].bytes == 1 else 64


def operand_bytes(problem: Problem, config: Config) -> int:
    """Shared memory of one stage: a tile of A and a tile of B, or half a tile each of B and of `up`."""
    extent = config.number("block_m") + config.number("block_n")
    return extent * config.number("block_k") * DTYPES[problem.dtype].bytes


def result_bytes(problem: Problem, config: Config) -> int:
    """A tile of D as it is stored."""
    return config.number("block_m") * tile_columns(problem, config) * DTYPES[problem.out_dtype].bytes


def asynchronous_mma(problem: Problem, device: Device, config: Config) -> bool:
    """Whether Triton multiplies with wgmma (sm_90) or tcgen05 (sm_100): operands then stay in shared memory.

    Source: Triton's AccelerateMatmul pass: 64 rows or more, whole warp groups.
    """
    if not 90 <= device.capability < 120 or not multiplies_on_tensor_cores(problem):
        return False
    return config.number("block_m") >= 64 and config.number("num_warps") % 4 == 0


def shared_memory(amount: Callable[[Problem, Device, Config], float]) -> Constraint:
    """The block's shared memory, as `amount(problem, device, config)` predicts it, is what the device gives."""
    return Constraint(
        "shared_memory",
        "bytes",
        amount,
        lambda problem, device, config: device.shared_memory_bytes,
        GUIDE,
    )
