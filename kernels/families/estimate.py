"""A first guess at a config's time, from its tiles, waves, bytes and stages. It orders what is tried first, no more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..config import Config
from ..device import REGISTERS_PER_SM, Device
from ..problem import DTYPES, PROMOTED, Problem
from . import clustered_limits, heights, limits
from .limits import cdiv


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one architecture: FLOP/us of a multiprocessor's tensor cores (16-bit), bytes/us of the memory."""

    sm_flops: float
    memory_bytes: float


# sm90 was fitted (see `guess_us`); the others stand to it as their data sheets do. An order of magnitude would do.
_RATES: Final = MappingProxyType(
    {
        80: Rates(2.5e6, 1.8e6),
        86: Rates(1.6e6, 0.7e6),
        89: Rates(1.1e6, 0.8e6),
        90: Rates(6.5e6, 4.3e6),
        100: Rates(13e6, 7.0e6),
        120: Rates(1.0e6, 1.6e6),
    }
)
# What the memory rate of sm90 was fitted on, an H200: the clock of its memory, and six stacks of it. With fewer bytes
# they are five, as in an H100, whose copies reach 3.0e6 bytes/us.
_FITTED_MHZ: Final = 3201
_SIX_STACKS_BYTES: Final = 90e9
# The families in Gluon, but `swapped_tiles`, which is turned before it is guessed.
_WARP_GROUPS: Final = ("warp_specialized", "mixed_tiles", "shared_tiles", "half_by_half", "clustered")
_TMA: Final = ("descriptor", "swapped", *_WARP_GROUPS)  # families whose tiles it moves
_FEW_STAGES: Final = 2  # of a family, as somebody's own, that has no such axis
_LATENCY_US: Final = 0.36  # of one step's loads, over the stages that hide it
_FEED: Final = 1.05e5  # bytes/us of operands that reach one multiprocessor: 128x6144x4096 in 48 tiles, H100 (2026-11)
_BLEND: Final = 1.4  # exponent of the norm that joins throughput and latency
_WAVE_US: Final = 3.7  # to start and to drain a wave
_ROUND_US: Final = 0.7  # to go on to the next tile, where one warp group stores while others multiply
_SETUP_US: Final = 0.5  # of barriers and partitions
_JOIN_US: Final = 1.2  # of the programs that share a tile
_SMALL_TILE: Final = 0.64  # efficiency of mma (fewer than 64 rows) against wgmma
_POINTERS: Final = 0.63  # of loads through pointers against TMA
_TWO_WARPS: Final = 0.5
_HALF_A_GROUP: Final = 0.2  # of 64 rows, which four warps multiply at once
_TILE_EXPONENT: Final = 0.19
_FULL_TILE: Final = 128 * 128
_LARGE_EXPONENT: Final = 0.03  # beyond the full tile, of warp groups: fewer bytes moved are a higher clock
_ROW_ORDER: Final = 1.08  # tiles in plain row order share less of the L2
_AWAY_FROM_8: Final = 1.002  # a doubling of the group of rows, or a halving: to order equals
# Axis, value, factor. Two programs of a cluster wait for each other, which costs more than multicast saves (H200,
# 2026-11), and more where they share rows of A than where they share columns of B (H100, 2026-11).
_OF_AXES: Final = (("num_warps", 8, 1.05), ("cluster_m", 2, 1.01), ("cluster_n", 2, 1.04))
_LINE_BYTES: Final = 128  # of the L2; steps of half a line are loaded at less than its speed
_SHORT_STEP: Final = 1.3
# Where each multiplication is waited for the tensor cores are idle in between, so long in each step: less with two warp
# groups, of which one multiplies while the other waits (six products raced on an H200, two on an H100, 2026-11).
_IDLE_US: Final = MappingProxyType({1: 0.007, 2: 0.002})
_SHORT_RING: Final = 3  # stages, of which one is missed that a multiplication under way still holds
_BESIDE_OTHERS: Final = 1.1  # of promotion while another warp group multiplies (e4m3 by one scale, H200, 2026-11)
_BETWEEN: Final = 1.35  # of promotion while nobody does
_SWAPPED: Final = 1.2  # of promotion there, beyond that: what waits for memory is slowed down by it too
# Epilogues beside a multiplication: 219.1 us, 223.9 us with them between (H100, 2026-11). `clustered` is tried after
# warp groups of a tile that both have.
_OF_FAMILY: Final = MappingProxyType({"half_by_half": 0.98, "clustered": 1.01})


