"""`warp_specialized`: some warps only load, others only multiply, and the tensor cores never wait for a store; sm_90.

A program stays on its multiprocessor and walks the tiles of D. One warp, the producer, asks TMA for tiles of A and B,
stage after stage of a ring in shared memory. Each consumer, a warp group of four warps, multiplies 64 rows of the tile
with the whole width of B's. Two barriers a stage keep them apart: `full` counts the bytes that arrived, `empty` the
consumers that are done with them. A consumer stores its rows slice by slice through a buffer of its own, while the
producer already loads for the next tile and the other consumer multiplies.

Written in Gluon: in plain Triton all warps of a program do the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from .. import fused
from ..access import Accesses
from ..binary import Binary
from ..config import Config
from ..device import MAX_REGISTERS_PER_THREAD, REGISTERS_PER_SM, Device
from ..family import Call, Family, Launch
from ..launch import bound
from ..problem import DTYPES, Problem
from ..space import Axis, Constraint
from . import limits, tiles
from . import tma as tma_limits
from .limits import cdiv

GROUP_ROWS = gl.constexpr(64)  # of a warp group's multiplication (wgmma)


@gluon.jit
def advance(stage, phase, STAGES: gl.constexpr):
    """The next stage of the ring; the phase flips when it has come round."""
    last = stage == STAGES - 1
    return gl.where(last, 0, stage + 1), gl.where(last, phase ^ 1, phase)


@gluon.jit
def columns_halved(tile):
    """The left and the right half of a tile that a warp group has multiplied; nothing moves."""
    left, right = tile.reshape([tile.shape[0], 2, tile.shape[1] // 2]).permute(0, 2, 1).split()
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, tile.shape[1] // 2, 16])
    return gl.convert_layout(left, layout, assert_trivial=True), gl.convert_layout(right, layout, assert_trivial=True)


@gluon.jit
def store_columns(d, tile, out, row, column, SLICES: gl.constexpr):
    """Stores a tile of D in so many slices of columns through one buffer, each before the next one needs it."""
    if SLICES == 1:
        tma.store_wait(0)
        out.store(tile.to(d.dtype))
        fence_async_shared()
        tma.async_copy_shared_to_global(d, [row, column], out)
    else:
        left, right = columns_halved(tile)
        store_columns(d, left, out, row, column, SLICES // 2)
        store_columns(d, right, out, row, column + left.shape[1], SLICES // 2)


@gluon.jit
def produce(
    a, b, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr
):
    """Loads the tiles of A and B, as fast as stages become empty."""
    STAGES: gl.constexpr = b_ring.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_M: gl.constexpr = CONSUMERS * GROUP_ROWS
    BLOCK_N: gl.constexpr = b_ring.shape[1] if B_TRANSPOSED else b_ring.shape[2]
    BLOCK_K: gl.constexpr = b_ring.shape[2] if B_TRANSPOSED else b_ring.shape[1]
    BYTES: gl.constexpr = (BLOCK_M + BLOCK_N) * BLOCK_K * (a.dtype.primitive_bitwidth // 8)
    tiles_m, tiles_n = gl.cdiv(m, BLOCK_M), gl.cdiv(n, BLOCK_N)
    stage = 0
    phase = 0
    for program in range(gl.program_id(0), tiles_m * tiles_n, gl.num_programs(0)):
        tile_m, tile_n = tiles.grouped(program, tiles_m, tiles_n, group_m)
        row, column = tile_m * BLOCK_M, tile_n * BLOCK_N
        for step in range(0, k, BLOCK_K):
            mbarrier.wait(empty.index(stage), phase ^ 1)
            arrived = full.index(stage)
            mbarrier.expect(arrived, BYTES)
            for part in gl.static_range(CONSUMERS):
                a_tile = a_ring.index(stage * CONSUMERS + part)
                if A_TRANSPOSED:
                    tma.async_copy_global_to_shared(a, [step, row + part * GROUP_ROWS], arrived, a_tile)
                else:
                    tma.async_copy_global_to_shared(a, [row + part * GROUP_ROWS, step], arrived, a_tile)
            if B_TRANSPOSED:
                tma.async_copy_global_to_shared(b, [column, step], arrived, b_ring.index(stage))
            else:
                tma.async_copy_global_to_shared(b, [step, column], arrived, b_ring.index(stage))
            stage, phase = advance(stage, phase, STAGES)


@gluon.jit
def consume(
    d, a_ring, b_ring, out, full, empty, m, n, k, group_m,
    PART: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
):  # fmt: skip
    """Multiplies and stores those 64 rows of each tile that are this consumer's."""
    STAGES: gl.constexpr = b_ring.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_M: gl.constexpr = CONSUMERS * GROUP_ROWS
    BLOCK_N: gl.constexpr = b_ring.shape[1] if B_TRANSPOSED else b_ring.shape[2]
    BLOCK_K: gl.constexpr = b_ring.shape[2] if B_TRANSPOSED else b_ring.shape[1]
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    tiles_m, tiles_n = gl.cdiv(m, BLOCK_M), gl.cdiv(n, BLOCK_N)
    stage = 0
    phase = 0
    for program in range(gl.program_id(0), tiles_m * tiles_n, gl.num_programs(0)):
        tile_m, tile_n = tiles.grouped(program, tiles_m, tiles_n, group_m)
        total = gl.zeros((GROUP_ROWS, BLOCK_N), gl.float32, layout)
        for step in range(0, k, BLOCK_K):
            a_tile = a_ring.index(stage * CONSUMERS + PART)
            b_tile = b_ring.index(stage)
            mbarrier.wait(full.index(stage), phase)
            total = warpgroup_mma(
                a_tile.permute((1, 0)) if A_TRANSPOSED else a_tile,
                b_tile.permute((1, 0)) if B_TRANSPOSED else b_tile,
                total,
                use_acc=step > 0,
                is_async=True,
            )
            # Keeping one multiplication in flight past the release of its stage is 0.5 to 2% slower (H200, 2026-11).
            total = warpgroup_mma_wait(0, deps=[total])
            mbarrier.arrive(empty.index(stage))
            stage, phase = advance(stage, phase, STAGES)
        row = tile_m * BLOCK_M + PART * GROUP_ROWS
        store_columns(d, total, out.index(PART), row, tile_n * BLOCK_N, BLOCK_N // d.block_shape[1])
    tma.store_wait(0)


@gluon.jit
def warp_specialized_kernel(
    a, b, d, m, n, k, group_m,
    CONSUMERS: gl.constexpr, STAGES: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
):  # fmt: skip
    a_ring = gl.allocate_shared_memory(a.dtype, [STAGES * CONSUMERS] + a.block_shape, a.layout)
    b_ring = gl.allocate_shared_memory(b.dtype, [STAGES] + b.block_shape, b.layout)
    out = gl.allocate_shared_memory(d.dtype, [CONSUMERS] + d.block_shape, d.layout)
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(STAGES):
        mbarrier.init(full.index(stage), count=1)
        mbarrier.init(empty.index(stage), count=CONSUMERS)
    fence_async_shared()
    # The tuples stand in the calls, for the compiler takes what has a name for a run-time value.
    if CONSUMERS == 1:
        gl.warp_specialize([
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 0, A_TRANSPOSED, B_TRANSPOSED)),
            (produce, (a, b, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
        ], [1], [40])  # fmt: skip
    elif CONSUMERS == 2:
        gl.warp_specialize([
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 0, A_TRANSPOSED, B_TRANSPOSED)),
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 1, A_TRANSPOSED, B_TRANSPOSED)),
            (produce, (a, b, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
        ], [4, 1], [232, 40])  # fmt: skip
    else:
        gl.warp_specialize([
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 0, A_TRANSPOSED, B_TRANSPOSED)),
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 1, A_TRANSPOSED, B_TRANSPOSED)),
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 2, A_TRANSPOSED, B_TRANSPOSED)),
            (produce, (a, b, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
        ], [4, 4, 1], [152, 152, 40])  # fmt: skip


