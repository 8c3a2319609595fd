"""One deployment: its predictors, how it is and why, what ran before by whose word, its canary, its tags.

Called by route and page. Where it was not seen yet, what is told is that: nothing runs under this name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import Connection

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.canary.memory import UNDER_WAY
from mlflow_hydraulic.deployment import deployment_name
from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.evidence import canaries, deployment_tags, queries
from mlflow_hydraulic.evidence import sight as stored
from mlflow_hydraulic.evidence.canaries import CANARY
from mlflow_hydraulic.evidence.compositions import Composition, read_composition
from mlflow_hydraulic.evidence.ledger import CONTROLLER_ACTOR, Row
from mlflow_hydraulic.evidence.recorded import INITIAL_VERBS, RUNS
from mlflow_hydraulic.evidence.sight import Part, Said
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.deployments.listing import ON_ITS_WAY, Line, line_of

LAST = 500  # rows of the ledger about model and environment that are looked through
MOST_RAN = 50
FRESH_S = 60  # so long the way is shown of what has just become healthy
STEPS = ("not found", "preparing", "launching", "healthy")


class Ran(Struct, frozen=True, kw_only=True):
    """What ran, from when until when ("" for now), by whose word and why. composition: "" where it ended. version: the
    one to go back to for this; 0 for none, as after an end and for a canary's step. now: whether it is what runs."""

    at: str
    until: str
    composition: str
    version: int
    by: str
    reason: str
    now: bool
    seq: int


class Canary(Struct, frozen=True, kw_only=True):
    """The canary under way: share in percent of `new`, the rest gets `old`. reason: what was counted last."""

    phase: str
    old: int
    new: int
    share: int
    since: str
    reason: str
    word: str
    word_of: str


class Details(Struct, frozen=True, kw_only=True):
    """One deployment, whole. log: the last lines that go with its cause. note: what the controller is about there, in
    words; due: when it tries again. stale: what of it is not as configured. target, namespace: where it runs."""

    line: Line
    predictors: list[Part]
    log: list[str]
    note: str
    wanted: str
    due: str
    stale: str
    target: str
    namespace: str
    generation: int
    history: list[Ran]
    canary: Canary | None
    tags: dict[str, str]
    moving: bool


def details(ask: Ask, environment: str, deployment: str) -> Details:
    """All that is known of one deployment. The caller's right was checked by its model."""
    house = ask.house
    with house.engine.connect() as connection:
        row = stored.find(connection, house.workspace, environment, deployment)
        found = dict(row) if row else _unseen(ask, environment, deployment)
        said = stored.read_said(found["said"])
        line = line_of(ask, connection, found)
        past = _past(connection, ask, environment, deployment, line)
        named = next((one for one in house.configuration.environments if one.name == environment), None)
        canary = _canary(connection, house.workspace, named, line) if named else None
        tags = deployment_tags.tags_of(connection, house.workspace, environment, deployment)
    note = said.note
    return Details(
        line=line,
        predictors=list(said.predictors),
        log=list(said.log),
        note=note.text if note else "",
        wanted=note.wanted if note else "",
        due=note.due if note else "",
        stale=said.stale,
        target=said.target or (named.target if named else ""),
        namespace=said.namespace or (named.namespace if named else ""),
        generation=said.generation,
        history=past,
        canary=canary,
        tags=tags,
        moving=line.state in ON_ITS_WAY or bool(line.about) or row is None or canary is not None,
    )


def _unseen(ask: Ask, environment: str, deployment: str) -> dict[str, Any]:
    """A row for what no controller has seen yet."""
    return {
        "environment": environment,
        "deployment": deployment,
        "model": access.model_of(ask, environment, deployment),
        "managed": 1,
        "state": "not found",
        "since": "",
        "endpoint": "",
        "cause": "",
        "said": "{}",
    }


