"""`split_k`: for few rows of A, where tiles of D alone would leave most of the GPU idle.

`split` programs share a tile of D, each over a stretch of k. Each leaves its fp32 partial tile in scratch memory; the
one that arrives last adds them up in the order of k and stores D, so that repeats are bit-identical whatever the order
of arrival. Only a counter is atomic. With `split` 1 the partial tile is the result and no scratch is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import triton
import triton.language as tl

from .. import fused
from ..access import Accesses
from ..binary import Binary
from ..config import Config
from ..device import Device
from ..family import Call, Family, Launch
from ..launch import bound
from ..problem import DTYPES, Problem
from ..space import Axis, Constraint
from . import limits, tiles
from .limits import cdiv


@triton.jit
def split_k_kernel(
    a, b, d, partials, counters, m, n, k, split,
    stride_am, stride_ak, stride_bk, stride_bn, stride_dm, stride_dn,
    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
    ACTIVATION: tl.constexpr,
):  # fmt: skip
    tiles_m = tl.cdiv(m, BLOCK_M)
    tile, part = tl.program_id(0), tl.program_id(1)
    rows = tile % tiles_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tile // tiles_m * BLOCK_N + tl.arange(0, BLOCK_N)
    steps = tl.arange(0, BLOCK_K)
    stretch = tl.cdiv(tl.cdiv(k, BLOCK_K), split) * BLOCK_K
    first = part * stretch
    last = tl.minimum(first + stretch, k)
    a_at = a + rows.to(tl.int64)[:, None] * stride_am + (first + steps).to(tl.int64)[None, :] * stride_ak
    b_at = b + (first + steps).to(tl.int64)[:, None] * stride_bk + columns.to(tl.int64)[None, :] * stride_bn
    row_inside = rows[:, None] < m
    column_inside = columns[None, :] < n
    total = tiles.nothing(BLOCK_M, BLOCK_N, a.dtype.element_ty)
    for done in range(first, last, BLOCK_K):
        a_tile = tl.load(a_at, mask=row_inside & (steps[None, :] < k - done), other=0.0)
        b_tile = tl.load(b_at, mask=column_inside & (steps[:, None] < k - done), other=0.0)
        total = tiles.multiply(a_tile, b_tile, total, PRECISION)
        a_at += BLOCK_K * stride_ak
        b_at += BLOCK_K * stride_bk
    d_at = d + rows.to(tl.int64)[:, None] * stride_dm + columns.to(tl.int64)[None, :] * stride_dn
    inside = row_inside & column_inside
    if split == 1:
        result = fused.epilogue(
            total, None, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            ACTIVATION,
        )  # fmt: skip
        tl.store(d_at, result.to(d.dtype.element_ty), mask=inside)
    elif tiles.last_to_arrive(total, partials, counters, tile, part, split):
        total = tiles.in_order(total, partials, counters, tile, split)
        result = fused.epilogue(
            total, None, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            ACTIVATION,
        )  # fmt: skip
        tl.store(d_at, result.to(d.dtype.element_ty), mask=inside)


AXES = (
    Axis("block_m", (16, 32, 64)),
    Axis("block_n", (32, 64, 128)),
    Axis("block_k", (64, 128, 256)),
    Axis("num_warps", (2, 4, 8)),
    Axis("num_stages", (2, 3, 4, 5)),
    Axis("split", (1, 2, 4, 8, 16)),
)

FEW_ROWS = Constraint(
    "rows",
    "rows of A",
    lambda problem, device, config: problem.m,
    lambda problem, device, config: 256,
    "with more rows the tiles of D fill the GPU without a split",
)

# A split that leaves a program less than one step of k, or that makes more than eight waves, only adds traffic.
STRETCH = Constraint(
    "split_steps",
    "programs over k",
    lambda problem, device, config: config.number("split"),
    lambda problem, device, config: max(1, cdiv(problem.k, config.number("block_k"))),
    "each program has a step of k to do",
)
WAVES = Constraint(
    "split_programs",
    "programs",
    lambda problem, device, config: (
        0 if config["split"] == 1 else limits.tile_count(problem, config) * config.number("split")
    ),
    lambda problem, device, config: 8 * device.sm_count,
    "more programs than eight waves of the GPU only add partial tiles",
)


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    constants: dict[str, Any] = {
        "BLOCK_M": config["block_m"],
        "BLOCK_N": config["block_n"],
        "BLOCK_K": config["block_k"],
        "PRECISION": DTYPES[problem.dtype].precision,
    }
    pointers = {"partials": "*fp32", "counters": "*i32"}
    operands = tiles.Operands(problem, accesses)
    return tiles.pointer_binary(split_k_kernel, operands, constants, config, types={**pointers, "split": "i32"})


def bind(call: Call, config: Config) -> Launch:
    problem = call.problem
    built = binary(problem, call.device, config, Accesses.of(call.a, call.b, call.d))
    count, split = limits.tile_count(problem, config), config.number("split")
    tile = config.number("block_m") * config.number("block_n")
    partials = call.scratch.partials(count * split * tile if split > 1 else 1)
    counters = call.scratch.counters(count)
    head = (call.a, call.b, call.d, partials, counters, *problem.shape, split)
    arguments = (*head, *tiles.run_time_strides(built, call), *fused.arguments(call))
    return bound(built, call.device.capability, (count, split, 1), arguments)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """One tile of rows; as many programs over k as bring the GPU two waves."""
    block_m = min(64, max(16, limits.next_power_of_2(problem.m)))
    warps, stages = tiles.default_warps(problem), 4 if block_m < 64 else 3
    config = Config.of(
        "split_k",
        block_m=block_m,
        block_n=64,
        block_k=2 * limits.step(problem),
        num_warps=warps,
        num_stages=stages,
        split=1,
    )
    programs = max(1, limits.tile_count(problem, config))
    wanted = max(1, 2 * device.sm_count // programs)
    split = max(value for value in (1, 2, 4, 8, 16) if value <= wanted)
    return (config.replace(split=split), config)


FAMILY = Family(
    name="split_k",
    summary="few rows: several programs share a tile over k, added in a fixed order",
    axes=AXES,
    constraints=(
        fused.ONE_PRODUCT,
        limits.NON_EMPTY,
        limits.EXTENT,
        limits.FP8,
        FEW_ROWS,
        limits.fitting("block_m", "m", 16),
        limits.fitting("block_n", "n", 32),
        STRETCH,
        WAVES,
        limits.FMA_UNROLL,
        limits.shared_memory(tiles.pipelined_bytes),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: fused.refuses(call),
    bind=bind,
    sources=(Path(__file__), Path(tiles.__file__), Path(fused.__file__)),
    deterministic=lambda problem, config: True,  # the parts of a tile are added in the order of k
)
