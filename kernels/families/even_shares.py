"""`even_shares`: for few rows of A, where reading B is all the work: every program reads the same number of steps.

The tiles of D, each with its steps over k, are one long row of steps, which is cut into as many equal shares as there
are programs, a few for each multiprocessor. So none reads twice what another one does, as with a split of every tile
into the same number of parts. A tile that is cut leaves fp32 partial tiles in scratch memory; the program that arrives
last adds them up in the order of k and stores D, so that repeats are bit-identical whatever the order of arrival.

The product is computed mirrored, D^T = B^T @ A^T: the columns of D are what wgmma has 64 of at once, and the few rows,
padded to 16, are the other extent.
"""

from __future__ import annotations

from dataclasses import replace
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
from ..space import Axis, Constraint
from . import limits, split_k, tiles
from .limits import cdiv


@triton.jit
def begin(program, programs, steps):
    """The first step of a program's share; the first programs have one step more where it does not come out even."""
    return program * (steps // programs) + tl.minimum(program, steps % programs)


@triton.jit
def owner(step, programs, steps):
    """The program in whose share a step is."""
    share = steps // programs
    longer = steps % programs
    behind = step - longer * (share + 1)
    return tl.where(behind < 0, step // (share + 1), longer + behind // share)


@triton.jit
def even_shares_kernel(
    a, b, d, partials, counters, m, n, k,
    stride_am, stride_ak, stride_bk, stride_bn, stride_dm, stride_dn,
    scale, bias, residual, stride_rm, stride_rn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
    ACTIVATION: tl.constexpr,
):  # fmt: skip
    tiles_m, steps_k = tl.cdiv(m, BLOCK_M), tl.maximum(tl.cdiv(k, BLOCK_K), 1)
    steps = tiles_m * tl.cdiv(n, BLOCK_N) * steps_k
    program, programs = tl.program_id(0), tl.num_programs(0)
    first, last = begin(program, programs, steps), begin(program + 1, programs, steps)
    # What counts arrivals lies in memory that nobody has touched for long: asked for now, it is near when it is needed.
    tl.load(counters + first // steps_k, volatile=True)
    for tile in range(first // steps_k, tl.cdiv(last, steps_k)):
        rows = tile % tiles_m * BLOCK_M + tl.arange(0, BLOCK_M)
        columns = tile // tiles_m * BLOCK_N + tl.arange(0, BLOCK_N)
        within_k = tl.arange(0, BLOCK_K)
        start, stop = tl.maximum(first - tile * steps_k, 0), tl.minimum(last - tile * steps_k, steps_k)
        depth = (start * BLOCK_K + within_k).to(tl.int64)
        a_at = a + rows.to(tl.int64)[None, :] * stride_am + depth[:, None] * stride_ak
        b_at = b + columns.to(tl.int64)[:, None] * stride_bn + depth[None, :] * stride_bk
        total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        for step in range(start, stop):
            left = k - step * BLOCK_K
            b_tile = tl.load(b_at, mask=(columns[:, None] < n) & (within_k[None, :] < left), other=0.0)
            a_tile = tl.load(a_at, mask=(rows[None, :] < m) & (within_k[:, None] < left), other=0.0)
            total = tl.dot(b_tile, a_tile, total, input_precision=PRECISION)
            a_at += BLOCK_K * stride_ak
            b_at += BLOCK_K * stride_bk
        d_at = d + rows.to(tl.int64)[:, None] * stride_dm + columns.to(tl.int64)[None, :] * stride_dn
        inside = (rows[:, None] < m) & (columns[None, :] < n)
        if stop - start == steps_k:
            found = fused.epilogue(
                total.T, rows, columns, m, n, scale, bias, residual, stride_rm, stride_rn, ACTIVATION
            )
            tl.store(d_at, found.to(d.dtype.element_ty), mask=inside)
        else:
            place = tl.arange(0, BLOCK_N)[:, None] * BLOCK_M + tl.arange(0, BLOCK_M)[None, :]
            # A program has at most two tiles that are cut: the one that its share begins in, and the one it ends in.
            slot = 2 * program + (first < tile * steps_k).to(tl.int32)
            tl.store(partials + slot.to(tl.int64) * (BLOCK_M * BLOCK_N) + place, total, cache_modifier=".cg")
            # Every thread's part of the tile is stored before one thread counts this program in.
            tl.debug_barrier()
            arrived = tl.atomic_add(counters + tile, 1, sem="acq_rel")
            earliest = owner(tile * steps_k, programs, steps)
            latest = owner(tile * steps_k + steps_k - 1, programs, steps)
            if arrived == latest - earliest:
                total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
                for one in range(earliest, latest + 1):
                    slot = 2 * one + (begin(one, programs, steps) < tile * steps_k).to(tl.int32)
                    at = partials + slot.to(tl.int64) * (BLOCK_M * BLOCK_N) + place
                    total += tl.load(at, cache_modifier=".cg")
                found = fused.epilogue(
                    total.T, rows, columns, m, n, scale, bias, residual, stride_rm, stride_rn, ACTIVATION
                )
                tl.store(d_at, found.to(d.dtype.element_ty), mask=inside)
                tl.store(counters + tile, 0)


AXES = (
    Axis("block_m", (16, 32, 64)),
    Axis("block_n", (64, 128)),
    Axis("block_k", (64, 128, 256)),
    Axis("num_warps", (4, 8)),
    Axis("num_stages", (3, 4, 5, 6)),
    Axis("programs_per_sm", (1, 2, 3, 4)),
)


def step_count(problem: Problem, config: Config) -> int:
    return limits.tile_count(problem, config) * max(1, cdiv(problem.k, config.number("block_k")))


def program_count(device: Device, config: Config) -> int:
    return max(1, device.sm_count) * config.number("programs_per_sm")


def mirrored(problem: Problem, config: Config) -> tuple[Problem, Config]:
    """D^T = B^T @ A^T: what the compiler sees."""
    layout = ("n" if problem.b_transposed else "t") + ("n" if problem.a_transposed else "t")
    return (
        replace(problem, m=problem.n, n=problem.m, layout=layout),
        config.replace(block_m=config["block_n"], block_n=config["block_m"]),
    )


def shared_memory(problem: Problem, device: Device, config: Config) -> int:
    """Of a program, in bytes."""
    turned, config = mirrored(problem, config)
    return tiles.pipelined_bytes(turned, device, config)


SHARES = Constraint(
    "shares",
    "programs",
    lambda problem, device, config: program_count(device, config),
    lambda problem, device, config: max(1, step_count(problem, config)),
    "each program has a step to do",
)
RESIDENT = Constraint(
    "resident_shared_memory",
    "bytes",
    lambda problem, device, config: (
        config.number("programs_per_sm") * (shared_memory(problem, device, config) + limits.SM_RESERVED_BYTES)
    ),
    lambda problem, device, config: device.shared_memory_bytes + limits.SM_RESERVED_BYTES,
    limits.GUIDE,
)


def binary(problem: Problem, device: Device, config: Config, accesses: Accesses) -> Binary:
    constants: dict[str, Any] = {
        "BLOCK_M": config["block_m"],
        "BLOCK_N": config["block_n"],
        "BLOCK_K": config["block_k"],
        "PRECISION": DTYPES[problem.dtype].precision,
    }
    pointers = {"partials": "*fp32", "counters": "*i32"}
    operands = tiles.Operands(problem, accesses)
    return tiles.pointer_binary(even_shares_kernel, operands, constants, config, types=pointers)


def bind(call: Call, config: Config) -> Launch:
    problem, device = call.problem, call.device
    built = binary(problem, device, config, Accesses.of(call.a, call.b, call.d))
    programs = min(program_count(device, config), step_count(problem, config))
    partials = call.scratch.partials(2 * programs * config.number("block_m") * config.number("block_n"))
    counters = call.scratch.counters(limits.tile_count(problem, config))
    head = (call.a, call.b, call.d, partials, counters, *problem.shape)
    arguments = (*head, *tiles.run_time_strides(built, call), *fused.arguments(call))
    return bound(built, device.capability, (programs, 1, 1), arguments)


def defaults(problem: Problem, device: Device) -> tuple[Config, ...]:
    """Two programs a multiprocessor, so that one reads while the other one adds up and stores."""
    block_m = min(64, max(16, limits.next_power_of_2(problem.m)))
    config = Config.of(
        "even_shares", block_m=block_m, block_n=64, block_k=128, num_warps=4, num_stages=4, programs_per_sm=2
    )
    return (config, config.replace(block_n=128, programs_per_sm=1))


FAMILY = Family(
    name="even_shares",
    summary="few rows: every program reads the same number of steps, tiles are cut where shares end",
    axes=AXES,
    constraints=(
        limits.NON_EMPTY,
        limits.EXTENT,
        split_k.FEW_ROWS,
        limits.fitting("block_m", "m", 16),
        limits.fitting("block_n", "n", 64),
        SHARES,
        limits.FMA_UNROLL,
        limits.shared_memory(shared_memory),
        RESIDENT,
    ),
    defaults=defaults,
    binary=binary,
    refuses=lambda call, config: fused.refuses(call),
    bind=bind,
    sources=(Path(__file__), Path(tiles.__file__), Path(fused.__file__)),
    deterministic=lambda problem, config: True,  # the parts of a tile are added in the order of k
)
