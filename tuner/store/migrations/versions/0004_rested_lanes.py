"""Lanes that a race left level are read once more after a rest; of those that are there none was."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lanes", sa.Column("rested_us", sa.Text))
