"""`shared_tiles`: as `warp_specialized`, where few tiles have a long k: programs share a tile along it; sm_90 alone.

512x2048x151936, the gradient that a layer of the vocabulary hands back, is 64 tiles of 128x128 for 132
multiprocessors, and each takes half a millisecond: as whole tiles they are at 0.69 of cuBLAS, shared at 0.98 (H100,
2026-11). Here `split` programs multiply a stretch of k each. One warp asks TMA for tiles of A and B, stage after stage;
each consumer, a warp group of four warps, multiplies 64 rows of the tile with the whole width of B's. Those of the last
stretch add what the others leave in scratch memory, in the order of k, so that repeats are bit-identical, and store D
slice by slice. To leave, wait and add takes some 10 us, so that a share of fewer than 64 steps never paid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

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
from ..problem import Problem
from ..space import Axis, Constraint
from . import heights, limits, ring, shares, warp_groups
from . import tma as tma_limits
from .limits import cdiv
from .ring import advance, barriers, copy_in
from .shares import leave, store_sum, wait_for
from .warp_groups import ROWS, begin_multiply, no_sum

GROUP_ROWS = gl.constexpr(ROWS)


@gluon.jit
def place(m, n, k, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, BLOCK_K: gl.constexpr, SHARES: gl.constexpr):
    """The program's tile, its first row and column, its share, and where in k that begins and ends."""
    tiles_m = gl.cdiv(m, BLOCK_M)
    count = tiles_m * gl.cdiv(n, BLOCK_N)
    tile, share = gl.program_id(0) % count, gl.program_id(0) // count
    steps = gl.cdiv(k, BLOCK_K)
    first, last = share * steps // SHARES * BLOCK_K, gl.minimum((share + 1) * steps // SHARES * BLOCK_K, k)
    return tile, tile % tiles_m * BLOCK_M, tile // tiles_m * BLOCK_N, share, first, last


