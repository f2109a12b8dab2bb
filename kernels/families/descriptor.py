"""`descriptor`: operands and result move as whole tiles by TMA (tensor memory accelerator), sm_90 and later.

One thread asks for a tile through a descriptor that holds the matrix's address, extents and strides; the hardware fills
shared memory in the layout that the tensor cores read, and pads with zeros beyond the edges. With `programs_per_sm` 0
each tile has a program of its own; otherwise that many programs a multiprocessor stay and walk the tiles (persistent),
so that the loads of the next tile overlap the store of this one.
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
from . import limits, tiles, tma
from .limits import cdiv


@triton.jit
def load_a(a, row, step, TRANSPOSED: tl.constexpr):
    """The tile of A at (row, step), as [block_m, block_k] however A is stored."""
    if TRANSPOSED:
        tile = a.load([step, row]).T
    else:
        tile = a.load([row, step])
    return tile


@triton.jit
def load_b(b, step, column, TRANSPOSED: tl.constexpr):
    """The tile of B at (step, column), as [block_k, block_n] however B is stored."""
    if TRANSPOSED:
        tile = b.load([column, step]).T
    else:
        tile = b.load([step, column])
    return tile


@triton.jit
def tile_kernel(
    a, b, d, m, n, k, group_m, up, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
    A_TRANSPOSED: tl.constexpr, B_TRANSPOSED: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    tile_m, tile_n = tiles.grouped(tl.program_id(0), tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N), group_m)
    row, column = tile_m * BLOCK_M, tile_n * BLOCK_N
    total = tiles.nothing(BLOCK_M, BLOCK_N, a.dtype)
    paired = None if up is None else total
    for step in range(0, k, BLOCK_K):
        a_tile = load_a(a, row, step, A_TRANSPOSED)
        b_tile = load_b(b, step, column, B_TRANSPOSED)
        total = tiles.multiply(a_tile, b_tile, total, PRECISION)
        if up is not None:
            up_tile = load_b(up, step, column, B_TRANSPOSED)
            paired = tiles.multiply(a_tile, up_tile, paired, PRECISION)
    rows, columns = row + tl.arange(0, BLOCK_M), column + tl.arange(0, BLOCK_N)
    total = fused.epilogue(
        total, paired, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
        ACTIVATION,
    )  # fmt: skip
    d.store([row, column], total.to(d.dtype))


@triton.jit
def persistent_kernel(
    a, b, d, m, n, k, group_m, up, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
    A_TRANSPOSED: tl.constexpr, B_TRANSPOSED: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    tiles_m, tiles_n = tl.cdiv(m, BLOCK_M), tl.cdiv(n, BLOCK_N)
    # flatten: one loop over all steps of all tiles, so that the pipeline does not drain between two tiles
    for program in tl.range(tl.program_id(0), tiles_m * tiles_n, tl.num_programs(0), flatten=True):
        tile_m, tile_n = tiles.grouped(program, tiles_m, tiles_n, group_m)
        row, column = tile_m * BLOCK_M, tile_n * BLOCK_N
        total = tiles.nothing(BLOCK_M, BLOCK_N, a.dtype)
        paired = None if up is None else total
        for step in range(0, k, BLOCK_K):
            a_tile = load_a(a, row, step, A_TRANSPOSED)
            b_tile = load_b(b, step, column, B_TRANSPOSED)
            total = tiles.multiply(a_tile, b_tile, total, PRECISION)
            if up is not None:
                up_tile = load_b(up, step, column, B_TRANSPOSED)
                paired = tiles.multiply(a_tile, up_tile, paired, PRECISION)
        rows, columns = row + tl.arange(0, BLOCK_M), column + tl.arange(0, BLOCK_N)
        total = fused.epilogue(
            total, paired, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            ACTIVATION,
        )  # fmt: skip
        d.store([row, column], total.to(d.dtype))


GROUPS = (1, 8, 16)
AXES = (
    Axis("block_m", (64, 128, 256)),
    Axis("block_n", (32, 64, 128, 256)),
    Axis("block_k", (64, 128)),
    Axis("group_m", GROUPS),
    Axis("num_warps", (4, 8)),
    Axis("num_stages", (3, 4, 5, 6)),
    Axis("programs_per_sm", (0, 1, 2)),
)


def _blocks(problem: Problem, config: Config) -> tuple[list[int], list[int], list[int]]:
    """The tiles of A, B (and `up`) and D as they lie in memory, outer extent first."""
    block_m, block_k, block_n = config.number("block_m"), config.number("block_k"), limits.tile_columns(problem, config)
    a = [block_k, block_m] if problem.a_transposed else [block_m, block_k]
    b = [block_n, block_k] if problem.b_transposed else [block_k, block_n]
    return a, b, [block_m, block_n]


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    operand = tiles.TRITON_TYPES[DTYPES[problem.dtype].storage]
    result = tiles.TRITON_TYPES[DTYPES[problem.out_dtype].storage]
    descriptors = zip("abd", (operand, operand, result), _blocks(problem, config), strict=True)
    types = {name: f"tensordesc<{element}{block}>" for name, element, block in descriptors}
    paired = {"up": types["b"]} if problem.products == 2 else {}
    constants: dict[str, Any] = {
        "BLOCK_M": config["block_m"],
        "BLOCK_N": limits.tile_columns(problem, config),
        "BLOCK_K": config["block_k"],
        "PRECISION": DTYPES[problem.dtype].precision,
        "A_TRANSPOSED": problem.a_transposed,
        "B_TRANSPOSED": problem.b_transposed,
        **({} if paired else {"up": None}),
    }
    integers = dict.fromkeys(("m", "n", "k", "group_m"), "i32")
    kernel = persistent_kernel if config["programs_per_sm"] else tile_kernel
    extra = fused.parameters(problem, accesses, result)
    types, constants = {**types, **integers, **paired, **extra.types}, {**constants, **extra.constants}
    return tiles.ordered(kernel, types, constants, extra.divisible, config)


def shared_memory(problem: Problem, device: Device, config: Config) -> int:
    """Of a block, in bytes: the ring of stages with its barriers, and the tile of D on its way out.

    A persistent program keeps D's tile beside the ring, for the next tile's loads are under way. 32-bit results are
    kept beside it on sm_90 too, but not where there are two products. Read off Triton 3.6 and 3.7; held against the
    compiler in the tests.
    """
    stages = config.number("num_stages")
    ring, result = stages * limits.operand_bytes(problem, config), limits.result_bytes(problem, config)
    wide = device.capability < 100 and DTYPES[problem.out_dtype].bytes == 4 and problem.products == 1
    beside = config["programs_per_sm"] or wide
    # One 8-byte barrier a stage; A and B have one each where A is transposed, and `up` has its own. On sm_100 the
    # multiplier has two more.
    rings = (2 if problem.a_transposed else 1) + problem.products - 1
    barriers = [8 * stages] * rings + ([16] if device.capability >= 100 else [])
    if config["programs_per_sm"]:  # while the ring is full, an epilogue's operands pass through memory of their own
        out = DTYPES[problem.out_dtype].bytes
        result += limits.tile_columns(problem, config) * out if "bias" in problem.epilogue_operands else 0
        # At most: the compiler takes a quarter of D's tile in 16 bits and half of it in 32.
        result += limits.result_bytes(problem, config) if "residual" in problem.epilogue_operands else 0
    padded = sum(cdiv(size, 16) * 16 for size in barriers[:-1]) + barriers[-1]
    return (ring + result if beside else max(ring, result)) + padded


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    blocks = _blocks(problem, config)
    described = [
        TensorDescriptor(matrix, list(matrix.shape), list(matrix.stride()), block)
        for matrix, block in zip(tma.in_memory(call), (*blocks, blocks[1]), strict=False)
    ]
    count, resident = limits.tile_count(problem, config), config.number("programs_per_sm") * device.sm_count
    grid = (min(count, resident) if resident else count, 1, 1)
    arguments = (*described[:3], *problem.shape, config["group_m"], *described[3:], *fused.arguments(call))
    return bound(built, device.capability, grid, arguments)


TENSOR_CORES = Constraint(
    "tensor_cores",
    "operands that are neither 16-bit nor K-major",
    lambda problem, device, config: (
        0
        if DTYPES[problem.dtype].bytes == 2
        else 1 + (problem.layout != "nt")
        if problem.dtype == "fp32"
        else int(problem.layout != "nt")
    ),
    lambda problem, device, config: 0,
    "tensor cores take 16-bit operands, and K-major ones of tf32 or of 8 bits, straight from shared memory",
)


def _resident_bytes(problem: Problem, device: Device, config: Config) -> int:
    """Shared memory of all programs that are to stay on one multiprocessor, in bytes."""
    programs = max(1, config.number("programs_per_sm"))
    return programs * (shared_memory(problem, device, config) + limits.SM_RESERVED_BYTES)


RESIDENT = Constraint(
    "resident_shared_memory",
    "bytes",
    _resident_bytes,
    lambda problem, device, config: device.shared_memory_bytes + limits.SM_RESERVED_BYTES,
    limits.GUIDE,
)
# With no more tiles than programs that stay, a persistent kernel has one tile a program, which is the plain one.
WALK = Constraint(
    "persistent_tiles",
    "programs that stay",
    lambda problem, device, config: config.number("programs_per_sm") * device.sm_count,
    lambda problem, device, config: limits.tile_count(problem, config) - 1 if config["programs_per_sm"] else 0,
    "with fewer tiles than programs nothing is walked: it is the plain kernel",
)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """The tile that was best on large bf16 shapes on an H200 (2026-11), persistent where there are tiles to walk."""
    block_m = 128 if problem.m > 64 else 64
    wide = DTYPES[problem.dtype].bytes == 4
    block_n = min(64 if wide else 128, max(32, limits.next_power_of_2(problem.n)))
    group_m = 8 if problem.m > block_m else 1
    stages, others = (3, 4) if wide else (5, 3)
    # With four warps, a tile of 128 x 128 is 128 registers a thread, and an epilogue on it spills up to 700 bytes.
    warps = 8 if problem.epilogue and block_m * block_n >= 128 * 128 else 4
    stages -= 1 if "residual" in problem.epilogue_operands else 0
    config = Config.of(
        "descriptor", block_m=block_m, block_n=block_n, block_k=limits.step(problem), group_m=group_m, num_warps=warps,
        num_stages=stages, programs_per_sm=0,
    )  # fmt: skip
    if limits.tile_count(problem, config) > device.sm_count:
        return (config.replace(programs_per_sm=1), config)
    return (config, config.replace(num_stages=others))


FAMILY = Family(
    name="descriptor",
    summary="tiles moved by TMA, persistent or not; sm_90 and later",
    axes=AXES,
    constraints=(
        limits.at_least(90, "the tensor memory accelerator came with Hopper (sm_90)"),
        limits.NON_EMPTY,
        limits.EXTENT,
        tma.ALIGNED,
        TENSOR_CORES,
        limits.fitting("block_m", "m", 64),
        limits.fitting("block_n", "n", 32),
        limits.grouping(GROUPS),
        limits.ACCUMULATOR,
        limits.shared_memory(shared_memory),
        RESIDENT,
        WALK,
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: tma.refuses(call, config) or fused.refuses(call),
    bind=bind,
    sources=(Path(__file__), Path(tiles.__file__), Path(fused.__file__)),
    deterministic=lambda problem, config: True,
)
