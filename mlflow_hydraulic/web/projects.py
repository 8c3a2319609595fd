"""What pages, REST API and command line say of projects: counts, alerts, members, and models that could join.

A handful of queries for all projects together; the rights were asked for before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Connection

from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.evidence.sight import clean
from mlflow_hydraulic.monitor import alert_counts, looks, rollup
from mlflow_hydraulic.monitor.findings import Colour
from mlflow_hydraulic.monitor.standing import current
from mlflow_hydraulic.people.listing import Member, Project, listed, loose
from mlflow_hydraulic.people.members import project_of
from mlflow_hydraulic.people.projects import Office
from mlflow_hydraulic.people.rights import MLFLOW_ROLES, Right, Who
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.ask import Ask

LONGEST_REASON = 2000
MOST_CANDIDATES = 50
RoleName = Literal["reader", "contributor", "operator", "validator", "owner", "auditor"]


class Line(Struct, frozen=True, kw_only=True):
    """One project. role: the caller's. models: how many. deployments: by their last seen state.

    alert: the worst that is open, "" for none; alerts: how many are. created: ISO 8601 in UTC.
    """

    id: str
    name: str
    description: str
    created: str
    created_by: str
    owners: list[str]
    role: RoleName
    members: int
    models: int
    deployments: dict[str, int]
    alert: str
    alerts: int


class Listing(Struct, frozen=True, kw_only=True):
    """The projects that fit. there: how many the caller sees without a filter."""

    items: list[Line]
    there: int


class Summary(Line, frozen=True, kw_only=True):
    """One project. levels: its deployments' levels of monitoring by colour; grey has no data to judge."""

    levels: dict[Colour, int]
    may: list[str]


class Shared(Struct, frozen=True, kw_only=True):
    """One member. since: ISO 8601 in UTC; by: who gave the role."""

    user: str
    role: RoleName
    since: str
    by: str


def listing(connection: Connection, workspace: str, who: Who, now: datetime, text: str = "") -> Listing:
    """All projects that `who` sees and in which `text` is found: in name, description or owner."""
    found = listed(connection, workspace, who)
    alerts = alert_counts.open_alerts(connection, workspace, now)
    words = text.casefold().split()
    fits = [one for one in found if all(word in _said(one) for word in words)]
    return Listing(items=[Line(**_line(one, alerts)) for one in fits], there=len(found))


def summary(connection: Connection, workspace: str, project: Project, now: datetime, stale_s: float) -> Summary:
    """One project as it is now. stale_s: how old a finding may be that says something."""
    mine = set(project.models)
    seen = [found for found in looks.newest(connection, workspace) if found.finding.subject.model in mine]
    known = [alert for alert in current(connection, workspace).values() if alert.key.subject.model in mine]
    rolled = rollup.roll_up(seen, known, lambda _subject: "project", now, stale_s)
    alerts = alert_counts.open_alerts(connection, workspace, now)
    return Summary(
        **_line(project, alerts),
        levels=dict(rolled[0].counts) if rolled else {},
        may=sorted(right.name.lower() for right in project.role.rights),
    )


def one(connection: Connection, workspace: str, who: Who, name: str) -> Project:
    """The project of this name; `NotFound` where `who` sees none."""
    found = listed(connection, workspace, who, name)
    if not found:
        raise NotFound(f"there is no project {name!r} here, or it is not shared with {who.actor!r}: ask its owner")
    return found[0]


def shown(ask: Ask, name: str) -> tuple[Project, Summary]:
    """The same for a page or a route, with its models and members."""
    house = ask.house
    with house.engine.connect() as connection:
        project = one(connection, house.workspace, ask.who, name)
        return project, summary(connection, house.workspace, project, ask.now, house.monitoring.rules.stale_s)


def shared(people: Sequence[Member]) -> list[Shared]:
    return [Shared(user=one.user, role=one.role.value, since=one.since, by=one.by) for one in people]


def office(ask: Ask) -> Office:
    """Projects for who asks, with their reason."""
    return Office(
        engine=ask.house.engine,
        workspace=ask.house.workspace,
        by=ask.who.actor,
        now=ask.now,
        reason=clean(ask.reason)[:LONGEST_REASON],
        everywhere=ask.who.everywhere,
    )


def known_users(ask: Ask) -> Collection[str] | None:
    """MLflow's users; None where the server has no log-in, and any name will do."""
    return ask.house.accounts.names() if ask.who.name else None


def candidates(ask: Ask, text: str = "") -> list[str]:
    """Models in no project that the caller may see, with every word of `text` in their names; at most 50."""
    with ask.house.engine.connect() as connection:
        found = loose(connection, ask.house.workspace)
    words = text.casefold().split()
    readable = None if ask.who.everywhere else ask.house.accounts.readable(ask.who)
    fits = (
        model
        for model in found
        if all(word in model.casefold() for word in words) and (readable is None or model in readable)
    )
    return [model for model, _ in zip(fits, range(MOST_CANDIDATES), strict=False)]


def may_take(ask: Ask, model: str) -> bool:
    """Whether the caller may bring a model that is in no project into one: MLflow lets them edit it."""
    if ask.who.everywhere:
        return True
    role = MLFLOW_ROLES.get(ask.house.accounts.permission(ask.who, model))
    return role is not None and Right.MODELS in role.rights


def may_see(ask: Ask, project: str) -> bool:
    """Whether the project is shared with the caller."""
    return access.role_in(ask, project) is not None


def place_of(ask: Ask, model: str) -> str | None:
    """The project that a model is in; "" for none, None where there is no such model."""
    with ask.house.engine.connect() as connection:
        return project_of(connection, ask.house.workspace, model)


def _line(project: Project, alerts: Sequence[alert_counts.Open]) -> dict[str, Any]:  # Any: the fields of a `Line`
    counts = alert_counts.total(alerts, set(project.models))
    return {
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "created": project.created,
        "created_by": project.created_by,
        "owners": list(project.owners),
        "role": project.role.value,
        "members": len(project.members),
        "models": len(project.models),
        "deployments": dict(project.states),
        "alert": counts.worst or "",
        "alerts": counts.open,
    }


def _said(project: Project) -> str:
    return " ".join([project.name, project.description, *project.owners]).casefold()
