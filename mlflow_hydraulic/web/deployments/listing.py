"""The deployments that somebody may see, as a table: filtered, sorted, a page of it. A handful of queries in all.

What is shown is what the controller saw last (`evidence.sight`), with the age of that look: where it is old, it says
so in words, and no state is told as if it were of now. Called by route and page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, structs
from sqlalchemy import Connection, and_, func, literal_column, select, true

from mlflow_hydraulic.evidence import sight as stored
from mlflow_hydraulic.evidence.ledger import CONTROLLER_ACTOR
from mlflow_hydraulic.evidence.tables import projects, sight
from mlflow_hydraulic.monitor import alert_counts
from mlflow_hydraulic.people.members import MODEL_TAGS, MODELS, PROJECT_TAG
from mlflow_hydraulic.people.visible import visible
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.deployments.facts import Deployed, deployed_since, in_words, late_looks, top, type_of, words

Sort = Literal["model", "deployment", "environment", "state", "deployed", "alert"]
Type = Literal["", "single", "champion/challenger", "A/B"]
ON_ITS_WAY = ("preparing", "launching", "terminating")
STATES = ("failed", "unhealthy", "not found", "preparing", "launching", "terminating", "healthy")  # the worst first
WORST = ("red", "orange", "grey", "green")


class Filter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deployments, in which order, and which page of them.

    text: words that all must be found in model, deployment, project or environment. "" asks for any. page: counts
    from 1. size: rows a page.
    """

    text: Annotated[str, Meta(max_length=200)] = ""
    project: Annotated[str, Meta(max_length=64)] = ""
    environment: Annotated[str, Meta(max_length=64)] = ""
    state: Literal["", "not found", "preparing", "launching", "healthy", "unhealthy", "failed", "terminating"] = ""
    type: Type = ""
    sort: Sort = "model"
    order: Literal["asc", "desc"] = "asc"
    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    size: Annotated[int, Meta(ge=1, le=200)] = 50


class Line(Struct, frozen=True, kw_only=True):
    """One deployment. project: "" for none. version: the one with the largest share; versions: all of them in words.

    state: as it was last seen, since `since`; late: "" or why that may not hold any more. deployed: when what runs
    began to run, by whom and why; "" where the ledger does not know. alert: the worst that is open, "" for none.
    managed: false for one that somebody made by hand. Times are ISO 8601 in UTC.
    """

    environment: str
    deployment: str
    model: str
    project: str
    managed: bool
    type: str
    version: str
    versions: str
    state: str
    since: str
    seen: str
    late: str
    cause: str
    about: str
    endpoint: str
    deployed: str = ""
    deployed_by: str = ""
    reason: str = ""
    alert: str = ""
    alerts: int = 0


class Listing(Struct, frozen=True, kw_only=True):
    """One page of the table. total: rows in all pages. there: deployments that the caller may see, without a filter.

    late: by environment, in words, where what is shown is old or the controller cannot see.
    """

    items: list[Line]
    total: int
    there: int
    page: int
    size: int
    late: dict[str, str]
    moving: bool


def listing(ask: Ask, asked: Filter) -> Listing:
    """The page of the table that `asked` names."""
    with ask.house.engine.connect() as connection:
        rows = _rows(ask, connection, asked.project)
        looks = late_looks(ask, stored.looks(connection, ask.house.workspace))
        since = deployed_since(connection, ask.house.workspace)
        alerts = alert_counts.open_alerts(connection, ask.house.workspace, ask.now)
        counts = alert_counts.counted(alerts, alert_counts.place)
        lines = [_line(row, looks, since, counts) for row in rows]
        kept = sorted((one for one in lines if _fits(one, asked)), key=lambda one: _order(one, asked.sort))
        if asked.order == "desc":
            kept.reverse()
        first = (asked.page - 1) * asked.size
        items = with_actors(connection, ask.house.workspace, kept[first : first + asked.size])
    return Listing(
        items=items,
        total=len(kept),
        there=len(lines),
        page=asked.page,
        size=asked.size,
        late={name: words for name, (words, _) in looks.items() if words},
        moving=any(one.state in ON_ITS_WAY or one.about for one in items),
    )


def line_of(ask: Ask, connection: Connection, row: Mapping[str, Any]) -> Line:
    """The same of one deployment, by its row."""
    workspace = ask.house.workspace
    looks = late_looks(ask, stored.looks(connection, workspace))
    subject = f"{row['environment']}/{row['deployment']}"
    alerts = alert_counts.open_alerts(connection, workspace, ask.now)
    counts = alert_counts.counted(alerts, alert_counts.place)
    project = connection.execute(_projects(workspace, row["model"])).scalar() or ""
    line = _line({"project": project, **row}, looks, deployed_since(connection, workspace, subject), counts)
    return with_actors(connection, workspace, [line])[0]


