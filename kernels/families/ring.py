"""The ring of stages in shared memory, in Gluon: what TMA fills and warp groups multiply out of.

A stage is a part of A's tile for each consumer, and a tile of B. Where there are two products, that is one or more
pieces of B and of `up` by turns, which are multiplied as one tile. Two barriers a stage: `full` counts the bytes that
arrived, `empty` the consumers that are done with them.
"""

from __future__ import annotations

from typing import Final

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier, tma

from .. import fused
from . import tiles, warp_groups

SOURCES: Final = (__file__, warp_groups.__file__, tiles.__file__, fused.__file__)  # of a family with such a ring
GROUP_ROWS = gl.constexpr(warp_groups.ROWS)


@gluon.jit
def advance(stage, phase, STAGES: gl.constexpr):
    """The next stage of the ring; the phase flips when it has come round."""
    last = stage == STAGES - 1
    return gl.where(last, 0, stage + 1), gl.where(last, phase ^ 1, phase)


@gluon.jit
def ahead_of(stage, COUNT: gl.constexpr, STAGES: gl.constexpr):
    """The stage so many after that one."""
    found = stage + COUNT
    return gl.where(found >= STAGES, found - STAGES, found)


@gluon.jit
def copy_in(matrix, row, column, arrived, buffer, TRANSPOSED: gl.constexpr):
    """Asks TMA for the tile at (row, column) of A or of B, however it is stored; `arrived` counts its bytes."""
    if TRANSPOSED:
        tma.async_copy_global_to_shared(matrix, [column, row], arrived, buffer)
    else:
        tma.async_copy_global_to_shared(matrix, [row, column], arrived, buffer)


@gluon.jit
def barriers(STAGES: gl.constexpr, CONSUMERS: gl.constexpr):
    """`full` and `empty`, ready to be waited for."""
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(STAGES):
        mbarrier.init(full.index(stage), count=1)
        mbarrier.init(empty.index(stage), count=CONSUMERS)
    fence_async_shared()
    return full, empty


@gluon.jit
def joined(ring, up, STAGES: gl.constexpr, B_TRANSPOSED: gl.constexpr):
    """The ring of B as it is multiplied: where there are two products, all pieces of a stage are one tile.

    A tile in shared memory is panels, as wide as the swizzling pattern: those that are one panel high lie as one does
    that is as high as all of them, and two of more panels beside each other as one that is twice as wide.
    """
    PIECES: gl.constexpr = ring.shape[0] // STAGES
    if up is None:
        found = ring
    elif B_TRANSPOSED:
        found = ring._reinterpret(ring.dtype, [STAGES, PIECES * ring.shape[1], ring.shape[2]], ring.layout)
    else:
        found = ring._reinterpret(ring.dtype, [STAGES, ring.shape[1], PIECES * ring.shape[2]], ring.layout)
    return found


@gluon.jit
def copy_b_in(b, up, step, column, arrived, ring, stage, STAGES: gl.constexpr, TRANSPOSED: gl.constexpr):
    """Asks TMA for a stage's tile of B and, where there are two products, for that of `up`, piece by piece."""
    if up is None:
        copy_in(b, step, column, arrived, ring.index(stage), TRANSPOSED)
    else:
        PIECES: gl.constexpr = ring.shape[0] // STAGES
        WIDTH: gl.constexpr = ring.shape[1] if TRANSPOSED else ring.shape[2]
        for piece in gl.static_range(PIECES // 2):
            at = PIECES * stage + 2 * piece
            copy_in(b, step, column + piece * WIDTH, arrived, ring.index(at), TRANSPOSED)
            copy_in(up, step, column + piece * WIDTH, arrived, ring.index(at + 1), TRANSPOSED)


@gluon.jit
def produce(
    a, b, up, a_ring, b_ring, full, empty, m, n, k, group_m, A_TRANSPOSED: gl.constexpr, B_TRANSPOSED: gl.constexpr
):
    """A warp of its own: loads the tiles of A, B and `up`, as fast as stages become empty."""
    STAGES: gl.constexpr = full.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_M: gl.constexpr = CONSUMERS * GROUP_ROWS
    BLOCK_K: gl.constexpr = b_ring.shape[2] if B_TRANSPOSED else b_ring.shape[1]
    MULTIPLIED: gl.constexpr = (b_ring.shape[1] if B_TRANSPOSED else b_ring.shape[2]) * (b_ring.shape[0] // STAGES)
    BLOCK_N: gl.constexpr = MULTIPLIED if up is None else MULTIPLIED // 2
    BYTES: gl.constexpr = (BLOCK_M + MULTIPLIED) * BLOCK_K * (a.dtype.primitive_bitwidth // 8)
    tiles_m, tiles_n = gl.cdiv(m, BLOCK_M), gl.cdiv(n, BLOCK_N)
    stage = 0
    phase = 0
    for program in range(gl.program_id(0), tiles_m * tiles_n, gl.num_programs(0)):
        tile_m, tile_n = tiles.grouped(program, tiles_m, tiles_n, group_m)
        row, column = tile_m * BLOCK_M, tile_n * BLOCK_N
        for step in range(0, k, BLOCK_K):
            mbarrier.wait(empty.index(stage), phase ^ 1)
            arrived = full.index(stage)
            mbarrier.expect(arrived, BYTES)
            for part in gl.static_range(CONSUMERS):
                a_tile = a_ring.index(stage * CONSUMERS + part)
                copy_in(a, row + part * GROUP_ROWS, step, arrived, a_tile, A_TRANSPOSED)
            copy_b_in(b, up, step, column, arrived, b_ring, stage, STAGES, B_TRANSPOSED)
            stage, phase = advance(stage, phase, STAGES)
