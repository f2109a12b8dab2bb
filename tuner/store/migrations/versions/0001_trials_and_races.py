"""Trials and races, and what they refer to."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# For people with a database shell: a line a trial, with everything spelt out.
RESULTS = """
CREATE VIEW results AS
SELECT p.m, p.n, p.k, p.dtype, p.layout, p.out_dtype, d.name AS device, c.family, c.axes, t.outcome, t.median_us,
       t.speed, t.reason, t.protocol, t.started_at, e.triton, e.torch, e.cuda, e.driver, e.kernel_hash, t.registers,
       t.spill_bytes, t.shared_memory_bytes, t.compile_seconds
FROM trials t
JOIN problems p ON p.id = t.problem_id
JOIN devices d ON d.id = t.device_id
JOIN environments e ON e.id = t.environment_id
JOIN configs c ON c.id = t.config_id
"""


def upgrade() -> None:
    _named("problems", *_numbers("m", "n", "k"), *_texts("dtype", "layout", "out_dtype"))
    _named(
        "devices",
        *_texts("name", "arch"),
        *_numbers("sm_count"),
        *_numbers("shared_memory_bytes", "l2_bytes", "memory_bytes", kind=sa.BigInteger),
        *_numbers("sm_clock_mhz", "memory_clock_mhz", "power_limit_w"),
    )
    _named("environments", *_texts("triton", "torch", "cuda", "driver", "python", "kernel_hash", "commit"))
    _named("configs", *_texts("family", "axes"))
    _trials()
    _races()
    op.execute(RESULTS)


def _trials() -> None:
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer, primary_key=True),
        *(_reference(table, "trials") for table in ("problem", "device", "environment", "config")),
        *_texts("protocol", "outcome", "reason"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("median_us", sa.Double),
        sa.Column("speed", sa.Double),
        sa.Column("times_us", sa.Text),
        sa.Column("reference_us", sa.Text),
        *_numbers("sm_clock_mhz", "temperature_c", nullable=True),
        sa.Column("power_w", sa.Double),
        *_numbers("registers", "spill_bytes", "shared_memory_bytes", nullable=True),
        sa.Column("compile_seconds", sa.Double),
        *_texts("checks"),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("problem_id", "device_id", "environment_id", "config_id", "protocol", name="uq_trials"),
    )


def _races() -> None:
    op.create_table(
        "races",
        sa.Column("id", sa.Integer, primary_key=True),
        *(_reference(table, "races") for table in ("problem", "device")),
        *_texts("protocol"),
        sa.Column("reference_id", sa.Integer, sa.ForeignKey("configs.id", name="fk_races_reference"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        *_texts("notes"),
        sa.PrimaryKeyConstraint("id", name="pk_races"),
        sa.UniqueConstraint("problem_id", "device_id", "protocol", "started_at", name="uq_races"),
    )
    op.create_table(
        "lanes",
        sa.Column("race_id", sa.Integer, sa.ForeignKey("races.id", name="fk_lanes_race"), nullable=False),
        *_numbers("position"),
        *(_reference(table, "lanes") for table in ("config", "environment")),
        *_texts("times_us"),
        sa.PrimaryKeyConstraint("race_id", "position", name="pk_lanes"),
    )


def _named(table: str, *columns: sa.Column[Any]) -> None:
    """A table of values, each of which is there once."""
    names = [column.name for column in columns]
    op.create_table(
        table,
        sa.Column("id", sa.Integer),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint(*names, name=f"uq_{table}"),
    )


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _numbers(*names: str, kind: type[sa.Integer] = sa.Integer, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=nullable) for name in names]


def _reference(name: str, table: str) -> sa.Column[Any]:
    target = sa.ForeignKey(f"{name}s.id", name=f"fk_{table}_{name}")
    return sa.Column(f"{name}_id", sa.Integer, target, nullable=False)
