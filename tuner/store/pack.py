"""Tuning packs: trials and races as one JSON text that can be read, compared line by line, and merged."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.problem import Problem
from ..roofline import Ceilings
from ..trial import Environment, Measurement, Race, Resources, Trial
from . import ceilings
from .codec import axes_text, check_fields, clean, dumps
from .protocol import Store, TrialQuery
from .ranking import fastest

FORMAT: Final = "tilewright-pack"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Pack:
    """Results to hand on; each says on what device and with what toolchain it was got."""

    trials: tuple[Trial, ...]
    races: tuple[Race, ...]
    ceilings: tuple[Ceilings, ...] = ()


def pack_of(
    store: Store, problems: Sequence[Problem] = (), device: str | None = None, *, top: int | None = None
) -> Pack:
    """What a store holds of these problems, or of all, and on a device by name, or on all.

    Args:
        store, problems, device: of what.
        top: only so many of the fastest trials of each problem, device and environment, and no failures.
    """
    chosen = problems or store.problems()
    trials = [trial for problem in chosen for trial in _trials(store, problem, device, top)]
    races = tuple(race for problem in chosen for race in store.races(problem, device))
    return Pack(tuple(trials), races, tuple(store.ceilings(device)))


def _trials(store: Store, problem: Problem, device: str | None, top: int | None) -> Iterable[Trial]:
    if top is None:
        return store.trials(TrialQuery(problem, device))
    names = sorted({one.name for one in store.devices()}) if device is None else [device]
    return (trial for name in names for trial in fastest(store, problem, name, store.environments(problem, name), top))


def write_pack(pack: Pack) -> str:
    """The one text of these results: sorted, a line each, so that two packs can be compared and merged as text."""
    used = {one.device for results in (pack.trials, pack.races, pack.ceilings) for one in results}
    devices = {device_name(one): dumps(value_fields(one)) for one in used}
    made = [trial.environment for trial in pack.trials]
    made += [lane.environment for race in pack.races for lane in race.lanes]
    environments = {environment_name(one): dumps(value_fields(one)) for one in set(made)}
    trials = sorted(pack.trials, key=_trial_order)
    races = sorted(
        pack.races, key=lambda race: (race.problem, device_name(race.device), race.protocol, race.started_at)
    )
    parts = [
        f'"format":{dumps(FORMAT)}',
        f'"version":{VERSION}',
        f'"ceilings":{block("[]", (dumps(_ceilings_fields(one)) for one in sorted(pack.ceilings, key=_device_name)))}',
        f'"devices":{block("{}", (f"{dumps(name)}:{fields}" for name, fields in sorted(devices.items())))}',
        f'"environments":{block("{}", (f"{dumps(name)}:{fields}" for name, fields in sorted(environments.items())))}',
        f'"races":{block("[]", (dumps(race_fields(race)) for race in races))}',
        f'"trials":{block("[]", (dumps(trial_fields(trial)) for trial in trials))}',
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def device_name(device: Device) -> str:
    """A device's name within a document: people know it by the first part, the rest tells two variants apart."""
    return f"{device.slug}-{_digest(value_fields(device))}"


def environment_name(environment: Environment) -> str:
    return f"triton-{environment.triton}-{_digest(value_fields(environment))}"


def trial_fields(trial: Trial) -> dict[str, Any]:
    return {
        "problem": value_fields(trial.problem),
        "device": device_name(trial.device),
        "environment": environment_name(trial.environment),
        **config_fields(trial.config),
        "outcome": trial.outcome.value,
        "reason": clean(trial.reason),
        "started_at": instant_text(trial.started_at),
        "checks": [check_fields(check) for check in trial.checks],
        "measurement": _measurement_fields(trial.measurement),
        "resources": _resources_fields(trial.resources),
    }


def race_fields(race: Race) -> dict[str, Any]:
    return {
        "problem": value_fields(race.problem),
        "device": device_name(race.device),
        "protocol": race.protocol,
        "reference": config_fields(race.reference),
        "started_at": instant_text(race.started_at),
        "confidence": float(race.confidence),
        "notes": [clean(note) for note in race.notes],
        "lanes": [
            {
                **config_fields(lane.config),
                "environment": environment_name(lane.environment),
                "times_us": [float(time) for time in lane.times_us],
                **({"rested_us": [float(time) for time in lane.rested_us]} if lane.rested_us else {}),
            }
            for lane in race.lanes
        ],
    }


def _ceilings_fields(found: Ceilings) -> dict[str, Any]:
    return {"device": _device_name(found), "measured_at": instant_text(found.measured_at), **ceilings.fields(found)}


def _device_name(found: Ceilings) -> str:
    return device_name(found.device)


def value_fields(value: Problem | Device | Environment) -> dict[str, Any]:
    """The fields of a value. A problem without an epilogue names none, as before there were any."""
    fields = dataclasses.asdict(value)
    if not fields.get("epilogue", "nothing"):
        del fields["epilogue"]
    return fields


def config_fields(config: Config) -> dict[str, Any]:
    return {"family": config.family, "axes": dict(config.items_by_axis)}


def instant_text(instant: datetime) -> str:
    """ISO 8601 in UTC with microseconds: one text for one instant."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _measurement_fields(read: Measurement | None) -> dict[str, Any] | None:
    if read is None:
        return None
    return {
        "times_us": [float(time) for time in read.times_us],
        "reference_us": [float(time) for time in read.reference_us],
        "protocol": read.protocol,
        "sm_clock_mhz": read.sm_clock_mhz,
        "temperature_c": read.temperature_c,
        "power_w": None if read.power_w is None else float(read.power_w),
        "memory_clock_mhz": read.memory_clock_mhz,
        "throttle": [clean(reason) for reason in read.throttle],
        "warnings": [clean(warning) for warning in read.warnings],
    }


def _resources_fields(had: Resources | None) -> dict[str, Any] | None:
    if had is None:
        return None
    return {**dataclasses.asdict(had), "compile_seconds": float(had.compile_seconds)}


def _trial_order(trial: Trial) -> tuple[Any, ...]:
    protocol = trial.measurement.protocol if trial.measurement else ""
    what = trial.config.family, axes_text(trial.config)
    return trial.problem, device_name(trial.device), *what, environment_name(trial.environment), protocol


def block(brackets: str, lines: Iterable[str]) -> str:
    """The lines of a JSON object or list, each on its own."""
    return f"{brackets[0]}\n{inner}\n{brackets[1]}" if (inner := ",\n".join(lines)) else brackets


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(dumps(fields).encode()).hexdigest()[:12]
