"""What the families in Gluon share: parts of kernels whose warp groups multiply, and the limits of such kernels."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier, tma, warpgroup_mma
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from .. import fused
from ..access import VECTOR_BYTES, Accesses
from ..binary import Binary
from ..config import Config
from ..device import MAX_REGISTERS_PER_THREAD, REGISTERS_PER_SM, Device
from ..family import Call
from ..problem import DTYPES, Problem
from ..space import Constraint
from . import limits, tiles
from . import tma as tma_limits

WARPS: Final = 4  # of a warp group
ROWS: Final = 64  # of a warp group's multiplication (wgmma), and so of a consumer's part of a tile
GROUPS: Final = (1, 4, 8, 12, 16)
GROUP_ROWS = gl.constexpr(ROWS)
SWIZZLE_BYTES: Final = 128  # of the widest pattern in which shared memory is laid out for the tensor cores


@gluon.jit
def no_sum(COLUMNS: gl.constexpr, OPERAND: gl.constexpr):
    """A warp group's accumulator of zeros, for operands of that type."""
    IS_INT8: gl.constexpr = gl.int8 == OPERAND
    # Of int8, Triton multiplies 224 columns at once.
    AT_ONCE: gl.constexpr = min(COLUMNS, 128) if IS_INT8 else COLUMNS
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, AT_ONCE, 256 // OPERAND.primitive_bitwidth])
    return gl.zeros((GROUP_ROWS, COLUMNS), gl.int32 if IS_INT8 else gl.float32, layout)


@gluon.jit
def begin_multiply(
    a_tile, b_tile, arrived, phase, total, use_acc, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr
):
    """Waits for a stage and begins to multiply: what it returns is in flight until `warpgroup_mma_wait`."""
    mbarrier.wait(arrived, phase)
    return warpgroup_mma(
        a_tile.permute((1, 0)) if A_TRANSPOSED else a_tile,
        b_tile.permute((1, 0)) if B_TRANSPOSED else b_tile,
        total,
        use_acc=use_acc,
        is_async=True,
    )


