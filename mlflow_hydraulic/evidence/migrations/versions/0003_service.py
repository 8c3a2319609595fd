"""How deployments served: counts by interval, and the counters from which the next interval is counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("hydraulic_service_marks", "hydraulic_service")  # that this step makes


def upgrade() -> None:
    long_text = sa.Text().with_variant(LONGTEXT(), "mysql")
    op.create_table(
        "hydraulic_service",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("predictor", sa.String(64), nullable=False),
        sa.Column("start", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("counted_s", sa.Double, nullable=False),
        sa.Column("seen_s", sa.Double, nullable=False),
        sa.Column("up_s", sa.Double, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.Column("durations", sa.Text, nullable=False),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("cpu_s", sa.Double, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", "predictor", "start", name="pk_hydraulic_service"),
    )
    op.create_table(
        "hydraulic_service_marks",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("deployment", sa.String(64), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("rolled", sa.BigInteger, nullable=False),
        sa.Column("said", long_text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_hydraulic_service_marks"),
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
