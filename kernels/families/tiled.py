"""`tiled`: one program a tile of D, operands loaded through pointers, loads pipelined by the compiler.

Each program walks along k in steps of `block_k`. Triton turns the loads into asynchronous copies, `num_stages` deep.
Programs are numbered so that `group_m` rows of tiles share columns of B while those are in the L2. Any strides do.
Where there are two products of A, a program has two accumulators, each of half the columns that it multiplies at once.
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
from ..space import Axis
from . import limits, tiles


@triton.jit
def tiled_kernel(
    a, b, d, m, n, k, group_m,
    stride_am, stride_ak, stride_bk, stride_bn, stride_dm, stride_dn,
    up, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
    ACTIVATION: tl.constexpr,
):  # fmt: skip
    tile_m, tile_n = tiles.grouped(tl.program_id(0), tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N), group_m)
    rows = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    steps = tl.arange(0, BLOCK_K)
    a_at = a + rows.to(tl.int64)[:, None] * stride_am + steps.to(tl.int64)[None, :] * stride_ak
    b_at = b + steps.to(tl.int64)[:, None] * stride_bk + columns.to(tl.int64)[None, :] * stride_bn
    if up is not None:
        up_at = up + steps.to(tl.int64)[:, None] * stride_bk + columns.to(tl.int64)[None, :] * stride_bn
    row_inside = rows[:, None] < m
    column_inside = columns[None, :] < n
    total = tiles.nothing(BLOCK_M, BLOCK_N, a.dtype.element_ty)
    paired = None if up is None else total
    for done in range(0, k, BLOCK_K):
        a_tile = tl.load(a_at, mask=row_inside & (steps[None, :] < k - done), other=0.0)
        b_tile = tl.load(b_at, mask=column_inside & (steps[:, None] < k - done), other=0.0)
        total = tiles.multiply(a_tile, b_tile, total, PRECISION)
        if up is not None:
            up_tile = tl.load(up_at, mask=column_inside & (steps[:, None] < k - done), other=0.0)
            paired = tiles.multiply(a_tile, up_tile, paired, PRECISION)
            up_at += BLOCK_K * stride_bk
        a_at += BLOCK_K * stride_ak
        b_at += BLOCK_K * stride_bk
    total = fused.epilogue(
        total, paired, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
        ACTIVATION,
    )  # fmt: skip
    d_at = d + rows.to(tl.int64)[:, None] * stride_dm + columns.to(tl.int64)[None, :] * stride_dn
    tl.store(d_at, total.to(d.dtype.element_ty), mask=row_inside & column_inside)


GROUPS = (1, 8)
AXES = (
    Axis("block_m", (16, 32, 64, 128, 256)),
    Axis("block_n", (32, 64, 128, 256)),
    Axis("block_k", (32, 64, 128)),
    Axis("group_m", GROUPS),
    Axis("num_warps", (4, 8)),
    Axis("num_stages", (2, 3, 4)),
)


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    constants: dict[str, Any] = {
        "BLOCK_M": config["block_m"],
        "BLOCK_N": limits.tile_columns(problem, config),
        "BLOCK_K": config["block_k"],
        "PRECISION": DTYPES[problem.dtype].precision,
    }
    return tiles.pointer_binary(
        tiled_kernel, tiles.Operands(problem, accesses), constants, config, types={"group_m": "i32"}
    )


def bind(call: Call, config: Config) -> Launch:
    problem = call.problem
    accesses = Accesses.of(call.a, call.b, call.d)
    built = binary(problem, call.device, config, accesses)
    grid = (limits.tile_count(problem, config), 1, 1)
    head = (call.a, call.b, call.d, *problem.shape, config["group_m"])
    paired = () if problem.products == 1 else (call.up,)
    arguments = (*head, *tiles.run_time_strides(built, call), *paired, *fused.arguments(call))
    return bound(built, call.device.capability, grid, arguments)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """The square tile of the textbook, cut down to the problem."""
    block_m = min(128, max(16, limits.next_power_of_2(problem.m)))
    block_n = min(128, max(32, limits.next_power_of_2(problem.n)))
    group_m = 8 if problem.m > block_m else 1
    # An epilogue on a tile of 128 x 128 spills with four warps.
    warps = 8 if problem.epilogue and block_m * block_n >= 128 * 128 else tiles.default_warps(problem)
    config = Config.of(
        "tiled",
        block_m=block_m,
        block_n=block_n,
        block_k=limits.step(problem),
        group_m=group_m,
        num_warps=warps,
        num_stages=3,
    )
    small = config.replace(block_m=min(64, block_m), block_n=min(64, block_n), block_k=32, num_warps=4)
    return (config, small)


FAMILY = Family(
    name="tiled",
    summary="one program a tile, pointer loads, software pipelining; any strides",
    axes=AXES,
    constraints=(
        limits.NON_EMPTY,
        limits.EXTENT,
        limits.FP8,
        limits.fitting("block_m", "m", 16),
        limits.fitting("block_n", "n", 32),
        limits.grouping(GROUPS),
        limits.ACCUMULATOR,
        limits.FMA_UNROLL,
        limits.shared_memory(tiles.pipelined_bytes),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: fused.refuses(call),
    bind=bind,
    sources=(Path(__file__), Path(tiles.__file__), Path(fused.__file__)),
    deterministic=lambda problem, config: True,  # each element is one sum, in the order of k
)
