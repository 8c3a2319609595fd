"""Whose a model's name was: what is known of a name (events, alerts, what was asked of it) goes to its next bearer.

Asked by the registry's gate before somebody takes a name that a model in a project had.
"""

from __future__ import annotations

import json

from sqlalchemy import Connection, select

from mlflow_hydraulic.evidence.tables import ledger, projects
from mlflow_hydraulic.people.takes import JOINS

ENDS = ("delete model", "rename model")
SUBJECT = "projects:/"


def left_by(connection: Connection, workspace: str, name: str, user: str) -> str | None:
    """The project of the model that last gave up this name, by being deleted or renamed; "" where that project is gone.

    None where nobody gave it up, it was in no project then, or `user` deleted or renamed it.
    """
    here = (ledger.c.workspace == workspace,)
    gone = select(ledger.c.seq, ledger.c.actor).where(
        *here, ledger.c.verb.in_(ENDS), ledger.c.subject == f"models:/{name}"
    )
    end = connection.execute(gone.order_by(ledger.c.seq.desc()).limit(1)).first()
    if end is None or end.actor == user:
        return None
    moves = select(ledger).where(*here, ledger.c.model == name, ledger.c.verb == JOINS, ledger.c.seq < end.seq)
    last = connection.execute(moves.order_by(ledger.c.seq.desc()).limit(1)).first()
    if last is None or json.loads(last.after) != {"what": "joined"}:
        return None
    project = last.subject.removeprefix(SUBJECT)
    since = select(projects.c.created).where(projects.c.workspace == workspace, projects.c.name == project)
    made = connection.execute(since).scalar()
    return project if made is not None and made <= last.at else ""
