"""Reads a tuning pack from somewhere else: all of it is right, or none of it is taken."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from ...kernels.config import AxisValue, Config
from ...kernels.device import Device
from ...kernels.families import FAMILIES
from ...kernels.family import Family
from ...kernels.problem import DTYPES, LAYOUTS, MAX_EXTENT, OUT_DTYPES, Problem
from ..roofline import Ceilings
from ..trial import Check, Environment, Lane, Measurement, Outcome, Race, Resources, Trial
from .ceilings import RATES, read_rates
from .codec import axes_text, check_of, require_storable, require_storable_race
from .document import LARGEST, DocumentError, Node, parse, require_format
from .pack import FORMAT, VERSION, Pack

MAX_TIME_US: Final = 1e10
MAX_TFLOPS: Final = 1e5  # a hundred times the dense rate of any GPU that is sold
MAX_AXES_TEXT: Final = 2000  # characters; PostgreSQL indexes at most 2,704 bytes
MAX_BYTES: Final = 2**53
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
CLOCK_SKEW: Final = timedelta(days=1)
_ARCH: Final = re.compile(r"sm\d{2,3}|cpu|replay")
_NON_FINITE: Final = ("nan", "inf", "-inf")


def read_pack(
    data: bytes, name: str, *, devices: Collection[str] = (), families: Mapping[str, Family] = FAMILIES
) -> Pack:
    """The pack that `data` holds.

    Args:
        data: the JSON text, as bytes.
        name: of the file, for messages.
        devices: names; a pack that holds results of another device is refused. Empty accepts any.
        families: that are known by their names; a pack with another one is refused, and nothing it names is imported.

    Raises:
        DocumentError: it is no pack, its version is newer, or any value in it has the wrong type or is impossible.
    """
    root = parse(data, name)
    require_format(root, FORMAT, VERSION)
    fields = root.fields("format", "version", "devices", "environments", "races", "trials", "ceilings")
    known = Names(
        {key: read_device(node, devices) for key, node in fields["devices"].mapping().items()},
        {key: read_environment(node) for key, node in fields["environments"].mapping().items()},
        families,
    )
    trials = tuple(known.trial(node) for node in fields["trials"].items())
    races = tuple(known.race(node) for node in fields["races"].items())
    return Pack(trials, races, tuple(known.ceilings(node) for node in fields["ceilings"].items()))


class Names:
    """What the names in a document stand for, and the results that use them."""

    def __init__(
        self, devices: Mapping[str, Device], environments: Mapping[str, Environment], families: Mapping[str, Family]
    ) -> None:
        self.devices = devices
        self.environments = environments
        self.families = families

    def trial(self, node: Node) -> Trial:
        fields = node.fields(
            *("problem", "device", "environment", "family", "axes", "outcome", "reason", "started_at"),
            *("checks", "measurement", "resources"),
        )
        trial = Trial(
            problem=read_problem(fields["problem"]),
            device=self.device(fields["device"]),
            config=self.config(fields["family"], fields["axes"]),
            environment=self.environment(fields["environment"]),
            outcome=Outcome(fields["outcome"].choice([outcome.value for outcome in Outcome])),
            started_at=read_instant(fields["started_at"]),
            reason=fields["reason"].text(MAX_BYTES),
            checks=tuple(_check(check) for check in fields["checks"].items()),
            measurement=fields["measurement"].optional(_measurement),
            resources=fields["resources"].optional(_resources),
        )
        node.checked(lambda: require_storable(trial))
        _require_possible(node, trial.problem, trial.median_us)
        return trial

    def race(self, node: Node) -> Race:
        fields = node.fields("problem", "device", "protocol", "reference", "started_at", "confidence", "notes", "lanes")
        race = Race(
            problem=read_problem(fields["problem"]),
            device=self.device(fields["device"]),
            protocol=fields["protocol"].text(),
            reference=self.reference(fields["reference"]),
            lanes=tuple(self.lane(lane) for lane in fields["lanes"].items()),
            started_at=read_instant(fields["started_at"]),
            confidence=fields["confidence"].number(0, 1),
            notes=tuple(note.text(MAX_BYTES) for note in fields["notes"].items()),
        )
        node.checked(lambda: require_storable_race(race))
        for lane in race.lanes:
            _require_possible(node, race.problem, min(lane.times_us))
        return race

    def ceilings(self, node: Node) -> Ceilings:
        fields = node.fields("device", "measured_at", *RATES)
        device, measured_at = self.device(fields["device"]), read_instant(fields["measured_at"])
        rates = read_rates(fields)
        copy_gbs = rates.pop("copy_gbs")
        if copy_gbs is None:
            fields["copy_gbs"].fail("every device copies memory")
        return Ceilings(device, measured_at, copy_gbs, **rates)

    def lane(self, node: Node) -> Lane:
        fields = node.fields("family", "axes", "environment", "times_us")
        config = self.config(fields["family"], fields["axes"])
        return Lane(config, self.environment(fields["environment"]), _times(fields["times_us"]))

    def config(self, family: Node, axes: Node) -> Config:
        known = self.families[family.choice(self.families)]
        config = Config.of(known.name, {axis: _axis_value(node) for axis, node in axes.mapping().items()})
        if known.is_library == bool(config.items_by_axis):
            axes.fail(f"{known.name} is {'a library and has no axes' if known.is_library else 'a kernel and has axes'}")
        if len(axes_text(config)) > MAX_AXES_TEXT:
            raise DocumentError(f"{axes.where} is longer than {MAX_AXES_TEXT} characters: no family has so many axes")
        return config

    def reference(self, node: Node) -> Config:
        fields = node.fields("family", "axes")
        return self.config(fields["family"], fields["axes"])

    def device(self, node: Node) -> Device:
        return self.devices[node.choice(self.devices.keys())]

    def environment(self, node: Node) -> Environment:
        return self.environments[node.choice(self.environments.keys())]


def read_problem(node: Node) -> Problem:
    fields = node.fields("m", "n", "k", "dtype", "layout", "out_dtype")
    return Problem(
        fields["m"].whole(0, MAX_EXTENT),
        fields["n"].whole(0, MAX_EXTENT),
        fields["k"].whole(0, MAX_EXTENT),
        fields["dtype"].choice(DTYPES),
        fields["layout"].choice(LAYOUTS),
        fields["out_dtype"].choice(OUT_DTYPES),
    )


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


def _axis_value(node: Node) -> AxisValue:
    return node.text() if isinstance(node.value, str) else node.whole(-MAX_EXTENT, MAX_EXTENT)


def _measurement(node: Node) -> Measurement:
    fields = node.fields(
        *("times_us", "reference_us", "protocol", "sm_clock_mhz", "temperature_c", "power_w"),
        *("memory_clock_mhz", "throttle", "warnings"),
    )
    return Measurement(
        _times(fields["times_us"]),
        fields["protocol"].text(),
        _times(fields["reference_us"]),
        sm_clock_mhz=fields["sm_clock_mhz"].optional(Node.whole),
        temperature_c=fields["temperature_c"].optional(lambda field: field.whole(-273, 1000)),
        power_w=fields["power_w"].optional(lambda field: field.number(0, 1e6)),
        memory_clock_mhz=fields["memory_clock_mhz"].optional(Node.whole),
        throttle=tuple(reason.text() for reason in fields["throttle"].items()),
        warnings=tuple(warning.text() for warning in fields["warnings"].items()),
    )


def _resources(node: Node) -> Resources:
    fields = node.fields("registers", "spill_bytes", "shared_memory_bytes", "compile_seconds")
    return Resources(
        fields["registers"].whole(),
        fields["spill_bytes"].whole(),
        fields["shared_memory_bytes"].whole(),
        fields["compile_seconds"].number(0, 1e6),
    )


def _check(node: Node) -> Check:
    fields = node.fields("error", "bound", "row", "column", "value", "expected", "problem")
    for name in ("error", "bound", "value", "expected"):
        if fields[name].value not in _NON_FINITE:
            fields[name].number(-LARGEST)
    for name in ("row", "column"):
        fields[name].whole(0, MAX_EXTENT)
    fields["problem"].text()
    return check_of({name: field.value for name, field in fields.items()})


def _times(node: Node) -> tuple[float, ...]:
    return tuple(time.number(0, MAX_TIME_US) for time in node.items())


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
    _require_possible(node, problem, time_us)
    return time_us


def _require_possible(node: Node, problem: Problem, time_us: float | None) -> None:
    if time_us is not None and problem.flops / time_us / 1e6 > MAX_TFLOPS:
        speed = problem.flops / time_us / 1e6
        raise DocumentError(f"{node.where} reads {speed:g} TFLOP/s: no device reaches {MAX_TFLOPS:g}; check its times")