@gluon.jit
def begin_half(
    a_ring, multiplied, stage, PART: gl.constexpr, HALF: gl.constexpr, total, use_acc,
    A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr,
):  # fmt: skip
    """Begins to multiply a half of the columns of a stage that has arrived."""
    a_tile = a_ring.index(stage * (a_ring.shape[0] // multiplied.shape[0]) + PART)
    COLUMNS: gl.constexpr = (multiplied.shape[1] if B_TRANSPOSED else multiplied.shape[2]) // 2
    columns = multiplied.index(stage).slice(HALF * COLUMNS, COLUMNS, 0 if B_TRANSPOSED else 1)
    return warpgroup_mma(
        a_tile.permute((1, 0)) if A_TRANSPOSED else a_tile,
        columns.permute((1, 0)) if B_TRANSPOSED else columns,
        total,
        use_acc=use_acc,
        is_async=True,
    )


@gluon.jit
def columns_halved(tile):
    """The left and the right half of a tile that a warp group has multiplied; nothing moves."""
    left, right = tile.reshape([tile.shape[0], 2, tile.shape[1] // 2]).permute(0, 2, 1).split()
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, tile.shape[1] // 2, 16])
    return gl.convert_layout(left, layout, assert_trivial=True), gl.convert_layout(right, layout, assert_trivial=True)


@gluon.jit
def store_columns(
    d, tile, paired, out, row, column, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    ACTIVATION: gl.constexpr, SLICES: gl.constexpr, TURNED: gl.constexpr = False,
):  # fmt: skip
    """Stores a tile of D, after the epilogue, in so many slices of columns through one buffer, each before the next one
    needs it. `paired` is the tile of the second product, or None. `TURNED`, all is of the transposed D."""
    if SLICES == 1:
        if TURNED:
            tile = tile.permute((1, 0))
            row, column, m, n = column, row, n, m
        layout: gl.constexpr = tile.type.layout
        rows = row + gl.arange(0, tile.shape[0], gl.SliceLayout(1, layout))
        columns = column + gl.arange(0, tile.shape[1], gl.SliceLayout(0, layout))
        tile = fused.epilogue(
            tile, paired, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            ACTIVATION,
        )  # fmt: skip
        tma.store_wait(0)
        out.store(tile.to(d.dtype))
        fence_async_shared()
        tma.async_copy_shared_to_global(d, [row, column], out)
    else:
        left, right = columns_halved(tile)
        left_paired, right_paired = None, None
        if paired is not None:
            left_paired, right_paired = columns_halved(paired)
        store_columns(
            d, left, left_paired, out, row, column, m, n,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            ACTIVATION, SLICES // 2, TURNED,
        )  # fmt: skip
        store_columns(
            d, right, right_paired, out, row, column + left.shape[1], m, n,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
            ACTIVATION, SLICES // 2, TURNED,
        )  # fmt: skip


@gluon.jit
def store_product(
    d, total, out, row, column, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    ACTIVATION: gl.constexpr, PRODUCTS: gl.constexpr, TURNED: gl.constexpr = False,
):  # fmt: skip
    """Stores what a warp group has multiplied: a tile of D, or beside each other the tiles of two products of A."""
    if PRODUCTS == 1:
        first, second = total, None
    else:
        first, second = columns_halved(total)
    store_columns(
        d, first, second, out, row, column, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
        ACTIVATION, first.shape[1] // d.block_shape[0 if TURNED else 1], TURNED,
    )  # fmt: skip


Blocks = tuple[list[int], list[int], list[int]]


def consumers(config: Config) -> int:
    return config.number("block_m") // ROWS


def _layout(inner: int, dtype: str) -> gl.NVMMASharedLayout:
    """Of a tile in shared memory whose rows are `inner` elements."""
    size = DTYPES[dtype].bytes
    return gl.NVMMASharedLayout(min(SWIZZLE_BYTES, inner * size), 8 * size, 2)


def tile_blocks(problem: Problem, config: Config) -> Blocks:
    """What one request to TMA moves of A, B (and `up`) and D, as they lie in memory, outer extent first."""
    block_n, block_k = limits.tile_columns(problem, config), config.number("block_k")
    slices = config.number("store_slices") if "store_slices" in config else 1
    a = [block_k, ROWS] if problem.a_transposed else [ROWS, block_k]
    b = [block_n, block_k] if problem.b_transposed else [block_k, block_n]
    return a, b, [ROWS, block_n // slices]


def _dtypes(problem: Problem) -> tuple[str, str, str]:
    return problem.dtype, problem.dtype, problem.out_dtype


def built(
    kernel: Any,
    problem: Problem,
    config: Config,
    accesses: Accesses,
    *,
    integers: tuple[str, ...],
    pointers: Mapping[str, str] = MappingProxyType({}),
    others: Mapping[str, Any] | None = None,
    blocks: Blocks | None = None,
) -> Binary:
    """A kernel of the descriptors of A, B, D and `up`, of `integers`, of `pointers` (name -> type) to memory that is
    aligned, and of an epilogue, with `others` compiled in beside what all of them have. It starts as one warp group."""
    types: dict[str, str] = {}
    for name, dtype, block in zip("abd", _dtypes(problem), blocks or tile_blocks(problem, config), strict=True):
        element = tiles.TRITON_TYPES[DTYPES[dtype].storage]
        types[name] = f"tensordesc<{element}{block},{_layout(block[1], dtype)!r}>"
    types.update(dict.fromkeys(integers, "i32"))
    types.update(pointers)
    paired = {"up": types["b"]} if problem.products == 2 else {}
    extra = fused.parameters(problem, accesses, tiles.TRITON_TYPES[DTYPES[problem.out_dtype].storage])
    constants = {
        **({} if paired else {"up": None}),
        **extra.constants,
        "CONSUMERS": consumers(config),
        "STAGES": config["num_stages"],
        "A_TRANSPOSED": problem.a_transposed,
        "B_TRANSPOSED": problem.b_transposed,
        **(others or {}),
    }
    divisible = {**extra.divisible, **dict.fromkeys(pointers, VECTOR_BYTES)}
    started = Config.of(config.family, num_warps=WARPS, num_stages=1)
    return tiles.ordered(kernel, {**types, **paired, **extra.types}, constants, divisible, started)


def arguments(call: Call, config: Config, *integers: int, blocks: Blocks | None = None) -> list[Any]:
    """The run-time arguments of a kernel as `built` has it."""
    problem, blocks = call.problem, blocks or tile_blocks(call.problem, config)
    form = zip(tma_limits.in_memory(call), (*_dtypes(problem), problem.dtype), (*blocks, blocks[1]), strict=False)
    described = [
        TensorDescriptor(matrix, list(matrix.shape), list(matrix.stride()), block, _layout(block[1], dtype))
        for matrix, dtype, block in form
    ]
    return [*described[:3], *integers, *described[3:], *fused.arguments(call)]


def shared_memory(handed_over: Mapping[int, int], words: Mapping[str, int]) -> Constraint:
    """Of a program: the ring, a buffer for each consumer's stores, two barriers a stage, what partitions are told.

    Args:
        handed_over: bytes of what the partitions are told, by the number of consumers.
        words: of 8 bytes, that an operand of the epilogue adds where there are several consumers; the first one is
            told nothing. One word has room.
    """

    def amount(problem: Problem, device: Device, config: Config) -> float:
        stages = config.number("num_stages")
        out = limits.result_bytes(problem, config) // config.number("store_slices")
        told = handed_over[consumers(config)] + (told_bytes(problem, words) if consumers(config) > 1 else 0)
        return stages * limits.operand_bytes(problem, config) + out + barrier_bytes(stages) + told

    return limits.shared_memory(amount)


# Of 8 bytes, that an operand of the epilogue adds to what the partitions are told.
OPERAND_WORDS: Final = {"scale": 1, "row_scale": 1, "column_scale": 1, "bias": 1, "up": 3, "residual": 2}


def told_bytes(problem: Problem, words: Mapping[str, int]) -> int:
    """What an epilogue's operands add to what the partitions are told; one word has room."""
    return 16 * (sum(words.get(name, 0) for name in problem.epilogue_operands) // 2)


def barrier_bytes(stages: int) -> int:
    """Of `full` and `empty`."""
    return limits.cdiv(8 * stages, 16) * 16 + 8 * stages


HOPPER = Constraint(
    "arch",
    "(distance of sm)",
    lambda problem, device, config: abs(device.capability - 90),
    lambda problem, device, config: 0,
    "it multiplies with wgmma, which Hopper (sm_90) alone has",
)


def _unlike(problem: Problem, device: Device, config: Config) -> float:
    size = DTYPES[problem.dtype].bytes
    return 0 if size == 2 else 2 if size == 4 else int(problem.layout != "nt")


OPERANDS = Constraint(
    "dtype",
    "operands that are neither 16-bit nor K-major 8-bit",
    _unlike,
    lambda problem, device, config: 0,
    "wgmma takes operands of 16 bits in either order, others K-major ones alone",
)
SLICES = Constraint(
    "store_slices",
    "slices",
    lambda problem, device, config: config.number("store_slices"),
    lambda problem, device, config: limits.tile_columns(problem, config) // 64,
    "a slice narrower than 64 columns makes no store cheaper",
)
PANEL = Constraint(
    "block_k",
    "bytes of a row of B and of `up`",
    lambda problem, device, config: (
        config.number("block_k") * DTYPES[problem.dtype].bytes if problem.products == 2 and problem.b_transposed else 0
    ),
    lambda problem, device, config: SWIZZLE_BYTES,
    "tiles of two matrices are one tile in shared memory only where both are one panel of rows",
)
UNPROMOTED = Constraint(
    "promotion",
    "sums to promote",
    lambda problem, device, config: int(DTYPES[problem.dtype].precision == "promoted"),
    lambda problem, device, config: 0,
    "without a warp that loads, no registers are left for a sum beside the total",
)


def accumulator(others: int) -> Constraint:
    """A consumer's rows of D fit its registers, in a kernel of so many warp groups beside the consumers.

    ptxas divides the registers evenly among the threads, a single warp counting as a group of four.
    """

    def limit(problem: Problem, device: Device, config: Config) -> float:
        threads = (consumers(config) + others) * WARPS * limits.WARP
        return min(MAX_REGISTERS_PER_THREAD, REGISTERS_PER_SM // threads // 8 * 8) - 31

    return Constraint(
        "accumulator",
        "registers a thread",
        lambda problem, device, config: config.number("block_n") * ROWS / (WARPS * limits.WARP),
        limit,
        f"fp32 rows of D, 31 kept for addresses; {limits.GUIDE}",
    )
