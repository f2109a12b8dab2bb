"""What limits a config of `clustered`: its form, shared memory and registers."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from ..config import Config
from ..device import Device
from ..problem import DTYPES, Problem
from ..space import Constraint
from . import limits
from .form import GROUP_THREADS, PANEL_BYTES, ROWS, Form, part_width

KINDS: Final = MappingProxyType(
    {"bf16": "bf16", "fp16": "f16", "e4m3": "e4m3", "e4m3fast": "e4m3", "e5m2": "e5m2", "int8": "s8"}
)
BUFFERS: Final = 2  # of a consumer, each for a part on its way out
FEWEST_STAGES: Final = 3
MOST_STAGES: Final = 16


def form_of(problem: Problem, device: Device, config: Config) -> Form:
    """What a config is to the kernel."""
    return Form(
        kind=KINDS.get(problem.dtype, ""),
        size=DTYPES[problem.dtype].bytes,
        block_m=config.number("block_m"),
        block_n=config.number("block_n"),
        block_k=config.number("block_k"),
        stages=stages(problem, device, config),
        cluster_m=config.number("cluster_m"),
        cluster_n=config.number("cluster_n"),
        a_k_major=not problem.a_transposed,
        b_k_major=problem.b_transposed,
        in_flight=config.number("in_flight"),
        promoted=DTYPES[problem.dtype].precision == "promoted",
    )


# Read off Triton 3.6 and 3.7: what the partitions are told, in bytes by the number of consumers, and in words of 8 for
# an operand of the epilogue, where there is a second consumer to be told.
HANDED_OVER_BYTES: Final = {1: 24, 2: 56}
OPERAND_WORDS: Final = {"scale": 1, "row_scale": 1, "column_scale": 1, "bias": 1, "residual": 2}


def _beside_ring(problem: Problem, config: Config) -> int:
    """Bytes of shared memory: barriers, with what rounds them up, buffers for stores, what partitions are told."""
    consumers = config.number("block_m") // ROWS
    part = ROWS * part_width(config.number("block_n")) * DTYPES[problem.out_dtype].bytes
    words = (consumers - 1) * sum(OPERAND_WORDS.get(name, 0) for name in problem.epilogue_operands)
    return 1024 + consumers * BUFFERS * part + HANDED_OVER_BYTES[consumers] + 8 * words


def stages(problem: Problem, device: Device, config: Config) -> int:
    """As many as fit: a multiprocessor holds one program, and what its stages left would be of no use."""
    room = device.shared_memory_bytes - _beside_ring(problem, config)
    return max(FEWEST_STAGES, min(MOST_STAGES, room // limits.operand_bytes(problem, config)))


def shared_memory(problem: Problem, device: Device, config: Config) -> int:
    """Of a program, in bytes."""
    return stages(problem, device, config) * limits.operand_bytes(problem, config) + _beside_ring(problem, config)


def _step_bytes(problem: Problem, config: Config) -> int:
    return config.number("block_k") * DTYPES[problem.dtype].bytes


def _beside_panels(problem: Problem, device: Device, config: Config) -> int:
    step = _step_bytes(problem, config)
    return min(abs(step - PANEL_BYTES), abs(step - 2 * PANEL_BYTES))


PANELS = Constraint(
    "step_bytes",
    "bytes beside one panel or two",
    _beside_panels,
    lambda problem, device, config: 0,
    "a step of k is one panel of shared memory (128 bytes a row) or two",
)
ONE_PROMOTION = Constraint(
    "promotion",
    "bytes of k in a step",
    lambda problem, device, config: (
        _step_bytes(problem, config) if DTYPES[problem.dtype].precision == "promoted" else 0
    ),
    lambda problem, device, config: PANEL_BYTES,
    "sums are promoted after each step of 128",
)


def _beyond(problem: Problem, device: Device, config: Config) -> int:
    down, across = config.number("cluster_m"), config.number("cluster_n")
    if down * across > 2:
        return down * across - 2
    return max(0, down - limits.cdiv(problem.m, config.number("block_m"))) + max(
        0, across - limits.cdiv(problem.n, config.number("block_n"))
    )


NEIGHBOURS = Constraint(
    "cluster",
    "tiles in a cluster beyond D or beyond two",
    _beyond,
    lambda problem, device, config: 0,
    "a cluster is two tiles at most; four were never faster (H100, 2026-11)",
)


# Registers that a thread of a consumer has for sums, by the number of consumers: of 255 and 232, which the program that
# loads leaves to two. With more of them some epilogues spill (Triton 3.6 and 3.7); not all do.
SUMS: Final = {1: 224, 2: 192}
_TWO_STAGES: Final = 8  # where the next stage is multiplied before the last one's sum is added


def _accumulator(problem: Problem, device: Device, config: Config) -> float:
    """With promotion the total beside the sum of a step, or of two of which one is in flight."""
    promoted, in_flight = DTYPES[problem.dtype].precision == "promoted", config.number("in_flight")
    sums = 2 + in_flight if promoted else 1
    return sums * config.number("block_n") * ROWS / GROUP_THREADS + _TWO_STAGES * (promoted and in_flight)


ACCUMULATOR = Constraint(
    "accumulator",
    "registers a thread",
    _accumulator,
    lambda problem, device, config: SUMS[config.number("block_m") // ROWS],
    f"sums of D's tile; {limits.GUIDE}",
)
CONSTRAINTS: Final = (PANELS, NEIGHBOURS, ACCUMULATOR, limits.shared_memory(shared_memory), ONE_PROMOTION)
