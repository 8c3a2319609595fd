"""When a version ran where, by the ledger's rows of what was seen healthy. Called by the models' pages."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.evidence.compositions import Composition, read_composition
from mlflow_hydraulic.evidence.recorded import RUNS
from mlflow_hydraulic.evidence.tables import ledger

MOST_ROWS = 5000  # the newest of a model that changed more often


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A version ran in `deployment` from `since` until `until` (ISO times, until: "" where it still does).

    share: what the deployment was at the span's end, in the plan's words: "v2 90 % + v3 10 %".
    """

    environment: str
    deployment: str
    role: str
    since: str
    until: str = ""
    share: str = ""


def spans(connection: Connection, workspace: str, model: str, number: int) -> list[Span]:
    """Where and when version `number` ran, newest first."""
    query = (
        select(ledger.c.at, ledger.c.subject, ledger.c.after)
        .where(ledger.c.model == model, ledger.c.verb == RUNS, ledger.c.workspace == workspace)
        .order_by(ledger.c.seq.desc())
        .limit(MOST_ROWS)
    )
    running: dict[str, Span] = {}
    ended: list[Span] = []
    for at, subject, after in connection.execute(query).all()[::-1]:
        composition = _read(after)
        role = _role(composition, number)
        span = running.pop(subject, None)
        if span and span.role == role:
            running[subject] = replace(span, share=str(composition))
            continue
        if span:
            ended.append(replace(span, until=at))
        if role:
            environment, _, deployment = subject.partition("/")
            running[subject] = Span(
                environment=environment, deployment=deployment, role=role, since=at, share=str(composition)
            )
    return sorted([*ended, *running.values()], key=lambda span: span.since, reverse=True)


def _read(after: str) -> Composition | None:
    try:
        return read_composition(json.loads(after))
    except (ValueError, Untrusted):  # tampered with: `hydraulic ledger verify` names it
        return None


def _role(composition: Composition | None, number: int) -> str:
    """What the version did there: "champion", "arm", "challenger", or ""."""
    if composition is None:
        return ""
    if number in composition.versions:
        return "arm" if len(composition.versions) > 1 else "champion"
    return "challenger" if composition.shadow and composition.shadow.version == number else ""
