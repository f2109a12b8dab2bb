"""`swapped`: for few rows of A, D is multiplied transposed: B's columns fill the tensor cores where A's rows would not.

A warp group's multiplication (wgmma) takes 64 rows at the least, of which a decode step has 1 to 16, but as few columns
as 8. So a tile of B is the left operand, and the few rows of A are the right one. Both move by TMA and are read from
where they arrive, in shared memory. `split` programs share a tile of D over k, as in `split_k`: partial tiles are added
in the order of k by the program that arrives last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from .. import fused
from ..access import Accesses
from ..binary import Binary
from ..config import Config
from ..device import Device
from ..family import Call, Family, Launch
from ..launch import bound
from ..problem import DTYPES, Problem
from ..space import Axis, Constraint
from . import descriptor, limits, split_k, tiles, tma
from .descriptor import TENSOR_CORES, load_a, load_b


@triton.jit
def swapped_kernel(
    a, b, d, partials, counters, m, n, k, split,
    stride_dm, stride_dn, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
    A_TRANSPOSED: tl.constexpr, B_TRANSPOSED: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    tiles_m = tl.cdiv(m, BLOCK_M)
    tile, part = tl.program_id(0), tl.program_id(1)
    row, column = tile % tiles_m * BLOCK_M, tile // tiles_m * BLOCK_N
    stretch = tl.cdiv(tl.cdiv(k, BLOCK_K), split) * BLOCK_K
    first = part * stretch
    last = tl.minimum(first + stretch, k)
    total = tiles.nothing(BLOCK_N, BLOCK_M, a.dtype)
    for step in range(first, last, BLOCK_K):
        b_tile = load_b(b, step, column, B_TRANSPOSED)
        a_tile = load_a(a, row, step, A_TRANSPOSED)
        total = tiles.multiply(b_tile.T, a_tile.T, total, PRECISION)
    is_last = True
    if split > 1:
        is_last = tiles.last_to_arrive(total, partials, counters, tile, part, split)
        if is_last:
            total = tiles.in_order(total, partials, counters, tile, split)
    if is_last:
        rows, columns = row + tl.arange(0, BLOCK_M), column + tl.arange(0, BLOCK_N)
        result = fused.epilogue(
            total.T, None, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            ACTIVATION,
        )  # fmt: skip
        d_at = d + rows.to(tl.int64)[:, None] * stride_dm + columns.to(tl.int64)[None, :] * stride_dn
        tl.store(d_at, result.to(d.dtype.element_ty), mask=(rows[:, None] < m) & (columns[None, :] < n))


AXES = (
    Axis("block_m", (16, 32, 64, 128)),
    Axis("block_n", (64, 128)),
    Axis("block_k", (64, 128, 256)),
    Axis("num_warps", (4, 8)),
    Axis("num_stages", (3, 4, 5, 6, 8)),
    Axis("split", (1, 2, 4, 8, 16)),
)


def _blocks(problem: Problem, config: Config) -> tuple[list[int], list[int]]:
    """The tiles of A and of B as they lie in memory, outer extent first."""
    block_m, block_n, block_k = (config.number(axis) for axis in ("block_m", "block_n", "block_k"))
    a = [block_k, block_m] if problem.a_transposed else [block_m, block_k]
    return a, [block_n, block_k] if problem.b_transposed else [block_k, block_n]


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    element = tiles.TRITON_TYPES[DTYPES[problem.dtype].storage]
    result = tiles.TRITON_TYPES[DTYPES[problem.out_dtype].storage]
    types = {name: f"tensordesc<{element}{block}>" for name, block in zip("ab", _blocks(problem, config), strict=True)}
    types |= {"d": f"*{result}", "partials": "*fp32", "counters": "*i32", "stride_dm": "i64"}
    types |= dict.fromkeys(("m", "n", "k", "split"), "i32")
    constants: dict[str, Any] = {
        "stride_dn": 1,
        "BLOCK_M": config["block_m"],
        "BLOCK_N": config["block_n"],
        "BLOCK_K": config["block_k"],
        "PRECISION": DTYPES[problem.dtype].precision,
        "A_TRANSPOSED": problem.a_transposed,
        "B_TRANSPOSED": problem.b_transposed,
    }
    vector = 16 // DTYPES[problem.out_dtype].bytes
    extra = fused.parameters(problem, accesses, result)
    types, constants = {**types, **extra.types}, {**constants, **extra.constants}
    return tiles.ordered(
        swapped_kernel, types, constants, {"d": 16, "stride_dm": vector, "n": vector, **extra.divisible}, config
    )


def shared_memory(problem: Problem, device: Device, config: Config) -> int:
    """Of a block, in bytes: the ring of stages with a barrier each, or the tile of D on its way out, transposed."""
    stages = config.number("num_stages")
    return stages * limits.operand_bytes(problem, config) + 8 * stages


def bind(call: Call, config: Config) -> Launch:
    problem = call.problem
    built = binary(problem, call.device, config, Accesses.of(call.a, call.b, call.d))
    memory = (call.a.T if problem.a_transposed else call.a, call.b.T if problem.b_transposed else call.b)
    described = [
        TensorDescriptor(matrix, list(matrix.shape), list(matrix.stride()), block)
        for matrix, block in zip(memory, _blocks(problem, config), strict=True)
    ]
    count, split = limits.tile_count(problem, config), config.number("split")
    tile = config.number("block_m") * config.number("block_n")
    partials = call.scratch.partials(count * split * tile if split > 1 else 1)
    head = (*described, call.d, partials, call.scratch.counters(count), *problem.shape, split)
    arguments = (*head, call.d.stride(0), *fused.arguments(call))
    return bound(built, call.device.capability, (count, split, 1), arguments)


HOPPER = Constraint(
    "arch",
    "(distance of sm)",
    lambda problem, device, config: abs(device.capability - 90),
    lambda problem, device, config: 0,
    "it is for wgmma, which Hopper (sm_90) alone has",
)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """As many programs over k as fill the GPU twice, with some 100 KiB of loads under way on each multiprocessor."""
    block_m = min(64, max(16, limits.next_power_of_2(problem.m)))
    block_k = 2 * limits.step(problem)
    config = Config.of("swapped", block_m=block_m, block_n=64, block_k=block_k, num_warps=4, num_stages=4, split=1)
    wanted = max(1, 2 * device.sm_count // max(1, limits.tile_count(problem, config)))
    split = max(value for value in (1, 2, 4, 8, 16) if value <= wanted)
    return (config.replace(split=split), config)


FAMILY = Family(
    name="swapped",
    summary="few rows: D is multiplied transposed, tiles moved by TMA, split over k; sm_90 alone",
    axes=AXES,
    constraints=(
        fused.ONE_PRODUCT,
        HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        split_k.FEW_ROWS,
        split_k.WAVES,
        tma.ALIGNED,
        TENSOR_CORES,
        limits.fitting("block_m", "m", 16),
        limits.fitting("block_n", "n", 64),
        limits.fitting("block_k", "k", 64),
        split_k.STRETCH,
        limits.shared_memory(shared_memory),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: tma.refuses(call, config) or fused.refuses(call),
    bind=bind,
    sources=(Path(__file__), Path(descriptor.__file__), Path(tiles.__file__), Path(fused.__file__)),
    deterministic=lambda problem, config: True,  # the parts of a tile are added in the order of k
)