def steps(line: Line, now: datetime) -> list[tuple[str, str]]:
    """The four states on the way to a deployment that serves, each "done", "now" or ""; nothing where it is there."""
    settled = line.since and now - datetime.fromisoformat(line.since) > timedelta(seconds=FRESH_S)
    if line.state not in STEPS or line.late or (line.state == "healthy" and settled):
        return []
    at = STEPS.index(line.state)
    return [
        (name, "done" if i < at or line.state == "healthy" else "now" if i == at else "")
        for i, name in enumerate(STEPS)
    ]


def _past(connection: Connection, ask: Ask, environment: str, deployment: str, line: Line) -> list[Ran]:
    """What ran under this name, newest first, each with the word that brought it."""
    asked = queries.Asked(workspace=ask.house.workspace, model=line.model, environment=environment)
    rows = queries.newest(connection, asked, LAST)
    ours = deployment == deployment_name(line.model, ask.house.workspace)
    found = history(rows, f"{environment}/{deployment}", ours=ours)
    return found if line.state != "not found" else [structs.replace(one, now=False) for one in found]


def history(rows: Sequence[Row], subject: str, *, ours: bool) -> list[Ran]:
    """The rows of `subject` about what runs, newest first, with who asked for it: the last change of intent before.

    rows: of its model and environment, oldest first. ours: whether the controller follows intent under this name.
    """
    found: list[Ran] = []
    by, why = "", ""
    steps: set[int] = set()
    for row in rows:
        if row.verb in INITIAL_VERBS:
            by, why = row.actor, row.reason
        elif row.verb == CANARY and row.subject == subject:
            steps = _steps(row)
        elif row.verb == RUNS and row.subject == subject:
            if found:
                found[-1] = structs.replace(found[-1], until=row.at)
            asked = ours and row.actor == CONTROLLER_ACTOR and by
            found.append(_ran(row, by if asked else row.actor, why if asked else row.reason, steps))
    if found:
        found[-1] = structs.replace(found[-1], now=bool(found[-1].composition))
    return found[::-1][:MOST_RAN]


def _steps(row: Row) -> set[int]:
    """The versions of the canary that is under way after `row`; none where it is over."""
    try:
        value = json.loads(row.after)
        return {int(value["from"]), int(value["to"])} if value["phase"] in UNDER_WAY else set()
    except (ValueError, TypeError, KeyError):  # tampered with
        return set()


def _ran(row: Row, by: str, why: str, steps: set[int]) -> Ran:
    try:
        ran: Composition | None = read_composition(json.loads(row.after))
        text = str(ran) if ran else ""
    except (Untrusted, ValueError):  # tampered with: it is still shown, and `hydraulic ledger verify` names it
        ran, text = None, "(this row cannot be read)"
    asked = ran is not None and set(ran.versions) != steps  # nobody asks for the shares of a canary's step
    best = max(ran.predictors, key=lambda part: part.traffic).version if ran and asked else 0
    return Ran(at=row.at, until="", composition=text, version=best, by=by, reason=why, now=False, seq=row.seq)


def _canary(connection: Connection, workspace: str, environment: Environment, line: Line) -> Canary | None:
    if environment.canary is None or not line.managed:
        return None
    memory = canaries.remembered(connection, workspace, environment, line.model)
    if memory is None or not memory.under_way:
        return None
    return Canary(
        phase=memory.phase,
        old=memory.old,
        new=memory.new,
        share=memory.share,
        since=memory.since.isoformat(timespec="microseconds"),
        reason=memory.reason,
        word=memory.word,
        word_of=memory.word_of,
    )


def said_of(ask: Ask, environment: str, deployment: str) -> tuple[Said, str, str]:
    """What was seen of it, its endpoint, and its state; an empty one where nothing was."""
    with ask.house.engine.connect() as connection:
        row = stored.find(connection, ask.house.workspace, environment, deployment)
    return (stored.read_said(row["said"]), row["endpoint"], row["state"]) if row else (Said(), "", "not found")
