"""Shares of a tile along k, in Gluon: all but the last are left in scratch memory, and the last adds them in order.

Whoever multiplies the last share waits for the others, holds its own in registers, and adds the others in the order of
k, so that repeats are bit-identical. It waits for programs of lower numbers alone, which a GPU starts first, as the
stream-k of CUTLASS does: they are running or done, whatever else the GPU is at. Only a counter is atomic.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from .warp_groups import columns_halved, store_columns

synchronize = gl.barrier if hasattr(gl, "barrier") else gl.thread_barrier  # the threads of one partition


@gluon.jit
def addresses(slot, column, tile, COLUMNS: gl.constexpr):
    """Of each element of a tile, which begins at that column of a part of so many columns that lies at `slot`."""
    layout: gl.constexpr = tile.type.layout
    rows = gl.arange(0, tile.shape[0], gl.SliceLayout(1, layout))
    columns = column + gl.arange(0, tile.shape[1], gl.SliceLayout(0, layout))
    return slot + (rows[:, None] * COLUMNS + columns[None, :])


@gluon.jit
def leave(total, slots, counter, share):
    """Leaves a share of a part in the slot that is its own, and counts it in."""
    at = addresses(slots + share * (total.shape[0] * total.shape[1]), 0, total, total.shape[1])
    # What is summed in int32 keeps its bits.
    gl.store(at, total.to(gl.float32, bitcast=True), cache_modifier=".cg")
    # Every thread's elements are stored before one thread counts.
    synchronize()
    gl.atomic_add(counter, 1, sem="release")


@gluon.jit
def wait_for(counter, count):
    """Waits until so many have been counted in."""
    while gl.atomic_add(counter, 0, sem="acquire") < count:
        pass


@gluon.jit
def store_sum(
    d, total, slots, first, out, row, column, m, n,
    scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    ACTIVATION: gl.constexpr, COLUMNS: gl.constexpr, OTHERS: gl.constexpr,
):  # fmt: skip
    """Stores a part of a tile, of which `total` is the last share, from its column `first` on: slice by slice, and of
    each all the other shares are loaded at once."""
    if total.shape[1] > d.block_shape[1]:
        left, right = columns_halved(total)
        store_sum(
            d, left, slots, first, out, row, column, m, n,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, ACTIVATION, COLUMNS, OTHERS,
        )  # fmt: skip
        store_sum(
            d, right, slots, first + left.shape[1], out, row, column + left.shape[1], m, n,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, ACTIVATION, COLUMNS, OTHERS,
        )  # fmt: skip
    else:
        at = addresses(slots, first, total, COLUMNS)
        found = gl.load(at, cache_modifier=".cg").to(total.dtype, bitcast=True)
        for other in gl.static_range(1, OTHERS):
            slot = at + other * (total.shape[0] * COLUMNS)
            found += gl.load(slot, cache_modifier=".cg").to(total.dtype, bitcast=True)
        store_columns(
            d, found + total, None, out, row, column, m, n,
            scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, ACTIVATION, 1,
        )  # fmt: skip
