"""Ceilings of a device, and what the driver said while a config was read."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MATMULS = ("bf16_tflops", "fp16_tflops", "tf32_tflops", "fp32_tflops")
TRANSFERS = ("pinned_up_gbs", "pinned_down_gbs", "pageable_up_gbs", "pageable_down_gbs")


def upgrade() -> None:
    op.add_column("trials", sa.Column("memory_clock_mhz", sa.Integer))
    op.add_column("trials", sa.Column("throttle", sa.Text))
    op.add_column("trials", sa.Column("warnings", sa.Text))
    op.create_table(
        "ceilings",
        sa.Column("device_id", sa.Integer, sa.ForeignKey("devices.id", name="fk_ceilings_device_id"), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("copy_gbs", sa.Double, nullable=False),
        *(sa.Column(name, sa.Double) for name in (*MATMULS, *TRANSFERS)),
        sa.PrimaryKeyConstraint("device_id", name="pk_ceilings"),
    )
