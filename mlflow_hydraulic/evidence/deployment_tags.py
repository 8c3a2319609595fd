"""Tags on deployments: rows of the ledger, the newest of each key counts. Written and read by the pages.

A tag belongs to a name in an environment, and stays when what runs under it changes.
"""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Connection, func, select

from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.tables import ledger

VERB = "deployment tag"


def tags_of(connection: Connection, workspace: str, environment: str, deployment: str) -> dict[str, str]:
    """The tags of one deployment, by key, sorted."""
    start = f"{environment}/{deployment}#"
    newest = (
        select(func.max(ledger.c.seq).label("seq"))
        .where(
            ledger.c.verb == VERB, ledger.c.workspace == workspace, ledger.c.subject.startswith(start, autoescape=True)
        )
        .group_by(ledger.c.subject)
        .subquery()
    )
    query = select(ledger.c.subject, ledger.c.after).join(newest, ledger.c.seq == newest.c.seq)
    found = {row.subject[len(start) :]: json.loads(row.after) for row in connection.execute(query)}
    return {key: str(value) for key, value in sorted(found.items()) if value is not None}


def set_tag(
    connection: Connection,
    workspace: str,
    place: tuple[str, str],
    *,
    key: str,
    value: str | None,
    model: str,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Set a tag of the deployment `place` (environment, name); None removes it. Nothing is written where it is so."""
    environment, deployment = place
    before = tags_of(connection, workspace, environment, deployment).get(key)
    if before == value:
        return
    event = Event(
        verb=VERB,
        subject=f"{environment}/{deployment}#{key}",
        actor=actor,
        model=model,
        environment=environment,
        before=before,
        after=value,
        reason=reason,
        workspace=workspace,
    )
    append(connection, [event], now)