@gluon.jit
def produce(
    a, b, a_ring, b_ring, full, empty, m, n, k,
    SHARES: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
):  # fmt: skip
    """A warp of its own: loads the program's share of its tile, as fast as stages become empty."""
    STAGES: gl.constexpr = full.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_M: gl.constexpr = CONSUMERS * GROUP_ROWS
    BLOCK_N: gl.constexpr = b_ring.shape[1] if B_TRANSPOSED else b_ring.shape[2]
    BLOCK_K: gl.constexpr = b_ring.shape[2] if B_TRANSPOSED else b_ring.shape[1]
    BYTES: gl.constexpr = (BLOCK_M + BLOCK_N) * BLOCK_K * (a.dtype.primitive_bitwidth // 8)
    _tile, row, column, _share, first, last = place(m, n, k, BLOCK_M, BLOCK_N, BLOCK_K, SHARES)
    stage = 0
    phase = 0
    for step in range(first, last, BLOCK_K):
        mbarrier.wait(empty.index(stage), phase ^ 1)
        arrived = full.index(stage)
        mbarrier.expect(arrived, BYTES)
        for part in gl.static_range(CONSUMERS):
            copy_in(a, row + part * GROUP_ROWS, step, arrived, a_ring.index(stage * CONSUMERS + part), A_TRANSPOSED)
        copy_in(b, step, column, arrived, b_ring.index(stage), B_TRANSPOSED)
        stage, phase = advance(stage, phase, STAGES)


@gluon.jit
def consume(
    d, a_ring, b_ring, out, full, empty, m, n, k, partials, counters,
    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    PART: gl.constexpr, SHARES: gl.constexpr, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
    ACTIVATION: gl.constexpr,
):  # fmt: skip
    """Multiplies those 64 rows of the share that are this consumer's; that of the last share stores the sum of all."""
    STAGES: gl.constexpr = full.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_N: gl.constexpr = b_ring.shape[1] if B_TRANSPOSED else b_ring.shape[2]
    BLOCK_K: gl.constexpr = b_ring.shape[2] if B_TRANSPOSED else b_ring.shape[1]
    OTHERS: gl.constexpr = SHARES - 1
    tile, row, column, share, first, last = place(m, n, k, CONSUMERS * GROUP_ROWS, BLOCK_N, BLOCK_K, SHARES)
    total = no_sum(BLOCK_N, a_ring.dtype)
    stage = 0
    phase = 0
    for step in range(first, last, BLOCK_K):
        total = begin_multiply(
            a_ring.index(stage * CONSUMERS + PART), b_ring.index(stage), full.index(stage), phase, total, step > first,
            A_TRANSPOSED, B_TRANSPOSED,
        )  # fmt: skip
        total = warpgroup_mma_wait(0, deps=[total])
        mbarrier.arrive(empty.index(stage))
        stage, phase = advance(stage, phase, STAGES)
    part = tile * CONSUMERS + PART
    slots = partials + gl.to_tensor(part * OTHERS).to(gl.int64) * (GROUP_ROWS * BLOCK_N)
    if share < OTHERS:
        leave(total, slots, counters + part, share)
    else:
        wait_for(counters + part, OTHERS)
        store_sum(
            d, total, slots, 0, out, row + PART * GROUP_ROWS, column, m, n,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, ACTIVATION, BLOCK_N, OTHERS,
        )  # fmt: skip
        gl.store(counters + part, 0)
    tma.store_wait(0)


@gluon.jit
def shared_tiles_kernel(
    a, b, d, m, n, k, partials, counters, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    CONSUMERS: gl.constexpr, STAGES: gl.constexpr, SHARES: gl.constexpr,
    A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr, ACTIVATION: gl.constexpr,
):  # fmt: skip
    a_ring = gl.allocate_shared_memory(a.dtype, [STAGES * CONSUMERS] + a.block_shape, a.layout)
    b_ring = gl.allocate_shared_memory(b.dtype, [STAGES] + b.block_shape, b.layout)
    out = gl.allocate_shared_memory(d.dtype, [CONSUMERS] + d.block_shape, d.layout)
    full, empty = barriers(STAGES, CONSUMERS)
    # The tuples stand in the calls, for the compiler takes what has a name for a run-time value.
    if CONSUMERS == 2:
        gl.warp_specialize([
            (consume, (
                d, a_ring, b_ring, out.index(0), full, empty, m, n, k, partials, counters,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                0, SHARES, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION,
            )),
            (consume, (
                d, a_ring, b_ring, out.index(1), full, empty, m, n, k, partials, counters,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                1, SHARES, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION,
            )),
            (produce, (a, b, a_ring, b_ring, full, empty, m, n, k, SHARES, A_TRANSPOSED, B_TRANSPOSED)),
        ], [4, 1], [232, 40])  # fmt: skip
    else:
        gl.warp_specialize([
            (consume, (
                d, a_ring, b_ring, out.index(0), full, empty, m, n, k, partials, counters,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                0, SHARES, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION,
            )),
            (consume, (
                d, a_ring, b_ring, out.index(1), full, empty, m, n, k, partials, counters,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                1, SHARES, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION,
            )),
            (consume, (
                d, a_ring, b_ring, out.index(2), full, empty, m, n, k, partials, counters,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                2, SHARES, A_TRANSPOSED, B_TRANSPOSED, ACTIVATION,
            )),
            (produce, (a, b, a_ring, b_ring, full, empty, m, n, k, SHARES, A_TRANSPOSED, B_TRANSPOSED)),
        ], [4, 4, 1], [152, 152, 40])  # fmt: skip


SPLITS: Final = (2, 3, 4, 5, 6, 8)
AXES = (
    Axis("block_m", (128, 192)),
    Axis("block_n", (128, 256)),
    Axis("block_k", (64, 128)),
    Axis("num_stages", (3, 4, 5, 6)),
    Axis("store_slices", (1, 2, 4)),
    Axis("split", SPLITS),
)
SHORTEST: Final = 64  # steps of k in a share
STRETCH = Constraint(
    "split_steps",
    "programs over k",
    lambda problem, device, config: config.number("split"),
    lambda problem, device, config: cdiv(problem.k, config.number("block_k")) // SHORTEST,
    f"a share of fewer than {SHORTEST} steps of k is sooner multiplied than left and added",
)
ROUNDS = Constraint(
    "split_programs",
    "programs",
    lambda problem, device, config: limits.tile_count(problem, config) * config.number("split"),
    lambda problem, device, config: 3 * device.sm_count,
    "of more programs than three a multiprocessor, whole tiles are as even",
)
# Read off Triton 3.6 and 3.7: what the partitions are told, in bytes and in words of 8 for an epilogue's operands, and
# where the third consumer has the word that it counts with.
HANDED_OVER_BYTES: Final = {2: 152, 3: 172}
OPERAND_WORDS: Final = {"scale": 1, "row_scale": 1, "column_scale": 1, "bias": 1, "residual": 2}
COUNTED_AT: Final = 128


def shared_memory(problem: Problem, device: Device, config: Config) -> float:
    """Of a program, in bytes: the ring, a buffer for each consumer's stores, two barriers a stage, what partitions are
    told, and the word that a third consumer counts with."""
    stages, consumers = config.number("num_stages"), warp_groups.consumers(config)
    out = limits.result_bytes(problem, config) // config.number("store_slices")
    words = sum(OPERAND_WORDS.get(name, 0) for name in problem.epilogue_operands)
    behind = warp_groups.barrier_bytes(stages) + HANDED_OVER_BYTES[consumers] + 16 * cdiv(words, 2)
    if consumers == 3:
        behind = cdiv(behind, COUNTED_AT) * COUNTED_AT + 4
    return stages * limits.operand_bytes(problem, config) + out + behind


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    return warp_groups.built(
        shared_tiles_kernel, problem, config, accesses, integers=("m", "n", "k"),
        pointers={"partials": "*fp32", "counters": "*i32"}, others={"SHARES": config["split"]},
    )  # fmt: skip


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    count, split = limits.tile_count(problem, config), config.number("split")
    tile = config.number("block_m") * config.number("block_n")
    scratch: tuple[Any, ...] = (
        call.scratch.partials(count * (split - 1) * tile),
        call.scratch.counters(count * warp_groups.consumers(config)),
    )
    arguments = warp_groups.arguments(call, config, *problem.shape, *scratch)
    return bound(built, device.capability, (count * split, 1, 1), arguments)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """The widest tile and a narrow one, shared so that the last round of programs is full."""
    wide = Config.of(
        "shared_tiles", block_m=128, block_n=256, block_k=limits.step(problem), num_stages=4, store_slices=4, split=2
    )  # fmt: skip
    narrow = wide.replace(block_n=128, num_stages=6, store_slices=2)
    both = (wide, narrow) if problem.n > 128 else (narrow,)
    return tuple(one.replace(split=_evenest(problem, device, one)) for one in both)


def _evenest(problem: Problem, device: Device, config: Config) -> int:
    """The split with which the busiest multiprocessor has the least to do; each share costs a fiftieth of a tile."""
    tiles, sms = limits.tile_count(problem, config), max(1, device.sm_count)
    most = max(SPLITS[0], cdiv(problem.k, config.number("block_k")) // SHORTEST)
    return min(
        (split for split in SPLITS if split <= most), key=lambda split: cdiv(tiles * split, sms) / split + split / 50
    )


FAMILY = Family(
    name="shared_tiles",
    summary="few tiles and a long k: as warp_specialized, programs share a tile along k; sm_90 alone",
    axes=AXES,
    constraints=(
        fused.ONE_PRODUCT,
        warp_groups.HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        tma_limits.ALIGNED,
        warp_groups.OPERANDS,
        warp_groups.UNPROMOTED,
        heights.HEIGHT,
        limits.fitting("block_n", "n", 128),
        warp_groups.accumulator(others=1),
        warp_groups.SLICES,
        STRETCH,
        ROUNDS,
        limits.shared_memory(shared_memory),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: tma_limits.refuses(call, config) or fused.refuses(call),
    bind=bind,
    sources=tuple(Path(file) for file in (__file__, shares.__file__, *ring.SOURCES)),
    deterministic=lambda problem, config: True,
)
