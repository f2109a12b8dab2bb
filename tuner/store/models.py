"""The tables. What a result is of, problem, device, environment, config, is columns: each kind has its own table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# The revision of `migrations/versions` that these models describe.
SCHEMA: Final = "0004"


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: kept in UTC, given back in UTC, in databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        instant: datetime = value
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {str: Text, float: Double, datetime: UtcDateTime}


class NamedRow(Base):
    """A row that stands for one value, which is there once."""

    __abstract__ = True
    id: Mapped[int] = mapped_column(primary_key=True)


def table(row: type[Base]) -> Table:
    """The table of a kind of row: its statements cost a tenth of those that are made for the ORM."""
    return Base.metadata.tables[row.__tablename__]


class ProblemRow(NamedRow):
    """A `Problem`; the columns are its fields."""

    __tablename__ = "problems"
    m: Mapped[int]
    n: Mapped[int]
    k: Mapped[int]
    dtype: Mapped[str]
    layout: Mapped[str]
    out_dtype: Mapped[str]
    epilogue: Mapped[str]
    __table_args__ = (UniqueConstraint("n", "k", "m", "dtype", "layout", "out_dtype", "epilogue"),)


class DeviceRow(NamedRow):
    """A `Device`; the columns are its fields."""

    __tablename__ = "devices"
    name: Mapped[str]
    arch: Mapped[str]
    sm_count: Mapped[int]
    shared_memory_bytes: Mapped[int] = mapped_column(BigInteger)
    l2_bytes: Mapped[int] = mapped_column(BigInteger)
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    sm_clock_mhz: Mapped[int]
    memory_clock_mhz: Mapped[int]
    power_limit_w: Mapped[int]
    __table_args__ = (
        UniqueConstraint(
            "name",
            "arch",
            "sm_count",
            "shared_memory_bytes",
            "l2_bytes",
            "memory_bytes",
            "sm_clock_mhz",
            "memory_clock_mhz",
            "power_limit_w",
        ),
    )


class EnvironmentRow(NamedRow):
    """An `Environment`; the columns are its fields."""

    __tablename__ = "environments"
    triton: Mapped[str]
    torch: Mapped[str]
    cuda: Mapped[str]
    driver: Mapped[str]
    python: Mapped[str]
    kernel_hash: Mapped[str]
    commit: Mapped[str]
    __table_args__ = (UniqueConstraint("triton", "torch", "cuda", "driver", "python", "kernel_hash", "commit"),)


class ConfigRow(NamedRow):
    """A `Config`: its family, and its axes as JSON with sorted names. A million trials share a few thousand of them."""

    __tablename__ = "configs"
    family: Mapped[str]
    axes: Mapped[str]
    __table_args__ = (UniqueConstraint("family", "axes"),)


class TrialRow(Base):
    """A `Trial`. `protocol` is empty when nothing was measured. `median_us` and `speed` are derived from the times as
    the row is written, so that a query can rank."""

    __tablename__ = "trials"
    id: Mapped[int] = mapped_column(primary_key=True)
    problem_id: Mapped[int] = mapped_column(ForeignKey("problems.id"))
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"))
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    config_id: Mapped[int] = mapped_column(ForeignKey("configs.id"))
    protocol: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str]
    started_at: Mapped[datetime]
    median_us: Mapped[float | None]
    speed: Mapped[float | None]
    times_us: Mapped[str | None]
    reference_us: Mapped[str | None]
    sm_clock_mhz: Mapped[int | None]
    temperature_c: Mapped[int | None]
    power_w: Mapped[float | None]
    memory_clock_mhz: Mapped[int | None]
    throttle: Mapped[str | None]
    warnings: Mapped[str | None]
    registers: Mapped[int | None]
    spill_bytes: Mapped[int | None]
    shared_memory_bytes: Mapped[int | None]
    compile_seconds: Mapped[float | None]
    checks: Mapped[str]
    __table_args__ = (UniqueConstraint("problem_id", "device_id", "environment_id", "config_id", "protocol"),)


class CeilingsRow(Base):
    """The `Ceilings` of a device."""

    __tablename__ = "ceilings"
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"), primary_key=True, autoincrement=False)
    measured_at: Mapped[datetime]
    copy_gbs: Mapped[float]
    bf16_tflops: Mapped[float | None]
    fp16_tflops: Mapped[float | None]
    tf32_tflops: Mapped[float | None]
    fp32_tflops: Mapped[float | None]
    pinned_up_gbs: Mapped[float | None]
    pinned_down_gbs: Mapped[float | None]
    pageable_up_gbs: Mapped[float | None]
    pageable_down_gbs: Mapped[float | None]


class RaceRow(Base):
    """A `Race` without its lanes."""

    __tablename__ = "races"
    id: Mapped[int] = mapped_column(primary_key=True)
    problem_id: Mapped[int] = mapped_column(ForeignKey("problems.id"))
    device_id: Mapped[int] = mapped_column(ForeignKey("devices.id"))
    protocol: Mapped[str]
    reference_id: Mapped[int] = mapped_column(ForeignKey("configs.id"))
    started_at: Mapped[datetime]
    confidence: Mapped[float]
    notes: Mapped[str]
    __table_args__ = (UniqueConstraint("problem_id", "device_id", "protocol", "started_at"),)


class LaneRow(Base):
    """A `Lane` of a race; `position` keeps their order."""

    __tablename__ = "lanes"
    race_id: Mapped[int] = mapped_column(ForeignKey("races.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    config_id: Mapped[int] = mapped_column(ForeignKey("configs.id"))
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    times_us: Mapped[str]
    rested_us: Mapped[str | None]
