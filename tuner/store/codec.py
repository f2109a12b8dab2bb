"""The parts of a trial as text for a column, and back. The text is JSON, and the same for equal values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ...kernels.config import Config
from ...kernels.document import UNSTORABLE
from ..trial import Check, Outcome, Race, Trial


def dumps(value: object) -> str:
    """Canonical JSON: compact, sorted keys, ASCII, and no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def clean(text: str) -> str:
    """Free text without what no database holds, each replaced by U+FFFD."""
    return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def axes_text(config: Config) -> str:
    """A config's axes. True is written 1, as it equals 1 in a config: equal configs have one text."""
    return dumps({axis: int(value) if isinstance(value, bool) else value for axis, value in config.items_by_axis})


def config_of(family: str, axes: str) -> Config:
    return Config.of(family, json.loads(axes))


def times_text(times_us: Sequence[float]) -> str:
    return dumps([float(time) for time in times_us])


def times_of(text: str) -> tuple[float, ...]:
    """What `times_text` wrote. A third of the time that a JSON parser takes, in what reading trials spends most on."""
    return tuple(map(float, text[1:-1].split(","))) if len(text) > 2 else ()


@lru_cache(maxsize=1024)
def notes_of(text: str) -> tuple[str, ...]:
    """A list of texts; most are empty, and the others much alike."""
    return tuple(json.loads(text))


def checks_text(checks: Sequence[Check]) -> str:
    return dumps([check_fields(check) for check in checks])


def checks_of(text: str) -> tuple[Check, ...]:
    return tuple(check_of(fields) for fields in json.loads(text))


def check_fields(check: Check) -> dict[str, Any]:
    """The fields of a check as JSON has them: an output that was never written is NaN, and JSON has none."""
    fields = dataclasses.asdict(check)
    return {name: _number_field(value) if isinstance(value, float) else value for name, value in fields.items()}


def check_of(fields: Mapping[str, Any]) -> Check:
    return Check(
        error=float(fields["error"]),
        bound=float(fields["bound"]),
        row=fields["row"],
        column=fields["column"],
        value=float(fields["value"]),
        expected=float(fields["expected"]),
        problem=fields["problem"],
    )


def _number_field(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def require_storable(trial: Trial) -> None:
    """Raises ValueError when a trial contradicts itself or holds what no clock reads."""
    if trial.outcome is Outcome.MEASURED and trial.measurement is None:
        raise ValueError(
            f"{trial.config} on {trial.problem} is measured but has no measurement: give its times or a failure"
        )
    if trial.measurement is not None:
        _require_times(trial.measurement.times_us, trial.config)
        if trial.measurement.reference_us:
            _require_times(trial.measurement.reference_us, trial.config)
        if not trial.measurement.protocol:
            raise ValueError(f"the measurement of {trial.config} names no protocol: say how it was read")
    if trial.started_at.tzinfo is None:
        raise ValueError(f"{trial.started_at} has no time zone: give an instant, as datetime.now(UTC)")


def require_storable_race(race: Race) -> None:
    """Raises ValueError when a race has no lane, one config twice, or what no clock reads."""
    configs = [lane.config for lane in race.lanes]
    if not configs or len(set(configs)) < len(configs):
        raise ValueError(
            f"the race on {race.problem} has {len(configs)} lanes: give at least one, each of another config"
        )
    for lane in race.lanes:
        _require_times(lane.times_us, lane.config)
        if lane.rested_us:
            _require_times(lane.rested_us, lane.config)
    if not 0 < race.confidence < 1:
        raise ValueError(f"the race's confidence is {race.confidence!r}: give a number above 0 and below 1, as 0.95")
    if race.started_at.tzinfo is None:
        raise ValueError(f"{race.started_at} has no time zone: give an instant, as datetime.now(UTC)")


def _require_times(times_us: Sequence[float], config: Config) -> None:
    bad = next((time for time in times_us if not (math.isfinite(time) and time > 0)), None)
    if bad is not None or not times_us:
        found = "no time at all" if bad is None else f"a time of {bad!r} us"
        raise ValueError(f"{config} has {found}: a measurement holds times that are finite and above 0")
