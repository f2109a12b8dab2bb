"""Shares of a tile along k, in Gluon: which one a program multiplies, and their sum, the same bits in any order.

Each warp group leaves its part of a tile in scratch memory; the one that finds all others there adds them up in the
order of k. Only a counter is atomic, and nothing waits. In Triton that is `tiles.last_to_arrive` and `tiles.in_order`.
"""

from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

synchronize = gl.barrier if hasattr(gl, "barrier") else gl.thread_barrier  # the threads of one partition


@gluon.jit
def share(unit, split, k, BLOCK_K: gl.constexpr, IS_SPLIT: gl.constexpr):
    """The tile of a unit of work, and its stretch of k: none is empty, for `split` is k's steps at the most."""
    if IS_SPLIT:
        steps = gl.cdiv(k, BLOCK_K)
        part = unit % split
        found = unit // split, part * steps // split * BLOCK_K, gl.minimum((part + 1) * steps // split * BLOCK_K, k)
    else:
        found = unit, 0, k
    return found


@gluon.jit
def slots(partials, tile, split, total):
    """Where the shares of a tile begin, an address for each element of the first one."""
    layout: gl.constexpr = total.type.layout
    rows = gl.arange(0, total.shape[0], gl.SliceLayout(1, layout))
    columns = gl.arange(0, total.shape[1], gl.SliceLayout(0, layout))
    first = partials + gl.to_tensor(tile * split).to(gl.int64) * (total.shape[0] * total.shape[1])
    return first + (rows[:, None] * total.shape[1] + columns[None, :])


@gluon.jit
def last_to_arrive(total, partials, counters, tile, part, split):
    """Leaves a share of a tile in scratch memory; whether all others are there."""
    # What is summed in int32 keeps its bits.
    at = slots(partials, tile, split, total) + part * (total.shape[0] * total.shape[1])
    gl.store(at, total.to(gl.float32, bitcast=True), cache_modifier=".cg")
    # Every thread's elements are stored before one thread counts this share in.
    synchronize()
    return gl.atomic_add(counters + tile, 1, sem="acq_rel") == split - 1


@gluon.jit
def in_order(total, partials, counters, tile, part, split):
    """The sum of all shares in the order of k, this program's own out of registers; the counter is at 0 again."""
    at = slots(partials, tile, split, total)
    found = gl.zeros_like(total)
    for other in range(split):
        if other == part:
            found += total
        else:
            loaded = gl.load(at + other * (total.shape[0] * total.shape[1]), cache_modifier=".cg")
            found += loaded.to(total.dtype, bitcast=True)
    gl.store(counters + tile, 0)
    return found
