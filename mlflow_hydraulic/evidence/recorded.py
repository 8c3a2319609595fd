"""What the ledger last said of each subject, so that a change made behind our back is seen and written down.

Derived from the ledger at every pass and never stored: the ledger stays the only record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from mlflow_hydraulic.evidence.ledger import UNKNOWN_ACTOR, Event, Row, json_text
from mlflow_hydraulic.evidence.tables import ledger, ledger_head
from mlflow_hydraulic.registry import INTENT_TAGS, RegisteredModel, Registry

REGISTRY_VERBS = ("stage", "alias", "tag", "delete version", "delete model", "rename model")
RUNS = "runs"
INITIAL_VERBS = ("stage", "alias", "tag")
INITIAL = {"stage": "None"}
MOST_NAMES = 500  # in one query: databases limit the number of bound values

Key = tuple[str, str, str]  # workspace, verb, subject


def last_said(connection: Connection, verbs: Sequence[str]) -> dict[Key, object]:
    """The `after` of the newest row of each workspace, verb and subject, in the order of those rows."""
    newest = (
        select(func.max(ledger.c.seq).label("seq"))
        .where(ledger.c.verb.in_(verbs))
        .group_by(ledger.c.workspace, ledger.c.verb, ledger.c.subject)
        .subquery()
    )
    columns = (ledger.c.workspace, ledger.c.verb, ledger.c.subject, ledger.c.after)
    found = connection.execute(select(*columns).join(newest, ledger.c.seq == newest.c.seq).order_by(ledger.c.seq))
    return {(workspace, verb, subject): json.loads(after) for workspace, verb, subject, after in found}


def newest_rows(connection: Connection, verb: str, workspace: str, without: object = None) -> Iterator[Row]:
    """The newest row of `verb` about each subject in `workspace`, oldest first: what that verb last made of each.

    without: leaves out the rows that say this; an object of one key and value, as {"state": "closed"}.
    """
    newest = (
        select(func.max(ledger.c.seq).label("seq"))
        .where(ledger.c.verb == verb, ledger.c.workspace == workspace)
        .group_by(ledger.c.subject)
        .subquery()
    )
    query = select(ledger).join(newest, ledger.c.seq == newest.c.seq).order_by(ledger.c.seq)
    if without is not None:  # in a text within JSON the quotes would be escaped: only a key and its value fit
        query = query.where(~ledger.c.after.contains(json_text(without)[1:-1], autoescape=True))
    found = connection.execute(query)
    return (Row(**row) for row in found.mappings())


def rows_about(connection: Connection, verb: str, workspace: str, subject: str) -> list[Row]:
    """Every row of `verb` about one subject, oldest first."""
    about = (ledger.c.verb == verb, ledger.c.workspace == workspace, ledger.c.subject == subject)
    return [Row(**row) for row in connection.execute(select(ledger).where(*about).order_by(ledger.c.seq)).mappings()]


def first_pinned(connection: Connection, workspace: str, model: str, number: int) -> object:
    """The digest that this very version was first pinned with; None where it was not yet.

    What was pinned before its model or itself was deleted, or before another took the name, was pinned for a namesake.
    A model that was renamed keeps its pins: they are looked up under the name that it had when they were made.
    """
    before = None
    while True:
        start = began(connection, workspace, model, number, before)
        pinned = _rows(workspace, before).where(
            ledger.c.verb == "pinned",
            ledger.c.subject == stage_subject(model, number),
            ledger.c.seq > (start.seq if start else 0),
        )
        found = connection.execute(pinned.order_by(ledger.c.seq).limit(1)).first()
        if found:
            return json.loads(found.after)
        if start is None or start.verb != "rename model" or start.model == model:
            return None
        model, before = start.model, start.seq


def rows_of_version(connection: Connection, verb: str, workspace: str, model: str, number: int) -> Iterator[Row]:
    """Rows of `verb` about this very version, newest first: none about a deleted namesake, all from before a rename."""
    before: int | None = None
    while True:
        start = began(connection, workspace, model, number, before)
        query = select(ledger).where(
            ledger.c.verb == verb,
            ledger.c.workspace == workspace,
            ledger.c.subject == stage_subject(model, number),
            ledger.c.seq > (start.seq if start else 0),
        )
        if before is not None:
            query = query.where(ledger.c.seq < before)
        for found in connection.execute(query.order_by(ledger.c.seq.desc())).mappings():
            yield Row(**found)
        if start is None or start.verb != "rename model" or start.model == model:
            return
        model, before = start.model, start.seq


def began(connection: Connection, workspace: str, model: str, number: int, before: int | None) -> Any:
    """The newest row, older than row `before`, since which this name and number mean what they mean; None: from ever.

    A deletion, a rename of this name into another, one of another into this, or the version found gone.
    """
    version, verb, subject = stage_subject(model, number), ledger.c.verb, ledger.c.subject
    newest = [
        _rows(workspace, before).where(condition).order_by(ledger.c.seq.desc()).limit(1)
        for condition in (
            verb.in_(("delete model", "rename model")) & (subject == f"models:/{model}"),
            (verb == "delete version") & (subject == version),
            (verb == "stage") & (subject == version) & (ledger.c.after == "null"),
            (verb == "rename model") & (ledger.c.after == json_text(model)),
        )
    ]
    found = [row for query in newest if (row := connection.execute(query).first())]
    return max(found, key=lambda row: row.seq, default=None)


def _rows(workspace: str, before: int | None) -> Select[Any]:
    columns = (ledger.c.seq, ledger.c.verb, ledger.c.model, ledger.c.after)
    query = select(*columns).where(ledger.c.workspace == workspace)
    return query if before is None else query.where(ledger.c.seq < before)


def registry_said(connection: Connection) -> dict[Key, object]:
    """What the ledger says is in the registry now: deletions and renames carried out on what was said before them."""
    return carried_out(last_said(connection, REGISTRY_VERBS))


def carried_out(said: Mapping[Key, object]) -> dict[Key, object]:
    """`said`, oldest first, with only what is still there; a name that is used again begins anew. Pure."""
    now: dict[Key, object] = {}
    for key, after in said.items():
        space, verb, subject = key
        if verb in INITIAL_VERBS:
            now[key] = after
            continue
        for old in [k for k in now if k[0] == space and _concerns(verb, subject, k[2])]:
            value = now.pop(old)
            if verb == "rename model":
                now[space, old[1], old[2].replace(subject, f"models:/{after}", 1)] = value
    return {key: after for key, after in now.items() if after is not None}


def _concerns(verb: str, changed: str, subject: str) -> bool:
    if verb == "delete version":
        return subject.split("#", maxsplit=1)[0] == changed
    return f"models:/{model_of(subject)}" == changed


def head(connection: Connection) -> int:
    """The number of the ledger's last row."""
    return int(connection.execute(select(ledger_head.c.seq).where(ledger_head.c.id == 1)).scalar_one())


