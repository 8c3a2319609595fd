"""Log-ins that were ended before their time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("hydraulic_ended_sessions",)  # that this step makes


def upgrade() -> None:
    op.create_table(
        "hydraulic_ended_sessions",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("until_s", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hydraulic_ended_sessions"),
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
