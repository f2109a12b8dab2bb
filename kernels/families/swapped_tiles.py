"""`swapped_tiles`: as `mixed_tiles`, but D is multiplied transposed, and tiles of two heights are cut from B's columns.

A layer has many more features than a few hundred tokens are rows. Cut along the features, into tiles of 192 and of 128
by 128 or 256 tokens, the work comes out even where the tokens are a power of two: 512x6144x4096 is 128 tiles of 128x192
for 132 multiprocessors, where 128x128 makes 192 tiles and 128x256 makes 96. The kernel is that of `mixed_tiles`, and a
tile is turned as it is stored.

Shares of a tile along k were tried for 128 and 256 rows and lost: to leave, count and add partial tiles of 128x128 took
6 us a launch. There cuBLAS stays ahead, by multicasting operands within clusters (H100, 2026-11).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .. import fused
from ..access import Accesses
from ..binary import Binary
from ..config import Config
from ..device import Device
from ..family import Call, Family, Launch
from ..launch import bound
from ..problem import DTYPES, Problem
from ..space import Axis, Constraint
from . import heights, limits, mixed_tiles, ring, warp_groups
from . import tma as tma_limits
from .heights import turned
from .warp_groups import GROUPS, ROWS

AXES = (
    Axis("block_m", (128, 256)),
    Axis("block_n", (128, 192)),  # of a tall tile, which lies on its side
    Axis("block_k", (64, 128)),
    Axis("group_n", GROUPS),
    Axis("num_stages", (2, 3, 4, 5, 6)),
    Axis("store_slices", (1, 2, 4)),
)
MANY_ROWS = Constraint(
    "many_rows",
    "rows of A",
    lambda problem, device, config: problem.m,
    lambda problem, device, config: 1024,
    "of more rows, tiles cut from A are as even",
)


def _blocks(problem: Problem, config: Config) -> warp_groups.Blocks:
    """What one request to TMA moves of A, B and D, as they lie in memory, outer extent first."""
    b, a, across = warp_groups.tile_blocks(*turned(problem, config))
    return a, b, [across[1], ROWS]


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    across, its_config = turned(problem, config)
    flags = {"A_TRANSPOSED": across.a_transposed, "B_TRANSPOSED": across.b_transposed, "TURNED": True}
    return warp_groups.built(
        mixed_tiles.mixed_tiles_kernel, problem, its_config, accesses, integers=mixed_tiles.INTEGERS,
        others=flags, blocks=_blocks(problem, config),
    )  # fmt: skip


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    across, its_config = turned(problem, config)
    tall = heights.tall_rows(across, device, its_config)
    grid = (min(heights.tile_count(across, device, its_config), device.sm_count), 1, 1)
    integers = (*problem.shape, config.number("group_n"), tall)
    arguments = warp_groups.arguments(call, config, *integers, blocks=_blocks(problem, config))
    return bound(built, device.capability, grid, arguments)


def _across(constraint: Constraint) -> Constraint:
    """A constraint of `mixed_tiles`, on the transposed product."""

    def of(one: Callable[[Problem, Device, Config], float]) -> Callable[[Problem, Device, Config], float]:
        def across(problem: Problem, device: Device, config: Config) -> float:
            problem, config = turned(problem, config)
            return one(problem, device, config)

        return across

    return replace(constraint, amount=of(constraint.amount), limit=of(constraint.limit))


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """The tile that comes out even for 512 rows, and the widest one, but where its epilogue spills."""
    is_wide = DTYPES[problem.out_dtype].bytes == 4
    narrow = Config.of(
        "swapped_tiles", block_m=128, block_n=192, block_k=limits.step(problem), group_n=8 if problem.n > 1152 else 1,
        num_stages=4 if is_wide else 5, store_slices=2,
    )  # fmt: skip
    wide = narrow.replace(block_m=256, num_stages=3, store_slices=4)
    spills = problem.epilogue != "" and (is_wide or "residual" in problem.epilogue_operands)
    return (narrow,) if spills or problem.m <= narrow.number("block_m") else (narrow, wide)


FAMILY = Family(
    name="swapped_tiles",
    summary="mixed_tiles for some hundred rows: D is multiplied transposed, tiles cut from B's columns; sm_90 alone",
    axes=AXES,
    constraints=(
        fused.ONE_PRODUCT,
        warp_groups.HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        tma_limits.ALIGNED,
        warp_groups.OPERANDS,
        warp_groups.UNPROMOTED,
        MANY_ROWS,
        limits.fitting("block_m", "m", 64),
        _across(heights.HEIGHT),
        _across(limits.grouping(GROUPS)),
        _across(warp_groups.SLICES),
        _across(warp_groups.shared_memory(mixed_tiles.HANDED_OVER_BYTES, mixed_tiles.OPERAND_WORDS)),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: tma_limits.refuses(call, config) or fused.refuses(call),
    bind=bind,
    sources=tuple(Path(file) for file in (__file__, mixed_tiles.__file__, heights.__file__, *ring.SOURCES)),
    deterministic=lambda problem, config: True,
)