def hold_head(connection: Connection) -> None:
    """Make other writers of the ledger wait until this transaction ends: what is read from here on stays true."""
    connection.execute(update(ledger_head).where(ledger_head.c.id == 1).values(seq=ledger_head.c.seq))


def somebody_spoke(connection: Connection, since: int) -> bool:
    """Whether intent was changed, through this plugin, after row `since`."""
    query = select(ledger.c.seq).where(
        ledger.c.seq > since, ledger.c.verb.in_(REGISTRY_VERBS), ledger.c.actor != UNKNOWN_ACTOR
    )
    return connection.execute(query.limit(1)).first() is not None


def models_changed(connection: Connection, since: int, *, found_too: bool = True) -> set[tuple[str, str]]:
    """(workspace, model) of all whose intent was changed after row `since`.

    found_too: also what a controller found changed; a pass wrote that down itself, and planned for it.
    """
    columns = (ledger.c.workspace, ledger.c.model, ledger.c.verb, ledger.c.after)
    query = select(*columns).where(ledger.c.seq > since, ledger.c.verb.in_(REGISTRY_VERBS))
    found = connection.execute(query if found_too else query.where(ledger.c.actor != UNKNOWN_ACTOR)).all()
    renamed = {(row.workspace, str(json.loads(row.after))) for row in found if row.verb == "rename model"}
    return {(row.workspace, row.model) for row in found} | renamed


def last_words(connection: Connection, workspace: str, models: Sequence[str]) -> dict[str, int]:
    """The number of the newest row about the intent of each of `models` that the ledger speaks of."""
    words: dict[str, int] = {}
    for start in range(0, len(models), MOST_NAMES):
        query = (
            select(ledger.c.model, func.max(ledger.c.seq))
            .where(ledger.c.model.in_(models[start : start + MOST_NAMES]))
            .where(ledger.c.workspace == workspace, ledger.c.verb.in_(REGISTRY_VERBS))
            .group_by(ledger.c.model)
        )
        words.update({model: int(seq) for model, seq in connection.execute(query)})
    return words


def stage_subject(model: str, version: int) -> str:
    return f"models:/{model}/{version}"


def alias_subject(model: str, alias: str) -> str:
    return f"models:/{model}@{alias}"


def tag_subject(model: str, version: int, tag: str) -> str:
    return f"models:/{model}/{version}#{tag}"


def unrecorded(registry: Registry, said: Mapping[Key, object]) -> list[Event]:
    """Events by "actor unknown" for all intent in `registry` of which `said`, by `registry_said`, does not tell.

    Of workspaces that `registry` does not cover nothing is said.
    """
    present: dict[Key, object] = {}
    for model in registry.models:
        present.update(_intent(model))
    moved = [(key, said.get(key, INITIAL.get(key[1])), now) for key, now in present.items()]
    gone = [(key, was, None) for key, was in said.items() if key not in present and key[0] in registry.workspaces]
    return [_found(key, before, now) for key, before, now in [*moved, *gone] if before != now]


def _intent(model: RegisteredModel) -> Iterable[tuple[Key, object]]:
    space = model.workspace
    for version in model.versions:
        yield (space, "stage", stage_subject(model.name, version.number)), version.stage
        for tag in INTENT_TAGS:
            if tag in version.tags:
                yield (space, "tag", tag_subject(model.name, version.number, tag)), version.tags[tag]
    for alias, number in model.aliases.items():
        yield (space, "alias", alias_subject(model.name, alias)), number


def model_of(subject: str) -> str:
    """The registered model that a subject speaks of; MLflow forbids "/" and ":" in names, so this is exact."""
    name = subject.removeprefix("models:/").split("/")[0]
    return name.rsplit("@", 1)[0] if "/" not in subject.removeprefix("models:/") else name


def version_of(subject: str) -> int:
    """The version in "models:/name/3" or "models:/name/3#tag"; `ValueError` where the subject names none."""
    number = subject.removeprefix("models:/").partition("/")[2].partition("#")[0]
    if not (subject.startswith("models:/") and number.isdecimal()):
        raise ValueError(f"{subject!r} names no version")
    return int(number)


def _found(key: Key, before: object, after: object) -> Event:
    return Event(
        verb=key[1],
        subject=key[2],
        actor=UNKNOWN_ACTOR,
        model=model_of(key[2]),
        workspace=key[0],
        before=before,
        after=after,
        reason="found by the controller; it was not made through this plugin",
    )
