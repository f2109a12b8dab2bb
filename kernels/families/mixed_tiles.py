"""`mixed_tiles`: warp groups that all multiply, on tiles of two heights, so that every program gets equal work; sm_90.

A program stays on its multiprocessor and walks the tiles of D. Each consumer, a warp group of four warps, multiplies 64
rows of the tile with the whole width of B's. No warp is spared for loading: after it has begun a multiplication, the
first consumer asks TMA for the stage that all have left. Without a fourth group, three consumers have the registers
for 64 x 256 each, and a tile of 192 x 256 takes a sixth fewer bytes a multiplication than one of 128 x 256.

Tall tiles alone would leave many programs idle in the last round. The rows of D are cut into tall tiles and, at the
bottom, into short ones that lack the last consumer's 64 rows: as many as it takes for the busiest program to have the
least to multiply. At a short tile the last consumer only waits and lets go, for every stage counts all consumers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma, warpgroup_mma_wait

from .. import fused
from ..access import Accesses
from ..binary import Binary
from ..config import Config
from ..device import Device
from ..family import Call, Family, Launch
from ..launch import bound
from ..problem import DTYPES, Problem
from ..space import Axis
from . import heights, limits, ring, warp_groups
from . import tma as tma_limits
from .heights import count_tiles, place
from .ring import advance, barriers, copy_b_in, copy_in, joined
from .warp_groups import GROUPS, ROWS, begin_multiply, no_sum, store_product

GROUP_ROWS = gl.constexpr(ROWS)


@gluon.jit
def load(
    a, b, up, a_ring, b_ring, full, empty, stage, phase, row, column, step, is_tall,
    A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
):  # fmt: skip
    """Asks for one stage once all consumers have left it; for the last consumer's rows only where the tile is tall."""
    CONSUMERS: gl.constexpr = a_ring.shape[0] // full.shape[0]
    PRODUCTS: gl.constexpr = b_ring.shape[0] // full.shape[0]
    PART_BYTES: gl.constexpr = a_ring.shape[1] * a_ring.shape[2] * (a.dtype.primitive_bitwidth // 8)
    B_BYTES: gl.constexpr = PRODUCTS * b_ring.shape[1] * b_ring.shape[2] * (b.dtype.primitive_bitwidth // 8)
    arrived = full.index(stage)
    mbarrier.wait(empty.index(stage), phase ^ 1)
    if is_tall:
        mbarrier.expect(arrived, B_BYTES + CONSUMERS * PART_BYTES)
        last = a_ring.index(stage * CONSUMERS + CONSUMERS - 1)
        copy_in(a, row + (CONSUMERS - 1) * GROUP_ROWS, step, arrived, last, A_TRANSPOSED)
    else:
        mbarrier.expect(arrived, B_BYTES + (CONSUMERS - 1) * PART_BYTES)
    for part in gl.static_range(CONSUMERS - 1):
        copy_in(a, row + part * GROUP_ROWS, step, arrived, a_ring.index(stage * CONSUMERS + part), A_TRANSPOSED)
    copy_b_in(b, up, step, column, arrived, b_ring, stage, full.shape[0], B_TRANSPOSED)


@gluon.jit
def load_next(
    a, b, up, a_ring, b_ring, full, empty, m, n, k, group_m, tall, stage, phase, tile, step, row, column,
    BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, BLOCK_K: gl.constexpr,
    A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
):  # fmt: skip
    """Loads what the program needs next, if there is anything; returns where the load after it stands."""
    if tile < count_tiles(m, n, tall, BLOCK_M, BLOCK_N):
        if step == 0:
            row, column = place(tile, m, n, tall, group_m, BLOCK_M, BLOCK_N)
        is_tall = tile < tall * gl.cdiv(n, BLOCK_N)
        load(
            a, b, up, a_ring, b_ring, full, empty, stage, phase, row, column, step, is_tall, A_TRANSPOSED, B_TRANSPOSED
        )
        step += BLOCK_K
        if step >= k:
            step = 0
            tile += gl.num_programs(0)
    return tile, step, row, column


@gluon.jit
def lead(
    a, b, up, d, a_ring, b_ring, multiplied, out, full, empty, m, n, k, group_m, tall,
    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr, ACTIVATION: gl.constexpr, TURNED: gl.constexpr,
):  # fmt: skip
    """The first consumer: it loads, all stages but one ahead of what it multiplies."""
    STAGES: gl.constexpr = full.shape[0]
    PRODUCTS: gl.constexpr = b_ring.shape[0] // STAGES
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_M: gl.constexpr = CONSUMERS * GROUP_ROWS
    BLOCK_N: gl.constexpr = b_ring.shape[1] if B_TRANSPOSED else b_ring.shape[2]
    BLOCK_K: gl.constexpr = b_ring.shape[2] if B_TRANSPOSED else b_ring.shape[1]
    next_tile = gl.program_id(0)
    next_step = 0
    next_row = 0
    next_column = 0
    for ahead in gl.static_range(STAGES - 1):
        next_tile, next_step, next_row, next_column = load_next(
            a, b, up, a_ring, b_ring, full, empty, m, n, k, group_m, tall, ahead, 0,
            next_tile, next_step, next_row, next_column, BLOCK_M, BLOCK_N, BLOCK_K, A_TRANSPOSED, B_TRANSPOSED,
        )  # fmt: skip
    stage = 0
    phase = 0
    for tile in range(gl.program_id(0), count_tiles(m, n, tall, BLOCK_M, BLOCK_N), gl.num_programs(0)):
        total = no_sum(BLOCK_N * PRODUCTS, a_ring.dtype)
        for step in range(0, k, BLOCK_K):
            total = begin_multiply(
                a_ring.index(stage * CONSUMERS), multiplied.index(stage), full.index(stage), phase, total, step > 0,
                A_TRANSPOSED, B_TRANSPOSED,
            )  # fmt: skip
            # The stage before this one is being left. Before the ring's first one, that is its last, in the same round.
            next_tile, next_step, next_row, next_column = load_next(
                a, b, up, a_ring, b_ring, full, empty, m, n, k, group_m, tall,
                gl.where(stage == 0, STAGES - 1, stage - 1), gl.where(stage == 0, phase, phase ^ 1),
                next_tile, next_step, next_row, next_column, BLOCK_M, BLOCK_N, BLOCK_K, A_TRANSPOSED, B_TRANSPOSED,
            )  # fmt: skip
            total = warpgroup_mma_wait(0, deps=[total])
            mbarrier.arrive(empty.index(stage))
            stage, phase = advance(stage, phase, STAGES)
        row, column = place(tile, m, n, tall, group_m, BLOCK_M, BLOCK_N)
        store_product(
            d, total, out.index(0), row, column, m, n,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, ACTIVATION, PRODUCTS, TURNED,
        )  # fmt: skip
    tma.store_wait(0)


@gluon.jit
def follow(
    d, a_ring, multiplied, out, full, empty, m, n, k, group_m, tall,
    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    PART: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
    ACTIVATION: gl.constexpr, TURNED: gl.constexpr, PRODUCTS: gl.constexpr,
):  # fmt: skip
    """Another consumer: it multiplies and stores its rows of each tile. The last one has none in a short tile."""
    STAGES: gl.constexpr = full.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_M: gl.constexpr = CONSUMERS * GROUP_ROWS
    MULTIPLIED: gl.constexpr = multiplied.shape[1] if B_TRANSPOSED else multiplied.shape[2]
    BLOCK_N: gl.constexpr = MULTIPLIED // PRODUCTS
    BLOCK_K: gl.constexpr = multiplied.shape[2] if B_TRANSPOSED else multiplied.shape[1]
    count = count_tiles(m, n, tall, BLOCK_M, BLOCK_N)
    busy_count = tall * gl.cdiv(n, BLOCK_N) if PART == CONSUMERS - 1 else count
    stage = 0
    phase = 0
    for tile in range(gl.program_id(0), count, gl.num_programs(0)):
        if tile < busy_count:
            total = no_sum(MULTIPLIED, a_ring.dtype)
            for step in range(0, k, BLOCK_K):
                total = begin_multiply(
                    a_ring.index(stage * CONSUMERS + PART), multiplied.index(stage), full.index(stage), phase, total,
                    step > 0, A_TRANSPOSED, B_TRANSPOSED,
                )  # fmt: skip
                total = warpgroup_mma_wait(0, deps=[total])
                mbarrier.arrive(empty.index(stage))
                stage, phase = advance(stage, phase, STAGES)
            row, column = place(tile, m, n, tall, group_m, BLOCK_M, BLOCK_N)
            store_product(
                d, total, out.index(PART), row + PART * GROUP_ROWS, column, m, n,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, ACTIVATION, PRODUCTS, TURNED,
            )  # fmt: skip
        else:
            # It waits like the others: by parity alone, a barrier is told apart from itself one round later only.
            for _step in range(0, k, BLOCK_K):
                mbarrier.wait(full.index(stage), phase)
                mbarrier.arrive(empty.index(stage))
                stage, phase = advance(stage, phase, STAGES)
    tma.store_wait(0)


@gluon.jit
def mixed_tiles_kernel(
    a, b, d, m, n, k, group_m, tall, up, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    CONSUMERS: gl.constexpr, STAGES: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
    ACTIVATION: gl.constexpr, TURNED: gl.constexpr,
):  # fmt: skip
    """`TURNED`, it multiplies D transposed: B is what its rows are cut from, and both are transposed the other way."""
    PRODUCTS: gl.constexpr = 1 if up is None else 2
    if TURNED:
        a, b, m, n = b, a, n, m
    a_ring = gl.allocate_shared_memory(a.dtype, [STAGES * CONSUMERS] + a.block_shape, a.layout)
    b_ring = gl.allocate_shared_memory(b.dtype, [STAGES * PRODUCTS] + b.block_shape, b.layout)
    multiplied = joined(b_ring, up, STAGES, B_TRANSPOSED)
    out = gl.allocate_shared_memory(d.dtype, [CONSUMERS] + d.block_shape, d.layout)
    full, empty = barriers(STAGES, CONSUMERS)
    # The tuples stand in the calls, for the compiler takes what has a name for a run-time value.
    if CONSUMERS == 2:
        gl.warp_specialize([
            (lead, (
                a, b, up, d, a_ring, b_ring, multiplied, out, full, empty, m, n, k, group_m, tall,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, TURNED,
            )),
            (follow, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m, tall,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, 1,
                A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, TURNED, PRODUCTS,
            )),
        ], [4], [240])  # fmt: skip
    else:
        gl.warp_specialize([
            (lead, (
                a, b, up, d, a_ring, b_ring, multiplied, out, full, empty, m, n, k, group_m, tall,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, TURNED,
            )),
            (follow, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m, tall,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, 1,
                A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, TURNED, PRODUCTS,
            )),
            (follow, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m, tall,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, 2,
                A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, TURNED, PRODUCTS,
            )),
        ], [4, 4], [168, 168])  # fmt: skip


