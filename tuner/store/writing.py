"""How values are written: each problem, device, environment and config once, trials as upserts, races once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, Table, and_, case, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.document import plain
from ...kernels.problem import Problem
from ..roofline import Ceilings
from ..trial import Environment, Outcome, Race, Resources, Trial
from . import ceilings
from .codec import axes_text, checks_text, clean, dumps, require_storable, require_storable_race, times_text
from .models import (
    Base,
    ConfigRow,
    DeviceRow,
    EnvironmentRow,
    LaneRow,
    NamedRow,
    ProblemRow,
    RaceRow,
    TrialRow,
    table,
)

Named = Problem | Device | Environment | Config

ROW_OF: Final[Mapping[type[Named], type[NamedRow]]] = MappingProxyType(
    {Problem: ProblemRow, Device: DeviceRow, Environment: EnvironmentRow, Config: ConfigRow}
)
_INSERT: Final[Mapping[str, Callable[[Table], Any]]] = MappingProxyType(
    {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
)


class Writer:
    """Writes within one transaction.

    Attributes:
        fresh: ids found or made here. They may be remembered once the transaction is committed, not before: an id that
            is rolled back is given to another row.
    """

    def __init__(self, connection: Connection, known: Mapping[Named, int]) -> None:
        self.connection = connection
        self.fresh: dict[Named, int] = {}
        self._known = known
        self._dialect = connection.dialect.name

    def trials(self, trials: Iterable[Trial]) -> None:
        """Inserts trials; each replaces the row of the same key when it is the better or the newer."""
        rows = [self._trial_columns(trial) for trial in trials]
        if rows:
            self.connection.execute(_trial_upsert(self._dialect), rows)

    def race(self, race: Race) -> None:
        """Inserts a race; one that is there already is left as it is."""
        require_storable_race(race)
        columns = {
            "problem_id": self._id(race.problem),
            "device_id": self._id(race.device),
            "protocol": plain(race.protocol),
            "reference_id": self._id(race.reference),
            "started_at": race.started_at,
            "confidence": race.confidence,
            "notes": dumps(list(race.notes)),
        }
        made = self.connection.scalar(_insert_once(self._dialect, RaceRow).returning(RaceRow.id), columns)
        if made is None:
            return
        lanes = [
            {
                "race_id": made,
                "position": position,
                "config_id": self._id(lane.config),
                "environment_id": self._id(lane.environment),
                "times_us": times_text(lane.times_us),
                "rested_us": times_text(lane.rested_us) if lane.rested_us else None,
            }
            for position, lane in enumerate(race.lanes)
        ]
        self.connection.execute(insert(table(LaneRow)), lanes)

    def ceilings(self, found: Ceilings) -> None:
        """Inserts a device's ceilings; newer ones that are there stand."""
        ceilings.require_storable(found)
        self.connection.execute(
            ceilings.upsert(_INSERT[self._dialect]), ceilings.columns(found, self._id(found.device))
        )

    def _id(self, value: Named) -> int:
        found = self._known.get(value) or self.fresh.get(value)
        if found is None:
            row, columns = ROW_OF[type(value)], columns_of(value)
            self.connection.execute(_insert_once(self._dialect, row), columns)
            found = self.connection.execute(select(row.id).where(*equal(row, columns))).scalar_one()
            self.fresh[value] = found
        return found

    def _trial_columns(self, trial: Trial) -> dict[str, Any]:
        require_storable(trial)
        return {
            "problem_id": self._id(trial.problem),
            "device_id": self._id(trial.device),
            "environment_id": self._id(trial.environment),
            "config_id": self._id(trial.config),
            "outcome": trial.outcome.value,
            "reason": clean(trial.reason),
            "started_at": trial.started_at,
            "checks": checks_text(trial.checks),
            **_measurement_columns(trial),
            **_resources_columns(trial.resources),
        }


@cache
def _trial_upsert(dialect: str) -> Any:
    """The statement that inserts a trial or replaces a worse or older one; built once, which is most of its cost."""
    trials = table(TrialRow)
    statement = _INSERT[dialect](trials)
    new, old = statement.excluded, trials.c
    new_rank, old_rank = (case((row.outcome == Outcome.MEASURED.value, 1), else_=0) for row in (new, old))
    newer = or_(
        new.started_at > old.started_at,
        and_(new.started_at == old.started_at, new.median_us < old.median_us),
    )
    key = ("problem_id", "device_id", "environment_id", "config_id", "protocol")
    return statement.on_conflict_do_update(
        index_elements=key,
        set_={column.name: new[column.name] for column in old if column.name not in (*key, "id")},
        where=or_(new_rank > old_rank, and_(new_rank == old_rank, newer)),
    )


@cache
def _insert_once(dialect: str, row: type[Base]) -> Any:
    return _INSERT[dialect](table(row)).on_conflict_do_nothing()


def in_order(trials: Iterable[Trial]) -> list[Trial]:
    """Sorted by what they are of, so that two processes that write many at once lock rows in the same order."""
    return sorted(trials, key=lambda trial: (trial.problem, trial.device.name, str(trial.config), trial.started_at))


def columns_of(value: Named) -> dict[str, Any]:
    """The columns that identify a value in its table."""
    if isinstance(value, Config):
        return {"family": plain(value.family), "axes": axes_text(value)}
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {name: plain(field) if isinstance(field, str) else field for name, field in fields.items()}


def equal(row: type[Base], columns: Mapping[str, Any]) -> list[Any]:
    """The conditions under which a row has these columns."""
    return [getattr(row, name) == value for name, value in columns.items()]


def _measurement_columns(trial: Trial) -> dict[str, Any]:
    read = trial.measurement
    return {
        "protocol": plain(read.protocol) if read else "",
        "median_us": trial.median_us,
        "speed": read.speed if read else None,
        "times_us": times_text(read.times_us) if read else None,
        "reference_us": times_text(read.reference_us) if read else None,
        "sm_clock_mhz": read.sm_clock_mhz if read else None,
        "temperature_c": read.temperature_c if read else None,
        "power_w": read.power_w if read else None,
        "memory_clock_mhz": read.memory_clock_mhz if read else None,
        "throttle": dumps(list(read.throttle)) if read and read.throttle else None,
        "warnings": dumps(list(read.warnings)) if read and read.warnings else None,
    }


def _resources_columns(resources: Resources | None) -> dict[str, Any]:
    fields = dataclasses.fields(Resources)
    return {field.name: getattr(resources, field.name) if resources else None for field in fields}