def may_see(ask: Ask) -> Any:  # Any: SQLAlchemy's condition
    """The condition on `sight` that the caller may see a deployment: by its model. Of one that is not registered, or
    is another workspace's, only those that no role limits."""
    if ask.who.everywhere:
        return true()
    registered = select(MODELS.c.name).where(MODELS.c.workspace == ask.house.workspace)
    readable = ask.house.accounts.readable(ask.who)
    seen = visible(ask.who, readable, ask.house.workspace, literal_column("hydraulic_sight.model"))
    return and_(sight.c.model.in_(registered), seen)


def _rows(ask: Ask, connection: Connection, project: str) -> list[Mapping[str, Any]]:
    workspace = ask.house.workspace
    tagged = and_(
        MODEL_TAGS.c.workspace == workspace, MODEL_TAGS.c.name == sight.c.model, MODEL_TAGS.c.key == PROJECT_TAG
    )
    real = and_(projects.c.workspace == workspace, projects.c.name == MODEL_TAGS.c.value)
    query = (
        select(sight, func.coalesce(projects.c.name, "").label("project"))
        .select_from(sight.outerjoin(MODEL_TAGS, tagged).outerjoin(projects, real))
        .where(sight.c.workspace == workspace, may_see(ask))
    )
    if project:
        query = query.where(projects.c.name == project)
    return [dict(row) for row in connection.execute(query).mappings()]


def _projects(workspace: str, model: str) -> Any:  # Any: SQLAlchemy's select
    real = and_(projects.c.workspace == workspace, projects.c.name == MODEL_TAGS.c.value)
    tagged = (MODEL_TAGS.c.workspace == workspace, MODEL_TAGS.c.name == model, MODEL_TAGS.c.key == PROJECT_TAG)
    return select(projects.c.name).select_from(MODEL_TAGS.join(projects, real)).where(*tagged)


def _line(
    row: Mapping[str, Any],
    looks: Mapping[str, tuple[str, str]],
    since: Mapping[str, Deployed],
    counts: Mapping[tuple[str, str], alert_counts.Counts],
) -> Line:
    said = stored.read_said(row["said"])
    place = (row["environment"], row["deployment"])
    late, seen = looks.get(row["environment"], ("", ""))
    alerts = counts.get(place, alert_counts.Counts())
    run = since.get("/".join(place), Deployed())
    note = said.note
    return Line(
        environment=row["environment"],
        deployment=row["deployment"],
        model=row["model"],
        project=row["project"],
        managed=bool(row["managed"]),
        type=type_of(said.predictors),
        version=top(said.predictors),
        versions=in_words(said.predictors),
        state=row["state"],
        since=row["since"],
        seen=seen,
        late=late,
        cause=row["cause"],
        about=note.kind if note and note.kind in ("create", "update", "delete") else "",
        endpoint=row["endpoint"],
        deployed=run.at,
        deployed_by=run.actor,
        reason=run.reason,
        alert=str(alerts.worst or ""),
        alerts=alerts.open,
    )


def with_actors(connection: Connection, workspace: str, lines: list[Line]) -> list[Line]:
    """The lines with the person whose word brought what the controller deployed, and their reason."""
    theirs = [one for one in lines if one.deployed_by == CONTROLLER_ACTOR]
    said = words(connection, workspace, [f"{one.environment}/{one.deployment}" for one in theirs]) if theirs else {}

    def told(one: Line) -> Line:
        who, why = said.get(f"{one.environment}/{one.deployment}", (one.deployed_by, one.reason))
        return structs.replace(one, deployed_by=who, reason=why) if one.deployed_by == CONTROLLER_ACTOR else one

    return [told(one) for one in lines]


def _fits(one: Line, asked: Filter) -> bool:
    if asked.environment not in ("", one.environment) or asked.state not in ("", one.state):
        return False
    if asked.type not in ("", one.type):
        return False
    where = f"{one.model}\n{one.deployment}\n{one.project}\n{one.environment}\n{one.versions}".casefold()
    return all(word in where for word in asked.text.casefold().split())


def _order(one: Line, sort: Sort) -> tuple[object, ...]:
    tie = (one.model, one.environment, one.deployment)
    if sort == "state":
        return (STATES.index(one.state) if one.state in STATES else 0, *tie)
    if sort == "alert":
        return (WORST.index(one.alert) if one.alert in WORST else len(WORST), *tie)
    return (getattr(one, sort), *tie)