GROUPS = (1, 4, 8, 12, 16)
AXES = (
    Axis("block_m", (64, 128, 192)),
    Axis("block_n", (64, 128, 256)),
    Axis("block_k", (64, 128)),
    Axis("group_m", GROUPS),
    Axis("num_stages", (2, 3, 4, 5, 6, 8)),
    Axis("store_slices", (1, 2, 4)),
)
WARPS = 4  # of a warp group
ROWS = 64  # of a consumer
SWIZZLE_BYTES = 128  # of the widest pattern in which shared memory is laid out for the tensor cores
# What the partitions are handed over, through shared memory, by the number of consumers; read off Triton 3.6 and 3.7.
HANDED_OVER_BYTES = {1: 116, 2: 152, 3: 156}


def consumers(config: Config) -> int:
    return config.number("block_m") // ROWS


def _layout(inner: int, dtype: str) -> gl.NVMMASharedLayout:
    """Of a tile in shared memory whose rows are `inner` elements."""
    size = DTYPES[dtype].bytes
    return gl.NVMMASharedLayout(min(SWIZZLE_BYTES, inner * size), 8 * size, 2)


def _blocks(problem: Problem, config: Config) -> tuple[list[int], list[int], list[int]]:
    """What one request to TMA moves of A, B and D, as they lie in memory, outer extent first."""
    block_n, block_k = config.number("block_n"), config.number("block_k")
    a = [block_k, ROWS] if problem.a_transposed else [ROWS, block_k]
    b = [block_n, block_k] if problem.b_transposed else [block_k, block_n]
    return a, b, [ROWS, block_n // config.number("store_slices")]


def _dtypes(problem: Problem) -> tuple[str, str, str]:
    return problem.dtype, problem.dtype, problem.out_dtype


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    types: dict[str, str] = {}
    for name, dtype, block in zip("abd", _dtypes(problem), _blocks(problem, config), strict=True):
        element = tiles.TRITON_TYPES[DTYPES[dtype].storage]
        types[name] = f"tensordesc<{element}{block},{_layout(block[1], dtype)!r}>"
    types.update(dict.fromkeys(("m", "n", "k", "group_m"), "i32"))
    constants: dict[str, Any] = {
        "CONSUMERS": consumers(config),
        "STAGES": config["num_stages"],
        "A_TRANSPOSED": problem.a_transposed,
        "B_TRANSPOSED": problem.b_transposed,
    }
    return Binary(warp_specialized_kernel, tuple(types.items()), tuple(constants.items()), (), WARPS, num_stages=1)


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    memory = (
        call.a.T if problem.a_transposed else call.a,
        call.b.T if problem.b_transposed else call.b,
        call.d,
    )
    described = [
        TensorDescriptor(matrix, list(matrix.shape), list(matrix.stride()), block, _layout(block[1], dtype))
        for matrix, dtype, block in zip(memory, _dtypes(problem), _blocks(problem, config), strict=True)
    ]
    grid = (min(limits.tile_count(problem, config), device.sm_count), 1, 1)
    arguments = (*described, *problem.shape, config["group_m"])
    return bound(built, device.capability, grid, arguments)


def shared_memory(problem: Problem, device: Device, config: Config) -> int:
    """Of a program, in bytes: the ring, a buffer for each consumer's stores, the barriers, what partitions are told."""
    stages = config.number("num_stages")
    out = limits.result_bytes(problem, config) // config.number("store_slices")
    full, empty = cdiv(8 * stages, 16) * 16, 8 * stages
    return stages * limits.operand_bytes(problem, config) + out + full + empty + HANDED_OVER_BYTES[consumers(config)]


def registers(config: Config) -> int:
    """The most that a thread may have: ptxas divides them evenly, the producer's warp counting as a group of four."""
    threads = (consumers(config) + 1) * WARPS * limits.WARP
    return min(MAX_REGISTERS_PER_THREAD, REGISTERS_PER_SM // threads // 8 * 8)


HOPPER = Constraint(
    "arch",
    "(distance of sm)",
    lambda problem, device, config: abs(device.capability - 90),
    lambda problem, device, config: 0,
    "it multiplies with wgmma, which Hopper (sm_90) alone has",
)
SIXTEEN_BIT = Constraint(
    "dtype",
    "bytes an operand",
    lambda problem, device, config: DTYPES[problem.dtype].bytes,
    lambda problem, device, config: 2,
    "wgmma takes operands of 16 bits in either order; of 32 bits it takes K-major ones alone",
)
ACCUMULATOR = Constraint(
    "accumulator",
    "registers a thread",
    lambda problem, device, config: config.number("block_n") * ROWS / (WARPS * limits.WARP),
    lambda problem, device, config: registers(config) - 31,
    f"fp32 rows of D, 31 kept for addresses; {limits.GUIDE}",
)
SLICES = Constraint(
    "store_slices",
    "slices",
    lambda problem, device, config: config.number("store_slices"),
    lambda problem, device, config: config.number("block_n") // 64,
    "a slice narrower than 64 columns makes no store cheaper",
)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """The tile that was ahead of cuBLAS on large bf16 shapes on an H200 (2026-11), cut down to the problem."""
    block_m = 128 if problem.m > 64 else 64
    block_n = min(256 if problem.m > 64 else 128, max(64, limits.next_power_of_2(problem.n)))
    group_m = 8 if problem.m > 7 * block_m else 1
    wide = DTYPES[problem.out_dtype].bytes == 4
    config = Config.of(
        "warp_specialized", block_m=block_m, block_n=block_n, block_k=64, group_m=group_m, num_stages=4,
        store_slices=block_n // 64 if wide else max(1, block_n // 128),
    )  # fmt: skip
    return (config, config.replace(block_n=min(128, block_n), store_slices=1, num_stages=5))


FAMILY = Family(
    name="warp_specialized",
    summary="persistent, a warp that loads and warp groups that multiply; sm_90 alone",
    axes=AXES,
    constraints=(
        fused.NONE,
        HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        tma_limits.ALIGNED,
        SIXTEEN_BIT,
        limits.fitting("block_m", "m", 64),
        limits.fitting("block_n", "n", 64),
        limits.grouping(GROUPS),
        ACCUMULATOR,
        SLICES,
        limits.shared_memory(shared_memory),
    ),
    defaults=defaults,
    binary=binary,
    refuses=tma_limits.refuses,
    bind=bind,
    sources=(Path(__file__), Path(tiles.__file__)),
)
