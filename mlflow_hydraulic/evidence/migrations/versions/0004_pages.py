"""Projects with their members, and what the controller saw last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("hydraulic_sight_looks", "hydraulic_sight", "hydraulic_members", "hydraulic_projects")  # that this step makes


def upgrade() -> None:
    op.create_table(
        "hydraulic_projects",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hydraulic_projects"),
    )
    op.create_index("ix_hydraulic_projects_name", "hydraulic_projects", ["workspace", "name"], unique=True)
    op.create_table(
        "hydraulic_members",
        sa.Column("project", sa.String(32), nullable=False),
        sa.Column("user", sa.String(256), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("since", sa.String(32), nullable=False),
        sa.Column("by", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("project", "user", name="pk_hydraulic_members"),
    )
    op.create_index("ix_hydraulic_members_user", "hydraulic_members", ["user"])
    op.create_table(
        "hydraulic_sight",
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("deployment", sa.String(64), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("managed", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since", sa.String(32), nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("said", sa.Text().with_variant(LONGTEXT(), "mysql"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "environment", "deployment", name="pk_hydraulic_sight"),
    )
    op.create_index("ix_hydraulic_sight_model", "hydraulic_sight", ["workspace", "model"])
    op.create_table(
        "hydraulic_sight_looks",
        sa.Column("workspace", sa.String(63), nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("blind", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "environment", name="pk_hydraulic_sight_looks"),
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