def guess_us(problem: Problem, device: Device, config: Config) -> float:
    """A guess at the time of one launch, in us.

    Throughput of the busiest multiprocessor or of memory, joined with the latency that its stages do not hide, and a
    fixed price a wave. The constants were fitted to ten exhaustive bf16 landscapes of an H200, and for families since
    and for fp8 to the trials of tunings of an H200 and an H100 (2026-11, in results/).
    """
    if config.family == "swapped_tiles":
        problem, config = heights.turned(problem, config)
    block_m, block_n, block_k = (config.number(axis) for axis in ("block_m", "block_n", "block_k"))
    split = int(config.get("split", 1))
    rates = _RATES.get(device.capability, _RATES[90])
    mixed = config.family == "mixed_tiles"
    tile_count = heights.tile_count(problem, device, config) if mixed else limits.tile_count(problem, config)
    programs = tile_count * split
    steps = cdiv(cdiv(problem.k, block_k), split)
    if config.family == "clustered":
        steps = cdiv(steps, turns := clustered_limits.form_of(problem, device, config).turns) * turns
    resident = _resident(problem, device, config) * max(1, device.sm_count)
    waves = cdiv(programs, resident)
    rows = cdiv(programs, max(1, device.sm_count)) * block_m  # of tiles that the busiest multiprocessor multiplies
    if mixed:
        rows = heights.busiest_parts(problem, device, config) * heights.PART
    flops = rows * block_n * steps * 2 * block_k
    multiply_us = flops / (rates.sm_flops * 2 / DTYPES[problem.dtype].bytes * _efficiency(config))
    multiply_us *= _promotion(problem, config)
    feed_us = rows / block_m * steps * limits.operand_bytes(problem, config) / _FEED
    memory_bytes = _memory_bytes(rates, device)
    moved = problem.bytes_moved + _moved_again(problem, device, config)
    throughput_us = max(multiply_us, feed_us, moved / memory_bytes)
    latency_us = waves * steps * _LATENCY_US / max(0.5, _buffers(problem, device, config) - 1)
    total = math.pow(throughput_us**_BLEND + latency_us**_BLEND, 1 / _BLEND) + _waves_us(config, waves)
    if split > 1:
        total += _JOIN_US + split * problem.m * problem.n * 8 / memory_bytes
    if config.get("in_flight") == 0:
        total += waves * steps * _IDLE_US.get(block_m // heights.PART, 0.0)
    return total * _factor(problem, config)


def _factor(problem: Problem, config: Config) -> float:
    """What else a launch takes longer for, by the family and by axes that are neither work nor waves."""
    found = _OF_FAMILY.get(config.family, 1.0) * _order(problem, config)
    if config.family == "swapped" and DTYPES[problem.dtype].precision == "promoted":
        found *= _SWAPPED
    for axis, value, factor in _OF_AXES:
        found *= factor if config.get(axis) == value else 1.0
    step_bytes = config.number("block_k") * DTYPES[problem.dtype].bytes
    return found * (_SHORT_STEP if step_bytes < _LINE_BYTES else 1.0)


def _promotion(problem: Problem, config: Config) -> float:
    """What it costs to add the sum of every 128 of k, or of every step of the tile if that is shorter, in fp32."""
    if DTYPES[problem.dtype].precision != "promoted":
        return 1.0
    often = max(1.0, PROMOTED / config.number("block_k"))
    alone = config.number("block_m") == heights.PART and not config.get("in_flight", 0)
    beside = config.family in _WARP_GROUPS and not alone
    return (_BESIDE_OTHERS if beside else _BETWEEN) * math.sqrt(often)


def _memory_bytes(rates: Rates, device: Device) -> float:
    """Bytes/us of a device's own memory, where its clock is known and the rate was fitted."""
    if device.capability != 90 or not device.memory_clock_mhz:
        return rates.memory_bytes
    stacks = 6 if device.memory_bytes >= _SIX_STACKS_BYTES else 5
    return rates.memory_bytes * device.memory_clock_mhz / _FITTED_MHZ * stacks / 6


def _moved_again(problem: Problem, device: Device, config: Config) -> int:
    """Bytes of B beyond the first time: each group of rows walks through all of B, which the L2 holds or does not.
    As measured: 512x28672x4096 by 128 rows, one a group, takes 315 to 350 us, and 165 by four a group (H100, 2026-11).
    """
    b_bytes = problem.k * problem.n * DTYPES[problem.dtype].bytes
    if "group_m" not in config or b_bytes <= device.l2_bytes:
        return 0
    groups = cdiv(cdiv(problem.m, config.number("block_m")), config.number("group_m"))
    return max(0, groups - 1) * b_bytes


def _waves_us(config: Config, waves: int) -> float:
    """To start and to drain them."""
    if config.family not in _WARP_GROUPS:
        return waves * _WAVE_US
    return _SETUP_US + _WAVE_US + (waves - 1) * (_ROUND_US if config.number("block_m") > heights.PART else _WAVE_US)


def _order(problem: Problem, config: Config) -> float:
    """What the order of tiles costs."""
    group_m = int(config.get("group_m", 8))
    if problem.m <= config.number("block_m"):
        return 1.0
    return _ROW_ORDER if group_m == 1 else math.pow(_AWAY_FROM_8, abs(math.log2(group_m / 8)))


def _efficiency(config: Config) -> float:
    """Of the tensor cores, by the shape of the tile and by how it is fed."""
    area = config.number("block_m") * config.number("block_n")
    found = min(1.0, math.pow(area / _FULL_TILE, _TILE_EXPONENT))
    if config.family in _WARP_GROUPS and area > _FULL_TILE:
        found = math.pow(area / _FULL_TILE, _LARGE_EXPONENT)
    if config.number("block_m") < 64 and config.family != "swapped":
        found *= _SMALL_TILE
    if config.family not in _TMA:
        found *= _POINTERS
    if config.get("num_warps") == 2 and (area >= 4096 or config.number("block_m") >= 64):
        found *= _TWO_WARPS if config.number("block_m") < 64 else _HALF_A_GROUP
    return found


def _buffers(problem: Problem, device: Device, config: Config) -> int:
    if config.family == "clustered":
        stages = clustered_limits.stages(problem, device, config)
        return stages - config.number("in_flight") if stages <= _SHORT_RING else stages
    if config.family == "mixed_tiles":
        stages = config.number("num_stages")
        return stages if stages > _FEW_STAGES else 1  # the other one is held by the multiplication under way
    asynchronous = config.family in _TMA or config.number("block_m") >= 64
    return int(config.get("num_stages", _FEW_STAGES)) - (0 if asynchronous else 1)


def _resident(problem: Problem, device: Device, config: Config) -> int:
    """Programs on one multiprocessor at a time, by shared memory and by registers."""
    if "num_warps" not in config:
        return 1  # warp-specialized programs stay, one a multiprocessor
    persistent = int(config.get("programs_per_sm", 0))
    if persistent:
        return persistent
    block_bytes = _buffers(problem, device, config) * limits.operand_bytes(problem, config) + limits.SM_RESERVED_BYTES
    threads = config.number("num_warps") * limits.WARP
    area = config.number("block_m") * config.number("block_n")
    registers = min(255, area // threads + 40) * threads
    by_memory = (device.shared_memory_bytes + limits.SM_RESERVED_BYTES) // block_bytes
    return max(1, min(by_memory, REGISTERS_PER_SM // registers, 16))
