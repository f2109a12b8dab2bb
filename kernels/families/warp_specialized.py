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

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier, tma, warpgroup_mma_wait

from .. import fused
from ..access import Accesses
from ..binary import Binary
from ..config import Config
from ..device import Device
from ..family import Call, Family, Launch
from ..launch import bound
from ..problem import DTYPES, Problem
from ..space import Axis
from . import limits, promotion, tiles, warp_groups
from . import tma as tma_limits
from .promotion import sum_promoted
from .warp_groups import GROUPS, advance, begin_multiply, copy_in, no_sum, store_columns

GROUP_ROWS = gl.constexpr(warp_groups.ROWS)


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
                copy_in(a, row + part * GROUP_ROWS, step, arrived, a_tile, A_TRANSPOSED)
            copy_in(b, step, column, arrived, b_ring.index(stage), B_TRANSPOSED)
            stage, phase = advance(stage, phase, STAGES)


@gluon.jit
def consume(
    d, a_ring, b_ring, out, full, empty, m, n, k, group_m,
    PART: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr, PROMOTED: gl.constexpr,
):  # fmt: skip
    """Multiplies and stores those 64 rows of each tile that are this consumer's."""
    STAGES: gl.constexpr = b_ring.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_M: gl.constexpr = CONSUMERS * GROUP_ROWS
    BLOCK_N: gl.constexpr = b_ring.shape[1] if B_TRANSPOSED else b_ring.shape[2]
    BLOCK_K: gl.constexpr = b_ring.shape[2] if B_TRANSPOSED else b_ring.shape[1]
    tiles_m, tiles_n = gl.cdiv(m, BLOCK_M), gl.cdiv(n, BLOCK_N)
    stage = 0
    phase = 0
    for program in range(gl.program_id(0), tiles_m * tiles_n, gl.num_programs(0)):
        tile_m, tile_n = tiles.grouped(program, tiles_m, tiles_n, group_m)
        if PROMOTED:
            total, stage, phase = sum_promoted(a_ring, b_ring, full, empty, stage, phase, k, PART)
        else:
            total = no_sum(BLOCK_N, a_ring.dtype)
            for step in range(0, k, BLOCK_K):
                a_tile = a_ring.index(stage * CONSUMERS + PART)
                total = begin_multiply(
                    a_tile, b_ring.index(stage), full.index(stage), phase, total, step > 0, A_TRANSPOSED, B_TRANSPOSED
                )
                # Keeping one multiplication in flight past the release of its stage costs 0.5 to 2% (H200, 2026-11).
                total = warpgroup_mma_wait(0, deps=[total])
                mbarrier.arrive(empty.index(stage))
                stage, phase = advance(stage, phase, STAGES)
        row = tile_m * BLOCK_M + PART * GROUP_ROWS
        store_columns(d, total.to(gl.float32), out.index(PART), row, tile_n * BLOCK_N, BLOCK_N // d.block_shape[1])
    tma.store_wait(0)


@gluon.jit
def warp_specialized_kernel(
    a, b, d, m, n, k, group_m,
    CONSUMERS: gl.constexpr, STAGES: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
    PROMOTED: gl.constexpr,
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
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 0, A_TRANSPOSED, B_TRANSPOSED, PROMOTED)),
            (produce, (a, b, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
        ], [1], [40])  # fmt: skip
    elif CONSUMERS == 2:
        gl.warp_specialize([
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 0, A_TRANSPOSED, B_TRANSPOSED, PROMOTED)),
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 1, A_TRANSPOSED, B_TRANSPOSED, PROMOTED)),
            (produce, (a, b, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
        ], [4, 1], [232, 40])  # fmt: skip
    else:
        gl.warp_specialize([
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 0, A_TRANSPOSED, B_TRANSPOSED, PROMOTED)),
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 1, A_TRANSPOSED, B_TRANSPOSED, PROMOTED)),
            (consume, (d, a_ring, b_ring, out, full, empty, m, n, k, group_m, 2, A_TRANSPOSED, B_TRANSPOSED, PROMOTED)),
            (produce, (a, b, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
        ], [4, 4, 1], [152, 152, 40])  # fmt: skip


AXES = (
    Axis("block_m", (64, 128, 192)),
    Axis("block_n", (64, 128, 256)),
    Axis("block_k", (64, 128)),
    Axis("group_m", GROUPS),
    Axis("num_stages", (2, 3, 4, 5, 6, 8)),
    Axis("store_slices", (1, 2, 4)),
)
# What the partitions are handed over, through shared memory, by the number of consumers; read off Triton 3.6 and 3.7.
HANDED_OVER_BYTES = {1: 116, 2: 152, 3: 156}


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    promoted = {"PROMOTED": DTYPES[problem.dtype].precision == "promoted"}
    return warp_groups.built(warp_specialized_kernel, problem, config, ("m", "n", "k", "group_m"), promoted)


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    grid = (min(limits.tile_count(problem, config), device.sm_count), 1, 1)
    arguments = (*warp_groups.descriptors(call, config), *problem.shape, config["group_m"])
    return bound(built, device.capability, grid, arguments)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """The tile that was ahead of cuBLAS on large bf16 shapes on an H200 (2026-11), cut down to the problem."""
    block_m = 128 if problem.m > 64 else 64
    block_n = min(256 if problem.m > 64 else 128, max(64, limits.next_power_of_2(problem.n)))
    group_m = 8 if problem.m > 7 * block_m else 1
    wide = DTYPES[problem.out_dtype].bytes == 4
    config = Config.of(
        "warp_specialized", block_m=block_m, block_n=block_n, block_k=limits.step(problem), group_m=group_m,
        num_stages=4, store_slices=block_n // 64 if wide else max(1, block_n // 128),
    )  # fmt: skip
    return (config, config.replace(block_n=min(128, block_n), store_slices=1, num_stages=5))


FAMILY = Family(
    name="warp_specialized",
    summary="persistent, a warp that loads and warp groups that multiply; sm_90 alone",
    axes=AXES,
    constraints=(
        fused.NONE,
        warp_groups.HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        tma_limits.ALIGNED,
        warp_groups.OPERANDS,
        limits.fitting("block_m", "m", 64),
        limits.fitting("block_n", "n", 64),
        limits.grouping(GROUPS),
        warp_groups.accumulator(others=1),
        warp_groups.SLICES,
        warp_groups.shared_memory(HANDED_OVER_BYTES),
    ),
    defaults=defaults,
    binary=binary,
    refuses=tma_limits.refuses,
    bind=bind,
    sources=(Path(__file__), Path(warp_groups.__file__), Path(promotion.__file__), Path(tiles.__file__)),
)
