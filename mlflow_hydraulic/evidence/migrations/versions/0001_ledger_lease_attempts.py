"""The ledger with its head, the controller's lease, its memory of failed attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ("hydraulic_attempts", "hydraulic_lease", "hydraulic_ledger_head", "hydraulic_ledger")  # that this step makes


def upgrade() -> None:
    op.create_table(
        "hydraulic_ledger",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("verb", sa.String(32), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("subject", sa.String(640), nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("prev", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_hydraulic_ledger"),
    )
    op.create_index("ix_hydraulic_ledger_model", "hydraulic_ledger", ["model", "seq"])
    op.create_index("ix_hydraulic_ledger_verb", "hydraulic_ledger", ["verb", "workspace", "subject", "seq"])
    head = op.create_table(
        "hydraulic_ledger_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hydraulic_ledger_head"),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": "0" * 64}])
    op.create_table(
        "hydraulic_lease",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("until", sa.String(32), nullable=False),
        sa.Column("term", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_hydraulic_lease"),
    )
    op.create_table(
        "hydraulic_attempts",
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("model", sa.String(320), nullable=False),
        sa.Column("wanted", sa.String(512), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("permanent", sa.Integer, nullable=False),
        sa.Column("not_before", sa.String(32), nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("environment", "model", name="pk_hydraulic_attempts"),
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