AXES = (
    Axis("block_m", (128, 192)),  # of a tall tile
    Axis("block_n", (128, 256)),
    Axis("block_k", (64, 128)),
    Axis("group_m", GROUPS),
    Axis("num_stages", (2, 3, 4, 5, 6)),
    Axis("store_slices", (1, 2, 4)),
)
INTEGERS: Final = ("m", "n", "k", "group_m", "tall")
# What the partitions are handed over, through shared memory, by the number of consumers; read off Triton 3.6 and 3.7.
HANDED_OVER_BYTES = {2: 132, 3: 136}
OPERAND_WORDS = {"scale": 1, "row_scale": 1, "column_scale": 1, "bias": 1, "residual": 2}


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    return warp_groups.built(mixed_tiles_kernel, problem, config, accesses, integers=INTEGERS, others={"TURNED": False})


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    tall = heights.tall_rows(problem, device, config)
    grid = (min(heights.tile_count(problem, device, config), device.sm_count), 1, 1)
    arguments = warp_groups.arguments(call, config, *problem.shape, config.number("group_m"), tall)
    return bound(built, device.capability, grid, arguments)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """The tile that was ahead of cuBLAS on large bf16 shapes on an H200 (2026-11), and one of two consumers."""
    wide = DTYPES[problem.out_dtype].bytes == 4
    slices = (4 if wide else 2) // problem.products  # a tile of two products has half the columns to store
    two = Config.of(
        "mixed_tiles", block_m=128, block_n=256, block_k=limits.step(problem), group_m=8 if problem.m > 1024 else 1,
        num_stages=4, store_slices=slices,
    )  # fmt: skip
    # With 168 registers a thread an epilogue spills beside half a tile, a residual or erf beside a quarter, and scales
    # of sums that are converted first beside half of a smaller one.
    tall = two.replace(block_m=192, num_stages=3, group_m=12 if problem.m > 1536 else 8 if problem.m > 1024 else 1)
    if problem.epilogue:
        tall = tall.replace(store_slices=4 // problem.products)
    if problem.dtype == "int8" and "row_scale" in problem.epilogue_operands:
        two = two.replace(store_slices=4 // problem.products)
    spills = problem.epilogue != "" and (wide or "residual" in problem.epilogue_operands)
    return (tall, two) if problem.m > 1024 and not spills else (two, tall)


FAMILY = Family(
    name="mixed_tiles",
    summary="persistent, warp groups that all multiply, tiles of two heights; sm_90 alone",
    axes=AXES,
    constraints=(
        warp_groups.HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        tma_limits.ALIGNED,
        warp_groups.OPERANDS,
        warp_groups.UNPROMOTED,
        warp_groups.PANEL,
        limits.fitting("block_n", "n", 128),
        heights.HEIGHT,
        limits.grouping(GROUPS),
        warp_groups.SLICES,
        warp_groups.shared_memory(HANDED_OVER_BYTES, OPERAND_WORDS),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: tma_limits.refuses(call, config) or fused.refuses(call),
    bind=bind,
    sources=tuple(Path(file) for file in (__file__, heights.__file__, *ring.SOURCES)),
    deterministic=lambda problem, config: True,
)
