"""What monitoring last found, from which alerts are decided, and the notifications that are still to be sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("hydraulic_outbox", "hydraulic_findings")  # that this step makes


def upgrade() -> None:
    long_text = sa.Text().with_variant(LONGTEXT(), "mysql")
    op.create_table(
        "hydraulic_findings",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("until_us", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("looked", sa.String(32), nullable=False),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("deployment", sa.String(64), nullable=False),
        sa.Column("predictor", sa.String(64), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("rule", sa.String(200), nullable=False),
        sa.Column("colour", sa.String(8), nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("plot", long_text, nullable=False),
        sa.Column("kept", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key", "until_us", name="pk_hydraulic_findings"),
    )
    op.create_index("ix_hydraulic_findings_place", "hydraulic_findings", ["workspace", "environment", "deployment"])
    op.create_table(
        "hydraulic_outbox",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("made", sa.String(32), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("not_before", sa.String(32), nullable=False),
        sa.Column("done", sa.String(32), nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("body", long_text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hydraulic_outbox"),
    )
    op.create_index("ix_hydraulic_outbox_state", "hydraulic_outbox", ["state", "workspace", "channel", "seq"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
