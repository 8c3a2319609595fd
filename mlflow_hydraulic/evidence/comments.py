"""Comments on model versions: rows of the ledger, added and never changed. Called by the models' pages."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Connection

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.evidence.ledger import Event, Row, append
from mlflow_hydraulic.evidence.recorded import rows_of_version, stage_subject

COMMENT = "comment"
LONGEST = 4000  # characters


def comment(
    connection: Connection, workspace: str, model: str, number: int, *, actor: str, text: str, now: datetime
) -> Row:
    """Add a comment on a version, in the caller's transaction; `BadInput` for an empty or a too long one."""
    said = text.strip()
    if not said or len(said) > LONGEST:
        raise BadInput(f"a comment of {len(said)} characters: write 1 to {LONGEST}")
    if "\0" in said or any("\ud800" <= letter <= "\udfff" for letter in said):
        raise BadInput("a comment with a NUL character or half a surrogate pair: no database keeps it; leave it out")
    event = Event(
        verb=COMMENT,
        subject=stage_subject(model, number),
        actor=actor,
        model=model,
        after=said,
        workspace=workspace,
    )
    return append(connection, [event], now)[0]


def comments(connection: Connection, workspace: str, model: str, number: int) -> list[tuple[Row, str]]:
    """All on this very version with their texts, oldest first: what was said of a deleted namesake is left out, what
    was said before the model was renamed is there."""
    found = rows_of_version(connection, COMMENT, workspace, model, number)
    return [(row, _text(row.after)) for row in found][::-1]


def _text(after: str) -> str:
    """What was said; of a row that somebody tampered with, what stands there."""
    try:
        said = json.loads(after)
    except ValueError:
        return after
    return said if isinstance(said, str) else after
