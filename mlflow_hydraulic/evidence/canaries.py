"""What the ledger tells of a model's last canary in an environment, and the rows that go on with it.

Called by `rollout` and `hydraulic canary`. The rows of verb "canary" are the only memory of canaries that there is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.canary.memory import Memory, Note, read_row, read_word
from mlflow_hydraulic.deployment import deployment_name
from mlflow_hydraulic.errors import BadInput, Untrusted
from mlflow_hydraulic.evidence.ledger import CONTROLLER_ACTOR, Event, Row
from mlflow_hydraulic.evidence.recorded import version_of
from mlflow_hydraulic.evidence.tables import ledger
from mlflow_hydraulic.registry import CANARY_TAG

CANARY = "canary"
ENDINGS = ("delete model", "rename model")
VERBS = (CANARY, "stage", "alias", "tag", *ENDINGS)


def remembered(connection: Connection, workspace: str, environment: Environment, model: str) -> Memory | None:
    """The last canary of `model` in `environment`, with what people said since; None where there was none.

    `Untrusted` where a row cannot be read: somebody wrote into the ledger by hand.
    """
    memory = None
    for row in _rows(connection, workspace, model):
        try:
            memory = _after(memory, row, environment, workspace)
        except (ValueError, BadInput) as error:
            raise Untrusted(
                f'ledger row {row.seq} ({row.verb}) cannot be read ({error}): run "hydraulic ledger verify"'
            ) from error
    return memory


def event_of(note: Note, workspace: str, environment: Environment, model: str) -> Event:
    """The row that `note` asks for."""
    return Event(
        verb=CANARY,
        subject=_subject(workspace, environment, model),
        actor=CONTROLLER_ACTOR,
        model=model,
        environment=environment.name,
        before={"share": note.before},
        after=note.to_json(),
        reason=note.reason,
        workspace=workspace,
    )


def rows_of(connection: Connection, workspace: str, environment: Environment, model: str) -> list[Row]:
    """The rows of the last canary, oldest first."""
    subject = _subject(workspace, environment, model)
    found: list[Row] = []
    for row in _rows(connection, workspace, model):
        if (row.verb, row.subject) == (CANARY, subject):
            found = [row] if json.loads(row.after)["phase"] == "begin" else [*found, row]
    return found


def _rows(connection: Connection, workspace: str, model: str) -> Iterator[Row]:
    query = select(ledger).where(ledger.c.model == model, ledger.c.workspace == workspace, ledger.c.verb.in_(VERBS))
    for found in connection.execute(query.order_by(ledger.c.seq)).mappings():
        yield Row(**found)


def _after(memory: Memory | None, row: Row, environment: Environment, workspace: str) -> Memory | None:
    if row.verb in ENDINGS:  # whoever gets the name next is another model
        return None
    if row.verb == CANARY:
        if row.subject != _subject(workspace, environment, row.model):
            return memory
        value, at = json.loads(row.after), datetime.fromisoformat(row.at)
        if memory is None or (isinstance(value, dict) and value.get("phase") == "begin"):
            return read_row(value, at, row.reason)
        return memory.after(value, at, row.reason)
    return _heard(memory, row, environment) if memory else None


def _heard(memory: Memory, row: Row, environment: Environment) -> Memory:
    """`memory` with what a person said in `row`."""
    bound = {kind: {s.value for s in environment.champion if s.kind == kind} for kind in ("stage", "alias")}
    if row.verb == "stage":
        number = version_of(row.subject)
        moved = {json.loads(row.before), json.loads(row.after)}
        concerns = bool(moved & bound["stage"]) or number == memory.old
        return replace(memory, spoken=memory.spoken | {number}) if concerns else memory
    if row.verb == "alias":
        after = json.loads(row.after)
        concerns = row.subject.rpartition("@")[2] in bound["alias"] and after is not None
        return replace(memory, spoken=memory.spoken | {int(after)}) if concerns else memory
    if row.subject.rpartition("#")[2] != CANARY_TAG or version_of(row.subject) != memory.new:
        return memory
    word = read_word(str(json.loads(row.after) or ""), environment.name)
    why = f"{row.actor}: {row.reason}" if row.reason else row.actor
    return replace(memory, word=word, word_of=why) if word else memory


def _subject(workspace: str, environment: Environment, model: str) -> str:
    return f"{environment.name}/{deployment_name(model, workspace)}"
