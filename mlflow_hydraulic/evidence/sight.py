"""What the controller saw last, for pages that have no way to the targets themselves: evidence, with the time it is of.

The controller writes it after each look; only what differs is written. Read by the pages.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from mlflow_hydraulic.evidence.tables import sight


def model_of(connection: Connection, workspace: str, environment: str, deployment: str) -> str:
    """The registered model that a deployment serves; "" where none of that name was seen."""
    query = select(sight.c.model).where(
        sight.c.workspace == workspace, sight.c.environment == environment, sight.c.deployment == deployment
    )
    return str(connection.execute(query).scalar() or "")
