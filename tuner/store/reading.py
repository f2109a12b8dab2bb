"""How values are read back: rows by a query, and the problems, devices, environments and configs that they refer to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection, Row, Select, distinct, func, select

from ...kernels.config import Config
from ...kernels.device import Device
from ...kernels.problem import Problem
from ..roofline import Ceilings
from ..trial import Environment, Lane, Measurement, Outcome, Race, Resources, Trial
from . import ceilings
from .codec import checks_of, config_of, notes_of, times_of
from .models import ConfigRow, DeviceRow, LaneRow, RaceRow, TrialRow, table
from .protocol import Holding, TrialQuery
from .writing import ROW_OF, Named, columns_of, equal

N = TypeVar("N", Problem, Device, Environment, Config)
_CHUNK: Final = 500  # ids in one statement


class Reader:
    """Reads within one transaction.

    Attributes:
        known: the value behind an id of a kind, for reuse: it never changes once it is committed.
    """

    def __init__(self, connection: Connection, known: dict[tuple[type, int], Named]) -> None:
        self.connection = connection
        self.known = known

    def trials(self, query: TrialQuery) -> list[Trial]:
        statement = _narrowed(select(table(TrialRow)), query)
        if query.order == "time":
            statement = statement.order_by(TrialRow.started_at.desc(), TrialRow.id.desc())
        else:
            rank = TrialRow.median_us if query.order == "median" else -TrialRow.speed
            statement = statement.where(rank.is_not(None)).order_by(rank, TrialRow.id)
        rows = self.connection.execute(statement.limit(query.limit)).all()
        problems = self.values(Problem, (row.problem_id for row in rows))
        devices = self.values(Device, (row.device_id for row in rows))
        environments = self.values(Environment, (row.environment_id for row in rows))
        configs = self.values(Config, (row.config_id for row in rows))
        found = [
            Trial(
                problems[row.problem_id],
                devices[row.device_id],
                configs[row.config_id],
                environments[row.environment_id],
                Outcome(row.outcome),
                row.started_at,
                row.reason,
                checks_of(row.checks),
                _measurement(row),
                _resources(row),
            )
            for row in rows
        ]
        return found[::-1] if query.order == "time" else found

    def races(
        self, problem: Problem | None, device: str | None, limit: int | None, protocol: str | None = None
    ) -> list[Race]:
        statement = select(table(RaceRow)).order_by(RaceRow.started_at.desc(), RaceRow.id.desc()).limit(limit)
        if problem is not None:
            statement = statement.where(RaceRow.problem_id == _id_of(problem))
        if device is not None:
            statement = statement.where(RaceRow.device_id.in_(_named(device)))
        if protocol is not None:
            statement = statement.where(RaceRow.protocol == protocol)
        rows = self.connection.execute(statement).all()
        lanes = self._lanes([row.id for row in rows])
        problems = self.values(Problem, (row.problem_id for row in rows))
        devices = self.values(Device, (row.device_id for row in rows))
        references = self.values(Config, (row.reference_id for row in rows))
        return [
            Race(
                problems[row.problem_id],
                devices[row.device_id],
                row.protocol,
                references[row.reference_id],
                tuple(lanes[row.id]),
                row.started_at,
                row.confidence,
                notes_of(row.notes),
            )
            for row in rows
        ]

    def holdings(self) -> list[Holding]:
        """How much there is of each device."""
        trials = select(
            TrialRow.device_id,
            func.count(distinct(TrialRow.problem_id)),
            func.count(),
            func.count(TrialRow.median_us),
            func.max(TrialRow.started_at),
        ).group_by(TrialRow.device_id)
        races = select(RaceRow.device_id, func.count()).group_by(RaceRow.device_id)
        of_trials: dict[int, Any] = {row[0]: row[1:] for row in self.connection.execute(trials)}
        of_races: dict[int, int] = {row[0]: row[1] for row in self.connection.execute(races)}
        found = []
        for id_, device in self.values(Device, of_trials.keys() | of_races.keys()).items():
            problems, count, measured, latest = of_trials.get(id_, (0, 0, 0, None))
            found.append(Holding(device, problems, count, measured, of_races.get(id_, 0), latest))
        return found

    def ceilings(self, device: str | None) -> list[Ceilings]:
        rows = self.connection.execute(ceilings.newest(device)).all()
        devices = self.values(Device, (row.device_id for row in rows))
        return [ceilings.of_row(row, devices[row.device_id]) for row in rows]

    def environments(self, problem: Problem | None, device: str | None) -> list[Environment]:
        """Of the trials, or of all when neither is given."""
        query = TrialQuery(problem=problem, device=device)
        chosen = _narrowed(select(TrialRow.environment_id).distinct(), query)
        if query == TrialQuery():
            return self.all(Environment)
        return list(self.values(Environment, self.connection.scalars(chosen)).values())

    def all(self, kind: type[N]) -> list[N]:
        """Every value of a kind."""
        return list(self.values(kind, self.connection.scalars(select(ROW_OF[kind].id))).values())

    def values(self, kind: type[N], ids: Iterable[int]) -> dict[int, N]:
        """The values of a kind with these ids."""
        wanted = sorted(set(ids))
        missing = [id_ for id_ in wanted if (kind, id_) not in self.known]
        row_type = ROW_OF[kind]
        for start in range(0, len(missing), _CHUNK):
            statement = select(table(row_type)).where(row_type.id.in_(missing[start : start + _CHUNK]))
            for row in self.connection.execute(statement):
                self.known[kind, row.id] = _value(kind, row)
        return {id_: cast(N, self.known[kind, id_]) for id_ in wanted}

    def _lanes(self, races: Sequence[int]) -> dict[int, list[Lane]]:
        lanes: dict[int, list[Lane]] = defaultdict(list)
        for start in range(0, len(races), _CHUNK):
            chosen = LaneRow.race_id.in_(races[start : start + _CHUNK])
            statement = select(table(LaneRow)).where(chosen).order_by(LaneRow.race_id, LaneRow.position)
            rows = self.connection.execute(statement).all()
            configs = self.values(Config, (row.config_id for row in rows))
            environments = self.values(Environment, (row.environment_id for row in rows))
            for row in rows:
                times, rested = times_of(row.times_us), times_of(row.rested_us or "")
                lane = Lane(configs[row.config_id], environments[row.environment_id], times, rested)
                lanes[row.race_id].append(lane)
        return lanes


def _narrowed(statement: Select[Any], query: TrialQuery) -> Select[Any]:
    """The filters of a query on the columns of `TrialRow`. A key is compared with `=` where it is one row, so that an
    index also serves the order."""
    if query.problem is not None:
        statement = statement.where(TrialRow.problem_id == _id_of(query.problem))
    if query.device is not None:
        statement = statement.where(TrialRow.device_id.in_(_named(query.device)))
    if query.environment is not None:
        statement = statement.where(TrialRow.environment_id == _id_of(query.environment))
    if query.config is not None:
        statement = statement.where(TrialRow.config_id == _id_of(query.config))
    if query.family is not None:
        statement = statement.where(TrialRow.config_id.in_(select(ConfigRow.id).filter_by(family=query.family)))
    if query.outcome is not None:
        statement = statement.where(TrialRow.outcome == query.outcome.value)
    if query.protocol is not None:
        statement = statement.where(TrialRow.protocol == query.protocol)
    return statement


def _id_of(value: Named) -> Any:
    row = ROW_OF[type(value)]
    return select(row.id).where(*equal(row, columns_of(value))).scalar_subquery()


def _named(device: str) -> Select[int]:
    return select(DeviceRow.id).where(DeviceRow.name == device)


def _value(kind: type[Named], row: Row[Any]) -> Named:
    if kind is Config:
        return config_of(row.family, row.axes)
    fields = row._asdict()
    del fields["id"]
    return kind(**fields)


def _measurement(row: Row[Any]) -> Measurement | None:
    if row.times_us is None:
        return None
    return Measurement(
        times_of(row.times_us),
        row.protocol,
        times_of(row.reference_us),
        sm_clock_mhz=row.sm_clock_mhz,
        temperature_c=row.temperature_c,
        power_w=row.power_w,
        memory_clock_mhz=row.memory_clock_mhz,
        throttle=notes_of(row.throttle or "[]"),
        warnings=notes_of(row.warnings or "[]"),
    )


def _resources(row: Row[Any]) -> Resources | None:
    if row.registers is None:
        return None
    return Resources(row.registers, row.spill_bytes, row.shared_memory_bytes, row.compile_seconds)
