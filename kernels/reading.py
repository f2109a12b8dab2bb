"""Reads our values out of a JSON document from somewhere else: each is possible, or it is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from .config import AxisValue, Config
from .device import Device
from .document import DocumentError, Node
from .epilogue import STEPS, canonical
from .family import Family
from .problem import DTYPES, LAYOUTS, MAX_EXTENT, OUT_DTYPES, Problem
from .result import Environment, Ratio

MAX_TIME_US: Final = 1e10
MAX_TFLOPS: Final = 1e5  # a hundred times the dense rate of any GPU that is sold
MAX_BYTES: Final = 2**53
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
CLOCK_SKEW: Final = timedelta(days=1)
_ARCH: Final = re.compile(r"sm\d{2,3}|cpu|replay")


def read_problem(node: Node) -> Problem:
    """A problem; `epilogue` may be left out, as what was written before there were any does."""
    mapping = node.mapping()
    fields = node.fields(
        "m", "n", "k", "dtype", "layout", "out_dtype", *(["epilogue"] if "epilogue" in mapping else [])
    )
    epilogue = fields.get("epilogue")
    return Problem(
        fields["m"].whole(0, MAX_EXTENT),
        fields["n"].whole(0, MAX_EXTENT),
        fields["k"].whole(0, MAX_EXTENT),
        fields["dtype"].choice(DTYPES),
        fields["layout"].choice(LAYOUTS),
        fields["out_dtype"].choice(OUT_DTYPES),
        "" if epilogue is None else _epilogue(epilogue),
    )


def _epilogue(node: Node) -> str:
    text = node.text()
    if node.checked(lambda: canonical(text)) != text:
        node.fail(f"an epilogue is steps in the order {', '.join(STEPS)} joined by +, and left out where there is none")
    return text


def read_device(node: Node, accepted: Collection[str] = ()) -> Device:
    fields = node.fields(
        *("name", "arch", "sm_count", "shared_memory_bytes", "l2_bytes", "memory_bytes"),
        *("sm_clock_mhz", "memory_clock_mhz", "power_limit_w"),
    )
    name, arch = fields["name"].text(), fields["arch"].text()
    if not _ARCH.fullmatch(arch):
        fields["arch"].fail("a device of another maker: an arch is sm and its number, as sm90, cpu or replay")
    if accepted and name not in accepted:
        fields["name"].fail(f"a foreign device, only {', '.join(accepted)} may come in")
    return Device(
        name,
        arch,
        sm_count=fields["sm_count"].whole(),
        shared_memory_bytes=fields["shared_memory_bytes"].whole(0, MAX_BYTES),
        l2_bytes=fields["l2_bytes"].whole(0, MAX_BYTES),
        memory_bytes=fields["memory_bytes"].whole(0, MAX_BYTES),
        sm_clock_mhz=fields["sm_clock_mhz"].whole(),
        memory_clock_mhz=fields["memory_clock_mhz"].whole(),
        power_limit_w=fields["power_limit_w"].whole(),
    )


def read_environment(node: Node) -> Environment:
    fields = node.fields("triton", "torch", "cuda", "driver", "python", "kernel_hash", "commit")
    return Environment(**{name: field.text() for name, field in fields.items()})


def read_config(family: Node, axes: Node, families: Mapping[str, Family]) -> Config:
    known = families[family.choice(families)]
    config = Config.of(known.name, {axis: _axis_value(node) for axis, node in axes.mapping().items()})
    if known.is_library == bool(config.items_by_axis):
        axes.fail(f"{known.name} is {'a library and has no axes' if known.is_library else 'a kernel and has axes'}")
    return config


def read_ratio(node: Node) -> Ratio:
    fields = node.fields("median", "low", "high")
    high = fields["high"].optional(Node.number)
    ratio = Ratio(fields["median"].number(), fields["low"].number(), math.inf if high is None else high)
    if not ratio.low <= ratio.median <= ratio.high:
        node.fail("low, median and high must be in this order")
    return ratio


def _axis_value(node: Node) -> AxisValue:
    return node.text() if isinstance(node.value, str) else node.whole(-MAX_EXTENT, MAX_EXTENT)


def read_instant(node: Node) -> datetime:
    text = node.text()
    instant = node.checked(lambda: datetime.fromisoformat(text))
    if instant.tzinfo is None:
        node.fail("an instant needs its time zone, as in 2026-01-31T12:00:00.000000Z")
    if instant < EARLIEST:
        node.fail(f"an instant before {EARLIEST.year} is a clock that was not set")
    if instant > datetime.now(UTC) + CLOCK_SKEW:
        node.fail("this instant has not come yet, and would stand before every later result")
    return instant


def read_time(node: Node, problem: Problem) -> float:
    """A time in us that some device could need for `problem`."""
    time_us = node.number(0, MAX_TIME_US)
    if time_us == 0:
        node.fail("a time is above 0")
    require_possible(node, problem, time_us)
    return time_us


def require_possible(node: Node, problem: Problem, time_us: float | None) -> None:
    if time_us is not None and problem.flops / time_us / 1e6 > MAX_TFLOPS:
        speed = problem.flops / time_us / 1e6
        raise DocumentError(f"{node.where} reads {speed:g} TFLOP/s: no device reaches {MAX_TFLOPS:g}; check its times")
