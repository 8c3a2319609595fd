"""Alembic's entry: runs the migrations on the connection that `evidence.database` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from mlflow_hydraulic.evidence.database import VERSION_TABLE
from mlflow_hydraulic.evidence.tables import metadata


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """MLflow's tables lie beside ours in the same database: never look at them."""
    return kind != "table" or name in metadata.tables


connection = context.config.attributes["connection"]
assert isinstance(connection, Connection)  # noqa: S101 - alembic hands over what database.upgrade gave it
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=ours,
    compare_type=True,
    transactional_ddl=connection.dialect.name != "mysql",
)
with context.begin_transaction():
    context.run_migrations()
