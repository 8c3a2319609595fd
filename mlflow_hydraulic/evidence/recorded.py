"""What the ledger last said of each subject, so that a change made behind our back is seen and written down.

Derived from the ledger at every pass and never stored: the ledger stays the only record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, func, select

from mlflow_hydraulic.evidence.ledger import UNKNOWN_ACTOR, Event
from mlflow_hydraulic.evidence.tables import ledger
from mlflow_hydraulic.registry import INTENT_TAGS, RegisteredModel

REGISTRY_VERBS = ("stage", "alias", "tag", "delete version", "delete model", "rename model")
RUNS = "runs"
INITIAL_VERBS = ("stage", "alias", "tag")
INITIAL = {"stage": "None"}


Key = tuple[str, str, str]  # workspace, verb, subject


def last_said(connection: Connection, verbs: Sequence[str]) -> dict[Key, object]:
    """The `after` of the newest row of each workspace, verb and subject."""
    newest = (
        select(func.max(ledger.c.seq).label("seq"))
        .where(ledger.c.verb.in_(verbs))
        .group_by(ledger.c.workspace, ledger.c.verb, ledger.c.subject)
        .subquery()
    )
    columns = (ledger.c.workspace, ledger.c.verb, ledger.c.subject, ledger.c.after)
    found = connection.execute(select(*columns).join(newest, ledger.c.seq == newest.c.seq))
    return {(workspace, verb, subject): json.loads(after) for workspace, verb, subject, after in found}


def stage_subject(model: str, version: int) -> str:
    return f"models:/{model}/{version}"


def alias_subject(model: str, alias: str) -> str:
    return f"models:/{model}@{alias}"


def tag_subject(model: str, version: int, tag: str) -> str:
    return f"models:/{model}/{version}#{tag}"


def unrecorded(models: Iterable[RegisteredModel], said: Mapping[Key, object]) -> list[Event]:
    """Events by "actor unknown" for all intent in `models` that the ledger does not tell of."""
    present: dict[Key, object] = {}
    for model in models:
        present.update(_intent(model))
    moved = [(key, said.get(key, INITIAL.get(key[1])), now) for key, now in present.items()]
    gone = [(key, before, None) for key, before in said.items() if key not in present and _was_there(key, before, said)]
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


def _was_there(key: Key, value: object, said: Mapping[Key, object]) -> bool:
    """Whether the ledger still speaks of it as there: not set to nothing, nor deleted with its version or model."""
    space, _, subject = key
    model = model_of(subject)
    return not (
        key[1] not in INITIAL_VERBS
        or value is None
        or (space, "delete version", subject.split("#")[0]) in said
        or (space, "delete model", f"models:/{model}") in said
    )


def model_of(subject: str) -> str:
    """The registered model that a subject speaks of; MLflow forbids "/" and ":" in names, so this is exact."""
    name = subject.removeprefix("models:/").split("/")[0]
    return name.rsplit("@", 1)[0] if "/" not in subject.removeprefix("models:/") else name


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
