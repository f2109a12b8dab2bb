"""`clustered`: tiles of any width, and clusters of two programs that fetch an operand once for both; sm_90.

Between decode and large prompts a layer has about as many tiles as the GPU has multiprocessors, and which widths there
are decides how many of these are idle: 256x5120 is 128 tiles of 128x80 for 132 of them, or 80 or 160 of a power of two.
A warp group's multiplication (wgmma) is as wide as any multiple of 8. Triton's tensors are not, so a tile of D is parts
here, whose columns are a power of two, and one instruction multiplies all of them (see `ptx`).

Two programs beside each other multiply with the same rows of A, two above each other with the same columns of B. As a
cluster they fetch half of that tile each, and TMA writes it to both: less leaves the L2, which feeds such shapes.

Otherwise it is `warp_specialized`: a warp loads, warp groups multiply, programs stay. A stage's `full` counts the bytes
of both halves, and `empty` the consumers of both programs, for a half may not come before both are done.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, tma

from .. import fused
from ..access import Accesses
from ..binary import Binary
from ..config import Config
from ..device import Device
from ..family import Call, Family, Launch
from ..launch import bound
from ..problem import Problem
from ..space import Axis
from . import assembly, clustered_limits, form, limits, ptx, ring, shares, tiles, warp_groups
from . import tma as tma_limits
from .clustered_limits import BUFFERS, form_of
from .estimate import guess_us
from .form import ROWS
from .ptx import of
from .ring import advance
from .shares import synchronize

GROUP_ROWS = gl.constexpr(ROWS)
BARRIER = gl.constexpr(assembly.BARRIER_BYTES)


@gluon.jit
def count_clusters(m, n, FORM: gl.constexpr):
    """How many there are, down and across D."""
    down: gl.constexpr = of(FORM, "block_m") * of(FORM, "cluster_m")
    across: gl.constexpr = of(FORM, "block_n") * of(FORM, "cluster_n")
    return gl.cdiv(m, down), gl.cdiv(n, across)


@gluon.jit
def place(cluster, rank, m, n, group_m, FORM: gl.constexpr):
    """The first row and column of the tile of a program of a cluster; it may lie beyond D."""
    CLUSTER_M: gl.constexpr = of(FORM, "cluster_m")
    down, across = count_clusters(m, n, FORM)
    cluster_m, cluster_n = tiles.grouped(cluster, down, across, group_m)
    tile_m, tile_n = cluster_m * CLUSTER_M + rank % CLUSTER_M, cluster_n * of(FORM, "cluster_n") + rank // CLUSTER_M
    return tile_m * of(FORM, "block_m"), tile_n * of(FORM, "block_n")


@gluon.jit
def produce(memory, m, n, k, group_m, FORM: gl.constexpr, TEXT: gl.constexpr):
    """A warp of this group loads, as fast as stages become empty."""
    STAGES: gl.constexpr = of(FORM, "stages")
    CLUSTER: gl.constexpr = of(FORM, "cluster")
    full = memory + STAGES * of(FORM, "stage_bytes")
    empty = full + BARRIER * STAGES
    rank = ptx.rank_in_cluster()
    down, across = count_clusters(m, n, FORM)
    ptx.meet(FORM)
    stage = 0
    phase = 0
    for cluster in range(gl.program_id(0) // CLUSTER, down * across, gl.num_programs(0) // CLUSTER):
        row, column = place(cluster, rank, m, n, group_m, FORM)
        for step in range(0, gl.cdiv(k, of(FORM, "stride_k")) * of(FORM, "stride_k"), of(FORM, "block_k")):
            ptx.load(
                memory + stage * of(FORM, "stage_bytes"), step, row, column, full + BARRIER * stage,
                empty + BARRIER * stage, phase ^ 1, rank, TEXT,
            )  # fmt: skip
            stage, phase = advance(stage, phase, STAGES)
    ptx.meet(FORM)


@gluon.jit
def sum_of_tile(memory, full, empty, stage, phase, k, PART: gl.constexpr, FORM: gl.constexpr, TEXT: gl.constexpr):
    """(parts of a consumer's rows of a tile, stage, phase), over all of k."""
    parts = ptx.no_sums(FORM)
    sums = parts
    before = empty
    for step in range(0, k, of(FORM, "block_k")):
        ptx.wait(full + BARRIER * stage, phase)
        at = memory + stage * of(FORM, "stage_bytes")
        left, right = at + PART * of(FORM, "rows_bytes"), at + of(FORM, "a_bytes")
        if of(FORM, "promoted"):
            sums = ptx.multiply(sums, left, right, 0, FORM, TEXT)
            ptx.arrive(empty + BARRIER * stage, FORM)
            parts = ptx.added(parts, sums)
        elif of(FORM, "in_flight") == 0:
            parts = ptx.multiply(parts, left, right, gl.where(step > 0, 1, 0), FORM, TEXT)
            ptx.arrive(empty + BARRIER * stage, FORM)
        else:
            parts = ptx.multiply(parts, left, right, gl.where(step > 0, 1, 0), FORM, TEXT)
            if step > 0:
                ptx.arrive(before, FORM)
            before = empty + BARRIER * stage
        stage, phase = advance(stage, phase, of(FORM, "stages"))
    if of(FORM, "in_flight") > 0:
        parts = ptx.settled(parts, FORM, TEXT)
        ptx.arrive(before, FORM)
    return parts, stage, phase


@gluon.jit
def promoted_sum(memory, full, empty, stage, phase, k, PART: gl.constexpr, FORM: gl.constexpr, TEXT: gl.constexpr):
    """The same, where a step's sum is added to the total while the next one multiplies. A turn is several steps, the
    last ones maybe zeros: ptxas does not follow registers that are multiplied into from one turn to the next."""
    STAGES: gl.constexpr = of(FORM, "stages")
    parts = ptx.no_sums(FORM)
    for _step in range(0, k, of(FORM, "stride_k")):
        sums = parts
        before = empty
        for turn in gl.static_range(of(FORM, "turns")):
            ptx.wait(full + BARRIER * stage, phase)
            at = memory + stage * of(FORM, "stage_bytes")
            left, right = at + PART * of(FORM, "rows_bytes"), at + of(FORM, "a_bytes")
            sums, parts = ptx.multiply_and_add(sums, parts, left, right, turn > 0, FORM, TEXT)
            if turn > 0:
                ptx.arrive(before, FORM)
            before = empty + BARRIER * stage
            stage, phase = advance(stage, phase, STAGES)
        parts = ptx.settled_and_added(sums, parts, FORM, TEXT)
        ptx.arrive(before, FORM)
    return parts, stage, phase


@gluon.jit
def store_part(
    d, tile, out, row, column, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    ACTIVATION: gl.constexpr, BUFFERS: gl.constexpr,
):  # fmt: skip
    """Stores a part, after the epilogue, through a buffer that the store before the last one has left."""
    layout: gl.constexpr = tile.type.layout
    rows = row + gl.arange(0, tile.shape[0], gl.SliceLayout(1, layout))
    columns = column + gl.arange(0, tile.shape[1], gl.SliceLayout(0, layout))
    tile = fused.epilogue(
        tile, None, rows, columns, m, n, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
        ACTIVATION,
    )  # fmt: skip
    tma.store_wait(BUFFERS - 1)
    synchronize()  # one thread has waited, for it is that one's store
    out.store(tile.to(d.dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(d, [row, column], out)


@gluon.jit
def consume(
    d, memory, out, m, n, k, group_m, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    PART: gl.constexpr, FORM: gl.constexpr, TEXT: gl.constexpr, ACTIVATION: gl.constexpr,
):  # fmt: skip
    """Multiplies and stores those 64 rows of each tile that are this consumer's."""
    STAGES: gl.constexpr = of(FORM, "stages")
    CLUSTER: gl.constexpr = of(FORM, "cluster")
    BUFFERS: gl.constexpr = out.shape[0] // of(FORM, "consumers")
    full = memory + STAGES * of(FORM, "stage_bytes")
    empty = full + BARRIER * STAGES
    rank = ptx.rank_in_cluster()
    down, across = count_clusters(m, n, FORM)
    ptx.meet(FORM)
    stage = 0
    phase = 0
    turn = 0
    for cluster in range(gl.program_id(0) // CLUSTER, down * across, gl.num_programs(0) // CLUSTER):
        row, column = place(cluster, rank, m, n, group_m, FORM)
        if of(FORM, "turns") > 1:
            parts, stage, phase = promoted_sum(memory, full, empty, stage, phase, k, PART, FORM, TEXT)
        else:
            parts, stage, phase = sum_of_tile(memory, full, empty, stage, phase, k, PART, FORM, TEXT)
        for part in gl.static_range(of(FORM, "parts")):
            store_part(
                d, parts[part], out.index(PART * BUFFERS + turn), row + PART * GROUP_ROWS,
                column + part * of(FORM, "width"), m, n,
                scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn, ACTIVATION, BUFFERS,
            )  # fmt: skip
            turn = (turn + 1) % BUFFERS
    tma.store_wait(0)
    ptx.meet(FORM)


@gluon.jit
def clustered_kernel(
    a, b, d, m, n, k, group_m, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
    FORM: gl.constexpr, TEXT: gl.constexpr, BUFFERS: gl.constexpr, ACTIVATION: gl.constexpr,
):  # fmt: skip
    # The ring and its barriers, which `ptx` addresses from the beginning of shared memory: the largest is put there.
    KIBS: gl.constexpr = of(FORM, "stages") * of(FORM, "stage_bytes") // 1024 + 1
    ring_and_barriers = gl.allocate_shared_memory(gl.int32, [KIBS, 256], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    out = gl.allocate_shared_memory(d.dtype, [of(FORM, "consumers") * BUFFERS] + d.block_shape, d.layout)
    memory = ptx.shared_memory()
    ptx.start(TEXT)
    # The tuples stand in the calls, for the compiler takes what has a name for a run-time value. The group that loads
    # has four warps, of which three only meet the cluster: it waits for whole warp groups.
    if of(FORM, "consumers") == 1:
        gl.warp_specialize([
            (consume, (
                d, memory, out, m, n, k, group_m, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                0, FORM, TEXT, ACTIVATION,
            )),
            (produce, (memory, m, n, k, group_m, FORM, TEXT)),
        ], [4], [40])  # fmt: skip
    else:
        gl.warp_specialize([
            (consume, (
                d, memory, out, m, n, k, group_m, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                0, FORM, TEXT, ACTIVATION,
            )),
            (consume, (
                d, memory, out, m, n, k, group_m, scale, row_scale, column_scale, bias, residual, stride_rm, stride_rn,
                1, FORM, TEXT, ACTIVATION,
            )),
            (produce, (memory, m, n, k, group_m, FORM, TEXT)),
        ], [4, 4], [232, 40])  # fmt: skip
    ring_and_barriers._keep_alive()


SHORT_GROUPS: Final = (1, 8)
WIDTHS: Final = (32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 256)
AXES = (
    Axis("block_m", (64, 128)),
    Axis("block_n", WIDTHS),
    Axis("block_k", (64, 128, 256)),
    Axis("group_m", SHORT_GROUPS),
    Axis("cluster_m", (1, 2)),
    Axis("cluster_n", (1, 2)),
    Axis("in_flight", (0, 1)),
)


def _blocks(problem: Problem, device: Device, config: Config) -> warp_groups.Blocks:
    """Of A, B and D as Triton knows them; of A and B only the inner extents count, the rest is in `Form.a` and `.b`."""
    shape = form_of(problem, device, config)
    (_, a_inner), (_, b_inner) = shape.a.box, shape.b.box
    return [ROWS, a_inner], [ROWS, b_inner], [ROWS, shape.width]


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    shape = form_of(problem, device, config)
    text = assembly.assembly(shape, clustered_kernel.fn.__name__)
    built = warp_groups.built(
        clustered_kernel, problem, config.replace(num_stages=shape.stages), accesses,
        integers=("m", "n", "k", "group_m"), others={"FORM": shape, "TEXT": text, "BUFFERS": BUFFERS},
        blocks=_blocks(problem, device, config),
    )  # fmt: skip
    taken = tuple((name, value) for name, value in built.constants if name in built.kernel.arg_names)
    return replace(built, constants=taken, cluster=shape.cluster, boxes=(shape.a.box, shape.b.box))


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    shape = form_of(problem, device, config)
    down = limits.cdiv(problem.m, shape.block_m * shape.cluster_m)
    clusters = min(down * limits.cdiv(problem.n, shape.block_n * shape.cluster_n), device.sm_count // shape.cluster)
    integers = (*problem.shape, config.number("group_m"))
    arguments = warp_groups.arguments(call, config, *integers, blocks=_blocks(problem, device, config))
    return bound(built, device.capability, (clusters * shape.cluster, 1, 1), arguments)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """Of tiles of 128 rows and of 64, those that the analytic guess holds fastest, valid ones where there are any.

    Alone, for two programs that fetch an operand once wait for each other longer than they save (by 1 to 4%, H200,
    2026-11); cuBLAS's clusters are there for the search to try.
    """
    valid = FAMILY.space(problem, device)
    found = []
    for block_m in (128, 64):
        some = list(_of_rows(problem, block_m))
        some = [config for config in some if config in valid] or some
        found.append(min(some, key=lambda config: guess_us(problem, device, config)))
    return tuple(found)


def _of_rows(problem: Problem, block_m: int) -> Iterator[Config]:
    """Of each width one with the next multiplication in flight and one without; they need not be valid."""
    for block_n, in_flight in itertools.product(WIDTHS, (1, 0)):
        yield Config.of(
            "clustered", block_m=block_m, block_n=block_n, block_k=limits.step(problem),
            group_m=8 if problem.m > block_m else 1, cluster_m=1, cluster_n=1, in_flight=in_flight,
        )  # fmt: skip


PARTS: Final = (clustered_limits.__file__, ptx.__file__, assembly.__file__, form.__file__, shares.__file__)
FAMILY = Family(
    name="clustered",
    summary="tiles of any width, operands fetched once for two programs, as warp_specialized otherwise; sm_90 alone",
    axes=AXES,
    constraints=(
        fused.ONE_PRODUCT,
        warp_groups.HOPPER,
        limits.NON_EMPTY,
        limits.EXTENT,
        tma_limits.ALIGNED,
        warp_groups.OPERANDS,
        *clustered_limits.CONSTRAINTS,
        limits.fitting("block_m", "m", ROWS),
        limits.fitting("block_n", "n", ROWS),
        limits.grouping(SHORT_GROUPS),
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: tma_limits.refuses(call, config) or fused.refuses(call),
    bind=bind,
    sources=tuple(Path(file) for file in (__file__, *PARTS, *ring.SOURCES)),
    deterministic=lambda problem, config: True,
)
