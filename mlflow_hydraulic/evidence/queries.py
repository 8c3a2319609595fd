"""Rows of the ledger by what people ask for: model, actor, verb, environment, time; the newest of them.

Called by `hydraulic ledger show`, `history`, `rollback` and the pages of events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, literal, select

from mlflow_hydraulic.canary.memory import UNDER_WAY
from mlflow_hydraulic.deployment import deployment_name
from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.evidence.canaries import CANARY
from mlflow_hydraulic.evidence.compositions import Composition, read_composition
from mlflow_hydraulic.evidence.ledger import Row
from mlflow_hydraulic.evidence.recorded import INITIAL_VERBS, RUNS
from mlflow_hydraulic.evidence.tables import ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which rows: "" and None ask for any. `since` and `until` are inclusive and exclusive."""

    workspace: str = ""
    model: str = ""
    actor: str = ""
    verb: str = ""
    environment: str = ""
    since: datetime | None = None
    until: datetime | None = None


def newest(connection: Connection, asked: Asked, last: int) -> list[Row]:
    """At most `last` of the rows that fit, oldest first."""
    query = select(ledger).where(*conditions(asked)).order_by(ledger.c.seq.desc()).limit(last)
    return [Row(**found) for found in connection.execute(query).mappings()][::-1]


def ran(connection: Connection, model: str, environment: str, workspace: str = "default") -> list[Composition | None]:
    """Everything that ran as the deployment of `model` in `environment`, oldest first; None where it ended.

    What is in the last place runs now, as far as the ledger knows. What a person deployed beside it, under another
    name, does not count: nobody promoted it. Nor do the steps of a canary: nobody asked for those shares.
    """
    asked = Asked(workspace=workspace, model=model, environment=environment)
    ours = ledger.c.subject == f"{environment}/{deployment_name(model, workspace)}"
    query = select(ledger.c.verb, ledger.c.after).where(*conditions(asked), ours, ledger.c.verb.in_((RUNS, CANARY)))
    steps: set[int] = set()
    found = []
    for verb, after in connection.execute(query.order_by(ledger.c.seq)):
        value = json.loads(after)
        if verb == CANARY:
            steps = {value["from"], value["to"]} if value["phase"] in UNDER_WAY else set()
            continue
        composition = read_composition(value)
        if composition is None or not steps or set(composition.versions) != steps:
            found.append(composition)
    return found


def last_reason(connection: Connection, model: str, environment: str, workspace: str = "default") -> str:
    """The reason of the last change of intent that touched `model` in `environment`; "" where there is none."""
    asked = Asked(workspace=workspace, model=model, environment=environment)
    query = (
        select(ledger.c.reason)
        .where(*conditions(asked), ledger.c.verb.in_(INITIAL_VERBS))
        .order_by(ledger.c.seq.desc())
        .limit(1)
    )
    return str(connection.execute(query).scalar() or "")


def conditions(asked: Asked) -> list[ColumnElement[bool]]:
    """`asked` as conditions of a query of the ledger."""
    columns = {"workspace": asked.workspace, "model": asked.model, "actor": asked.actor, "verb": asked.verb}
    conditions = [ledger.c[column] == value for column, value in columns.items() if value]
    if asked.environment:  # one row may touch several: "dev,prod"
        listed = literal(",") + ledger.c.environment + ","
        conditions.append(listed.contains(f",{asked.environment},", autoescape=True))
    if asked.since:
        conditions.append(ledger.c.at >= stamp(asked.since))
    if asked.until:
        conditions.append(ledger.c.at < stamp(asked.until))
    return conditions
