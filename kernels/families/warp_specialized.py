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
from . import limits, promotion, ring, tiles, warp_groups
from . import tma as tma_limits
from .promotion import sum_promoted
from .ring import advance, barriers, joined, produce
from .warp_groups import GROUPS, OPERAND_WORDS, begin_multiply, no_sum, store_product

GROUP_ROWS = gl.constexpr(warp_groups.ROWS)


@gluon.jit
def consume(
    d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    PART: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
    ACTIVATION: gl.constexpr, PRODUCTS: gl.constexpr, PROMOTED: gl.constexpr,
):  # fmt: skip
    """Multiplies and stores those 64 rows of each tile that are this consumer's."""
    STAGES: gl.constexpr = full.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_M: gl.constexpr = CONSUMERS * GROUP_ROWS
    MULTIPLIED: gl.constexpr = multiplied.shape[1] if B_TRANSPOSED else multiplied.shape[2]
    BLOCK_N: gl.constexpr = MULTIPLIED // PRODUCTS
    BLOCK_K: gl.constexpr = multiplied.shape[2] if B_TRANSPOSED else multiplied.shape[1]
    tiles_m, tiles_n = gl.cdiv(m, BLOCK_M), gl.cdiv(n, BLOCK_N)
    stage = 0
    phase = 0
    for program in range(gl.program_id(0), tiles_m * tiles_n, gl.num_programs(0)):
        tile_m, tile_n = tiles.grouped(program, tiles_m, tiles_n, group_m)
        if PROMOTED:
            total, stage, phase = sum_promoted(a_ring, multiplied, full, empty, stage, phase, k, PART)
        else:
            total = no_sum(MULTIPLIED, a_ring.dtype)
            for step in range(0, k, BLOCK_K):
                total = begin_multiply(
                    a_ring.index(stage * CONSUMERS + PART), multiplied.index(stage), full.index(stage), phase, total,
                    step > 0, A_TRANSPOSED, B_TRANSPOSED,
                )  # fmt: skip
                # Keeping one multiplication in flight past the release of its stage costs 0.5 to 2% (H200, 2026-11).
                total = warpgroup_mma_wait(0, deps=[total])
                mbarrier.arrive(empty.index(stage))
                stage, phase = advance(stage, phase, STAGES)
        row = tile_m * BLOCK_M + PART * GROUP_ROWS
        store_product(
            d, total, out.index(PART), row, tile_n * BLOCK_N, m, n,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            ACTIVATION, PRODUCTS,
        )  # fmt: skip
    tma.store_wait(0)


@gluon.jit
def warp_specialized_kernel(
    a, b, d, m, n, k, group_m, up, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    CONSUMERS: gl.constexpr, STAGES: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
    ACTIVATION: gl.constexpr, PROMOTED: gl.constexpr,
):  # fmt: skip
    PRODUCTS: gl.constexpr = 1 if up is None else 2
    a_ring = gl.allocate_shared_memory(a.dtype, [STAGES * CONSUMERS] + a.block_shape, a.layout)
    b_ring = gl.allocate_shared_memory(b.dtype, [STAGES * PRODUCTS] + b.block_shape, b.layout)
    multiplied = joined(b_ring, up, STAGES, B_TRANSPOSED)
    out = gl.allocate_shared_memory(d.dtype, [CONSUMERS] + d.block_shape, d.layout)
    full, empty = barriers(STAGES, CONSUMERS)
    # The tuples stand in the calls, for the compiler takes what has a name for a run-time value.
    if CONSUMERS == 1:
        gl.warp_specialize([
            (consume, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                0, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, PRODUCTS, PROMOTED,
            )),
            (produce, (a, b, up, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
        ], [1], [40])  # fmt: skip
    elif CONSUMERS == 2:
        gl.warp_specialize([
            (consume, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                0, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, PRODUCTS, PROMOTED,
            )),
            (consume, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                1, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, PRODUCTS, PROMOTED,
            )),
            (produce, (a, b, up, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
        ], [4, 1], [232, 40])  # fmt: skip
    else:
        gl.warp_specialize([
            (consume, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                0, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, PRODUCTS, PROMOTED,
            )),
            (consume, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                1, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, PRODUCTS, PROMOTED,
            )),
            (consume, (
                d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                2, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, PRODUCTS, PROMOTED,
            )),
            (produce, (a, b, up, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
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
    integers = ("m", "n", "k", "group_m")
    return warp_groups.built(
        warp_specialized_kernel, problem, config, accesses, integers=integers, others=promoted
    )  # fmt: skip


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    grid = (min(limits.tile_count(problem, config), device.sm_count), 1, 1)
    arguments = warp_groups.arguments(call, config, *problem.shape, config.number("group_m"))
    return bound(built, device.capability, grid, arguments)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """The tile that was ahead of cuBLAS on large bf16 shapes on an H200 (2026-11), cut down to the problem."""
    block_m = 128 if problem.m > 64 else 64
    block_n = min(256 if problem.m > 64 else 128, max(64, limits.next_power_of_2(problem.n)))
    group_m = 8 if problem.m > 7 * block_m else 1
    # A tile of two products has half the columns to store, and as many as a slice has at least.
    block_n = max(64 * problem.products, block_n)
    columns = block_n // problem.products
    slices = columns // 64 if DTYPES[problem.out_dtype].bytes == 4 else max(1, columns // 128)
    config = Config.of(
        "warp_specialized", block_m=block_m, block_n=block_n, block_k=limits.step(problem), group_m=group_m,
        num_stages=4, store_slices=slices,
    )  # fmt: skip
    narrow = config.replace(block_n=min(128, block_n), store_slices=1, num_stages=5)
    if DTYPES[problem.dtype].precision == "promoted":  # of 256 columns, sums and totals together are too many registers
        return (narrow, config.replace(store_slices=max(1, columns // 64)))
    return (config, narrow)


FAMILY = Family(
    name="warp_specialized",
    summary="persistent, a warp that loads and warp groups that multiply; sm_90 alone",
    axes=AXES,
    constraints=(
        warp_groups.HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        tma_limits.ALIGNED,
        warp_groups.OPERANDS,
        warp_groups.PANEL,
        limits.fitting("block_m", "m", 64),
        limits.fitting("block_n", "n", 64),
        limits.grouping(GROUPS),
        warp_groups.accumulator(others=1),
        warp_groups.SLICES,
        warp_groups.shared_memory(HANDED_OVER_BYTES, OPERAND_WORDS),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: tma_limits.refuses(call, config) or fused.refuses(call),
    bind=bind,
    sources=tuple(Path(file) for file in (__file__, promotion.__file__, *ring.SOURCES)),
    deterministic=lambda problem, config: True,
)
