"""Epilogues: a problem may say what is done to the product before it is stored; those that are there have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = ("n", "k", "m", "dtype", "layout", "out_dtype", "epilogue")
RESULTS = """
CREATE VIEW results AS
SELECT p.m, p.n, p.k, p.dtype, p.layout, p.out_dtype, p.epilogue, d.name AS device, c.family, c.axes, t.outcome,
       t.median_us, t.speed, t.reason, t.protocol, t.started_at, e.triton, e.torch, e.cuda, e.driver, e.kernel_hash,
       t.registers, t.spill_bytes, t.shared_memory_bytes, t.compile_seconds
FROM trials t
JOIN problems p ON p.id = t.problem_id
JOIN devices d ON d.id = t.device_id
JOIN environments e ON e.id = t.environment_id
JOIN configs c ON c.id = t.config_id
"""


def upgrade() -> None:
    op.execute("DROP VIEW results")
    # SQLite makes the table anew for a constraint; others refer to it by its name.
    with op.batch_alter_table("problems") as problems:
        problems.add_column(sa.Column("epilogue", sa.Text, nullable=False, server_default=""))
        problems.drop_constraint("uq_problems", type_="unique")
        problems.create_unique_constraint("uq_problems", list(KEY))
    with op.batch_alter_table("problems") as problems:
        problems.alter_column("epilogue", existing_type=sa.Text, existing_nullable=False, server_default=None)
    op.execute(RESULTS)
