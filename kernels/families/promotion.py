"""fp8 in Gluon: sums of a stage are added in fp32, for Hopper's tensor cores keep about 14 bits of a sum of fp8.

Source: DeepSeek-V3 Technical Report, arXiv:2412.19437, section 3.3.2; cuBLAS does the same unless it is asked for fast
accumulation. While one consumer adds, another one multiplies.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, warpgroup_mma, warpgroup_mma_wait

from .ring import advance
from .warp_groups import ROWS

GROUP_ROWS = gl.constexpr(ROWS)
WIDEST = gl.constexpr(128)  # columns summed at once: their sums and the totals of 256 fill the registers


@gluon.jit
def joined_columns(left, right):
    """The tile of two halves that a warp group has multiplied; nothing moves."""
    tile = gl.join(left, right).permute(0, 2, 1).reshape([left.shape[0], 2 * left.shape[1]])
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 2 * left.shape[1], 16])
    return gl.convert_layout(tile, layout, assert_trivial=True)


@gluon.jit
def stage_sum(a_tile, b_tile, before):
    """The products of a stage, summed. `before` are registers that are free; what they hold counts for nothing."""
    found = warpgroup_mma(a_tile, b_tile.permute((1, 0)), before, use_acc=False, is_async=True)
    return warpgroup_mma_wait(0, deps=[found])


@gluon.jit
def sum_promoted(a_ring, b_ring, full, empty, stage, phase, k, PART: gl.constexpr):
    """(rows of D in fp32, stage, phase) of a consumer, over all of k; A and B are K-major."""
    STAGES: gl.constexpr = full.shape[0]
    CONSUMERS: gl.constexpr = a_ring.shape[0] // STAGES
    BLOCK_N: gl.constexpr = b_ring.shape[1]
    WIDTH: gl.constexpr = BLOCK_N if BLOCK_N < WIDEST else WIDEST
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, WIDTH, 32])
    left = gl.zeros((GROUP_ROWS, WIDTH), gl.float32, layout)
    right = left
    found = left
    for _step in range(0, k, b_ring.shape[2]):
        a_tile = a_ring.index(stage * CONSUMERS + PART)
        b_tile = b_ring.index(stage)
        mbarrier.wait(full.index(stage), phase)
        if BLOCK_N == WIDTH:
            found = stage_sum(a_tile, b_tile, found)
            mbarrier.arrive(empty.index(stage))
            left += found
        else:
            found = stage_sum(a_tile, b_tile.slice(0, WIDTH, 0), found)
            left += found
            found = stage_sum(a_tile, b_tile.slice(WIDTH, WIDTH, 0), found)
            mbarrier.arrive(empty.index(stage))
            right += found
        stage, phase = advance(stage, phase, STAGES)
    total = left
    if BLOCK_N > WIDTH:
        total = joined_columns(left, right)
    return total, stage, phase
