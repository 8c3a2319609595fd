"""An index for `recorded.last_said`, which every pass of the controller asks."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_hydraulic_ledger_verb", "hydraulic_ledger", ["verb", "workspace", "subject", "seq"])


def downgrade() -> None:
    op.drop_index("ix_hydraulic_ledger_verb", "hydraulic_ledger")
