"""`half_by_half`: as `warp_specialized`, and a tile's epilogue takes place while the tensor cores multiply; sm_90.

A program stays on its multiprocessor and walks the tiles of D. One warp, the producer, asks TMA for tiles of A and B,
stage after stage of a ring in shared memory. Two consumers, warp groups of four warps, multiply 64 rows of the tile
each. They are in step, and would be at their epilogues both at once, with nothing to multiply.

So the last stages of a tile are multiplied half by half: the left half of the columns in all of them, and then the
right half, while the left one is finished and stored. The first stages of the next tile likewise: the left half in all
of them, while the right half of the tile before is finished and stored, and then the right half. Between the first
stages and the last ones both halves are one multiplication.
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
from ..epilogue import ACTIVATIONS, steps_of
from ..family import Call, Family, Launch
from ..launch import bound
from ..problem import DTYPES, Problem
from ..space import Axis, Constraint
from . import heights, limits, ring, tiles, warp_groups
from . import tma as tma_limits
from .ring import advance, ahead_of, barriers, joined, produce
from .warp_groups import GROUPS, OPERAND_WORDS, begin_half, columns_halved, no_sum, store_columns

GROUP_ROWS = gl.constexpr(warp_groups.ROWS)


@gluon.jit
def store_part(
    d, half, out, row, column, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    PART: gl.constexpr, PARTS: gl.constexpr, ACTIVATION: gl.constexpr, PRODUCTS: gl.constexpr,
):  # fmt: skip
    """Finishes and stores one of one or two parts of a half of a tile."""
    first, second = half, None
    if PRODUCTS == 2:
        first, second = columns_halved(half)
    elif PARTS == 2:
        left, right = columns_halved(half)
        first = right if PART == 1 else left
    store_columns(
        d, first, second, out, row, column + PART * first.shape[1], m, n,
        scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, ACTIVATION, 1,
    )  # fmt: skip


@gluon.jit
def consume(
    d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    PART: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
    ACTIVATION: gl.constexpr, PRODUCTS: gl.constexpr, HALVED: gl.constexpr,
):  # fmt: skip
    """Multiplies and stores those 64 rows of each tile that are this consumer's."""
    STAGES: gl.constexpr = full.shape[0]
    BLOCK_M: gl.constexpr = a_ring.shape[0] // STAGES * GROUP_ROWS
    MULTIPLIED: gl.constexpr = multiplied.shape[1] if B_TRANSPOSED else multiplied.shape[2]
    BLOCK_N: gl.constexpr = MULTIPLIED // PRODUCTS
    BLOCK_K: gl.constexpr = multiplied.shape[2] if B_TRANSPOSED else multiplied.shape[1]
    PARTS: gl.constexpr = BLOCK_N // 2 // d.block_shape[1]  # of a half, stored one after another
    RUN: gl.constexpr = HALVED // PARTS  # stages multiplied while one of them is finished
    own_out = out.index(PART)
    tiles_m, tiles_n = gl.cdiv(m, BLOCK_M), gl.cdiv(n, BLOCK_N)
    stage = 0
    phase = 0
    left = no_sum(MULTIPLIED // 2, a_ring.dtype)
    right = no_sum(MULTIPLIED // 2, a_ring.dtype)
    for index in gl.static_range(HALVED):
        mbarrier.wait(full.index(index), 0)
        left = begin_half(a_ring, multiplied, index, PART, 0, left, index > 0, A_TRANSPOSED, B_TRANSPOSED)
        left = warpgroup_mma_wait(0, deps=[left])
    for program in range(gl.program_id(0), tiles_m * tiles_n, gl.num_programs(0)):
        for index in gl.static_range(HALVED):
            right = begin_half(a_ring, multiplied, stage, PART, 1, right, index > 0, A_TRANSPOSED, B_TRANSPOSED)
            right = warpgroup_mma_wait(0, deps=[right])
            mbarrier.arrive(empty.index(stage))
            stage, phase = advance(stage, phase, STAGES)
        for _step in range(2 * HALVED * BLOCK_K, k, BLOCK_K):
            mbarrier.wait(full.index(stage), phase)
            left = begin_half(a_ring, multiplied, stage, PART, 0, left, True, A_TRANSPOSED, B_TRANSPOSED)
            right = begin_half(a_ring, multiplied, stage, PART, 1, right, True, A_TRANSPOSED, B_TRANSPOSED)
            left, right = warpgroup_mma_wait(0, deps=[left, right])
            mbarrier.arrive(empty.index(stage))
            stage, phase = advance(stage, phase, STAGES)
        ahead, ahead_phase = stage, phase
        for _index in gl.static_range(HALVED):
            mbarrier.wait(full.index(ahead), ahead_phase)
            left = begin_half(a_ring, multiplied, ahead, PART, 0, left, True, A_TRANSPOSED, B_TRANSPOSED)
            ahead, ahead_phase = advance(ahead, ahead_phase, STAGES)
            left = warpgroup_mma_wait(0, deps=[left])
        tile_m, tile_n = tiles.grouped(program, tiles_m, tiles_n, group_m)
        row, column = tile_m * BLOCK_M + PART * GROUP_ROWS, tile_n * BLOCK_N
        for index in gl.static_range(HALVED):
            later = ahead_of(stage, index % RUN, STAGES)
            right = begin_half(a_ring, multiplied, later, PART, 1, right, True, A_TRANSPOSED, B_TRANSPOSED)
            if index % RUN == RUN - 1:
                store_part(
                    d, left, own_out, row, column, m, n,
                    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                    index // RUN, PARTS, ACTIVATION, PRODUCTS,
                )  # fmt: skip
                right = warpgroup_mma_wait(0, deps=[right])
                for _ in gl.static_range(RUN):
                    mbarrier.arrive(empty.index(stage))
                    stage, phase = advance(stage, phase, STAGES)
        # After the last tile nothing arrives: then what lies there is multiplied, for nothing.
        another = program + gl.num_programs(0) < tiles_m * tiles_n
        ahead, ahead_phase = stage, phase
        for index in gl.static_range(HALVED):
            mbarrier.wait(full.index(ahead), ahead_phase, pred=another)
            left = begin_half(a_ring, multiplied, ahead, PART, 0, left, index > 0, A_TRANSPOSED, B_TRANSPOSED)
            ahead, ahead_phase = advance(ahead, ahead_phase, STAGES)
            if index % RUN == RUN - 1:
                store_part(
                    d, right, own_out, row, column + BLOCK_N // 2, m, n,
                    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                    index // RUN, PARTS, ACTIVATION, PRODUCTS,
                )  # fmt: skip
                left = warpgroup_mma_wait(0, deps=[left])
    tma.store_wait(0)


@gluon.jit
def half_by_half_kernel(
    a, b, d, m, n, k, group_m, up, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    CONSUMERS: gl.constexpr, STAGES: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
    ACTIVATION: gl.constexpr, HALVED: gl.constexpr,
):  # fmt: skip
    PRODUCTS: gl.constexpr = 1 if up is None else 2
    a_ring = gl.allocate_shared_memory(a.dtype, [STAGES * CONSUMERS] + a.block_shape, a.layout)
    b_ring = gl.allocate_shared_memory(b.dtype, [STAGES * PRODUCTS * PRODUCTS] + b.block_shape, b.layout)
    multiplied = joined(b_ring, up, STAGES, B_TRANSPOSED)
    out = gl.allocate_shared_memory(d.dtype, [CONSUMERS] + d.block_shape, d.layout)
    full, empty = barriers(STAGES, CONSUMERS)
    # What lies beyond a shorter k is loaded as zeros.
    k = gl.maximum(k, 2 * HALVED * a_ring.shape[1 if A_TRANSPOSED else 2])
    # The tuples stand in the calls, for the compiler takes what has a name for a run-time value.
    gl.warp_specialize([
        (consume, (
            d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            0, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, PRODUCTS, HALVED,
        )),
        (consume, (
            d, a_ring, multiplied, out, full, empty, m, n, k, group_m,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            1, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION, PRODUCTS, HALVED,
        )),
        (produce, (a, b, up, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED, B_TRANSPOSED)),
    ], [4, 1], [232, 40])  # fmt: skip


AXES = (
    Axis("block_m", (128,)),
    Axis("block_n", (128, 256)),
    Axis("block_k", (64,)),
    Axis("group_m", GROUPS),
    Axis("num_stages", (4, 5, 6)),
    Axis("halved", (2, 3, 4)),  # stages multiplied half by half, at either end
)
PART_COLUMNS = 64  # of D, that are stored at once
# What the partitions are handed over, through shared memory; read off Triton 3.6 and 3.7.
HANDED_OVER_BYTES = 152


def _blocks(problem: Problem, config: Config) -> warp_groups.Blocks:
    """Of B and `up`, where there are two products, the half of a tile: each half of the product has its own."""
    a, b, d = warp_groups.tile_blocks(problem, config)
    columns = limits.tile_columns(problem, config) // problem.products
    b = [columns, b[1]] if problem.b_transposed else [b[0], columns]
    return a, b, [d[0], PART_COLUMNS]


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    halved = {"HALVED": config.number("halved")}
    integers = ("m", "n", "k", "group_m")
    return warp_groups.built(
        half_by_half_kernel, problem, config, accesses, integers=integers, others=halved,
        blocks=_blocks(problem, config),
    )  # fmt: skip


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    grid = (min(limits.tile_count(problem, config), device.sm_count), 1, 1)
    arguments = warp_groups.arguments(
        call, config, *problem.shape, config.number("group_m"), blocks=_blocks(problem, config)
    )
    return bound(built, device.capability, grid, arguments)


def _parts(problem: Problem, config: Config) -> int:
    return limits.tile_columns(problem, config) // 2 // PART_COLUMNS


PARTS = Constraint(
    "parts",
    "stages left over or columns missing",
    lambda problem, device, config: (
        config.number("halved") % _parts(problem, config) if _parts(problem, config) else PART_COLUMNS
    ),
    lambda problem, device, config: 0,
    "a half of a tile is stored in parts of 64 columns, each during as many stages",
)
HALVED = Constraint(
    "halved",
    "stages",
    lambda problem, device, config: config.number("halved"),
    lambda problem, device, config: min(
        config.number("num_stages"), limits.cdiv(problem.k, config.number("block_k")) // 2
    ),
    "the halves of the first stages and of the last ones are multiplied out of the ring, one after another; zeros are "
    "multiplied where k is shorter",
)
SIXTEEN_BITS = Constraint(
    "dtype",
    "bytes away from two",
    lambda problem, device, config: abs(DTYPES[problem.dtype].bytes - 2),
    lambda problem, device, config: 0,
    "its halves are of 16-bit operands",
)
# Bias and gelu, 4096 x 4096 x 4096 in bf16: 219.1 us, of warp_specialized 223.9 (H100, 2026-11). Of a plain product no
# gain was measured.
WORTH_HIDING: Final = ("up", "residual", *ACTIVATIONS)
EPILOGUE = Constraint(
    "epilogue",
    "epilogues that are soon done",
    lambda problem, device, config: int(not set(steps_of(problem.epilogue)) & set(WORTH_HIDING)),
    lambda problem, device, config: 0,
    f"what it gains is an epilogue's time: that of {', '.join(WORTH_HIDING)}",
)
PAIRED = Constraint(
    "layout",
    "second products of a B that is not K-major",
    lambda problem, device, config: int(problem.products == 2 and not problem.b_transposed),
    lambda problem, device, config: 0,
    "quarters of a tile are one tile in shared memory only where each is rows of a panel",
)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """Of the tile that `warp_specialized` begins with, and of a narrower one."""
    config = Config.of(
        "half_by_half", block_m=128, block_n=256, block_k=64, group_m=8 if problem.m > 896 else 1, num_stages=4,
        halved=4,
    )  # fmt: skip
    return (config, config.replace(block_n=128, num_stages=6)) if problem.products == 1 else (config,)


def shared_memory(problem: Problem, device: Device, config: Config) -> float:
    """The ring, a buffer for each consumer's stores, two barriers a stage, what partitions are told."""
    stages = config.number("num_stages")
    out = config.number("block_m") * PART_COLUMNS * DTYPES[problem.out_dtype].bytes
    told = HANDED_OVER_BYTES + warp_groups.told_bytes(problem, OPERAND_WORDS)
    return stages * limits.operand_bytes(problem, config) + out + warp_groups.barrier_bytes(stages) + told


FAMILY = Family(
    name="half_by_half",
    summary="persistent, warp-specialized, a tile's epilogue beside the multiplication of its other half; sm_90 alone",
    axes=AXES,
    constraints=(
        warp_groups.HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        tma_limits.ALIGNED,
        SIXTEEN_BITS,
        EPILOGUE,
        PAIRED,
        HALVED,
        heights.HEIGHT,
        limits.fitting("block_n", "n", 128),
        limits.grouping(GROUPS),
        PARTS,
        limits.shared_memory(shared_memory),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: tma_limits.refuses(call, config) or fused.refuses(call),
    bind=bind,
    sources=tuple(Path(file) for file in (__file__, *ring.SOURCES)),
    deterministic=lambda problem, config: True,
)
