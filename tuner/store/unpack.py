"""Reads a tuning pack from somewhere else: all of it is right, or none of it is taken."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.document import LARGEST, DocumentError, Node, parse, require_format
from ...kernels.families import FAMILIES
from ...kernels.family import Family
from ...kernels.problem import MAX_EXTENT
from ...kernels.reading import (
    MAX_BYTES,
    MAX_TIME_US,
    read_config,
    read_device,
    read_environment,
    read_instant,
    read_problem,
    require_possible,
)
from ..roofline import Ceilings
from ..trial import Check, Environment, Lane, Measurement, Outcome, Race, Resources, Trial
from .ceilings import RATES, read_rates
from .codec import axes_text, check_of, require_storable, require_storable_race
from .pack import FORMAT, VERSION, Pack

MAX_AXES_TEXT: Final = 2000  # characters; PostgreSQL indexes at most 2,704 bytes
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
        require_possible(node, trial.problem, trial.median_us)
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
            require_possible(node, race.problem, min(lane.times_us))
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
        rested = ["rested_us"] if "rested_us" in node.mapping() else []  # left out where there are none
        fields = node.fields("family", "axes", "environment", "times_us", *rested)
        config = self.config(fields["family"], fields["axes"])
        times = [_times(fields[name]) for name in ("times_us", *rested)]
        return Lane(config, self.environment(fields["environment"]), *times)

    def config(self, family: Node, axes: Node) -> Config:
        config = read_config(family, axes, self.families)
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
