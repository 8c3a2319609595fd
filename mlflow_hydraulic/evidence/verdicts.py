"""Verdicts on model versions by those who validate them: rows of the ledger; the last one counts.

Given on the pages and by `hydraulic verdict`; the gate asks for it where policy.<environment> says `validated = true`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.evidence.ledger import Event, Row, append
from mlflow_hydraulic.evidence.recorded import rows_of_version, stage_subject

VERDICT = "verdict"
Word = Literal["approved", "rejected"]
WORDS: tuple[Word, ...] = ("approved", "rejected")
LONGEST = 2000  # characters of a reason


def give(
    connection: Connection,
    workspace: str,
    model: str,
    number: int,
    *,
    word: Word,
    actor: str,
    reason: str,
    now: datetime,
) -> Row:
    """Write a verdict down, in the caller's transaction; `BadInput` for one without a reason or of another word."""
    said = reason.strip()
    if word not in WORDS:
        raise BadInput(f"verdict {word!r}: say approved or rejected")
    if not said or len(said) > LONGEST:
        raise BadInput(f"a verdict has a reason of 1 to {LONGEST} characters, not {len(said)}")
    if "\0" in said or any("\ud800" <= letter <= "\udfff" for letter in said):
        raise BadInput("a reason with a NUL character or half a surrogate pair: no database keeps it; leave it out")
    before = last(connection, workspace, model, number)
    event = Event(
        verb=VERDICT,
        subject=stage_subject(model, number),
        actor=actor,
        model=model,
        before=before[0] or None,
        after=word,
        reason=said,
        workspace=workspace,
    )
    return append(connection, [event], now)[0]


def last(connection: Connection, workspace: str, model: str, number: int) -> tuple[str, str]:
    """The last verdict on this very version and who gave it; ("", "") where there is none.

    Of a row that somebody tampered with, what stands there: it is no "approved".
    """
    row = next(rows_of_version(connection, VERDICT, workspace, model, number), None)
    return (word_of(row), row.actor) if row else ("", "")


def verdicts(connection: Connection, workspace: str, model: str, number: int) -> list[Row]:
    """All on this very version, newest first."""
    return list(rows_of_version(connection, VERDICT, workspace, model, number))


def word_of(row: Row) -> str:
    """ "approved" or "rejected"."""
    try:
        return str(json.loads(row.after))
    except ValueError:
        return row.after
