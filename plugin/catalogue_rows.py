"""Model versions from MLflow's tables: filtered, sorted and cut into pages by the database. Called by `catalogue`.

MLflow's tags are keyed by (workspace, key, name, version): what is looked up by key is quick, and what is looked up by
name alone reads the table once. So no condition here asks for tags row by row without naming the key.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
)
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlRun
from sqlalchemy import ColumnElement, Connection, FromClause, and_, case, exists, func, or_, select, tuple_

from mlflow_hydraulic.evidence.observed import Observed, versions_seen
from mlflow_hydraulic.evidence.tables import projects
from mlflow_hydraulic.people.members import PROJECT_TAG
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.people.visible import Readable, visible
from mlflow_hydraulic.plugin.registry import IS_PROMPT
from mlflow_hydraulic.plugin.trained import SCHEME
from mlflow_hydraulic.registry import TAG_PREFIX
from mlflow_hydraulic.web.catalogue import Filter, Line, Listing, Place, Tag

SCORE_TAG = "hydraulic.score"  # of a registered model: the metric that its versions are judged by
RIGS_SCORE = f"{SCHEME}/accuracy"  # what `hydraulic train` chooses by
LARGEST = 1.7976931348623157e308  # as which MLflow stores infinity
MOST_WORDS = 8
MOST_SIBLINGS = 50

VERSIONS: Any = SqlModelVersion.__table__  # Any: MLflow's tables are untyped
VERSION_TAGS: Any = SqlModelVersionTag.__table__
MODEL_TAGS: Any = SqlRegisteredModelTag.__table__
ALIASES: Any = SqlRegisteredModelAlias.__table__
RUNS: Any = SqlRun.__table__
LATEST: Any = SqlLatestMetric.__table__
IN_PROJECT, SCORED = MODEL_TAGS.alias("in_project"), MODEL_TAGS.alias("scored")
OWNER = func.coalesce(func.nullif(VERSIONS.c.user_id, ""), RUNS.c.user_id, "")
PROJECT = func.coalesce(projects.c.name, "")


@dataclass(frozen=True, slots=True)
class Rows:
    """The versions of one workspace that are there."""

    workspace: str

    def page(self, connection: Connection, asked: Filter, who: Who, readable: Readable) -> Listing:
        """In four queries: which of how many, and where they run, their aliases and tags."""
        seen = self._seen(connection, asked)
        where = [
            *self._there(),
            *self._conditions(asked, seen),
            visible(who, readable, self.workspace, VERSIONS.c.name),
        ]
        query = (
            _selected(func.count().over().label("total"))
            .where(*where)
            .order_by(*self._order(asked, seen))
            .limit(asked.size)
            .offset((asked.page - 1) * asked.size)
        )
        found = connection.execute(query).all()
        if found or asked.page == 1:
            total = found[0].total if found else 0
        else:  # a page behind the last: no row is there to say how many there are
            total = connection.execute(
                select(func.count()).select_from(_selected().where(*where).subquery())
            ).scalar_one()
        return Listing(items=self._lines(connection, found), total=int(total), page=asked.page, size=asked.size)

    def line(self, connection: Connection, model: str, number: int) -> Line | None:
        """One version; None where there is none."""
        query = _selected().where(*self._there(), VERSIONS.c.name == model, VERSIONS.c.version == number)
        return next(iter(self._lines(connection, connection.execute(query).all())), None)

    def of_runs(
        self, connection: Connection, runs: Sequence[str], who: Who, readable: Readable
    ) -> Sequence[tuple[str, int, str]]:
        """Model, version and run of the newest versions that came of `runs`."""
        query = (
            select(VERSIONS.c.name, VERSIONS.c.version, VERSIONS.c.run_id)
            .where(*self._there(), VERSIONS.c.run_id.in_(runs))
            .where(visible(who, readable, self.workspace, VERSIONS.c.name))
            .order_by(VERSIONS.c.creation_time.desc(), VERSIONS.c.name, VERSIONS.c.version.desc())
        )
        return [tuple(row) for row in connection.execute(query.limit(MOST_SIBLINGS))]

    def _seen(self, connection: Connection, asked: Filter) -> Sequence[tuple[str, int]]:
        """The versions that run where it is asked for, if it is."""
        if not asked.environment and asked.sort != "environment":
            return ()
        return sorted(versions_seen(connection, self.workspace, environment=asked.environment))

    def _there(self) -> list[ColumnElement[bool]]:
        """Not deleted, and no prompt."""
        prompt = exists().where(
            MODEL_TAGS.c.workspace == VERSIONS.c.workspace,
            MODEL_TAGS.c.key == IS_PROMPT,
            MODEL_TAGS.c.name == VERSIONS.c.name,
            MODEL_TAGS.c.value == "true",
        )
        return [VERSIONS.c.workspace == self.workspace, VERSIONS.c.current_stage != STAGE_DELETED_INTERNAL, ~prompt]

    def _conditions(self, asked: Filter, seen: Sequence[tuple[str, int]]) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [self._says(word) for word in asked.text.split()[:MOST_WORDS]]
        if asked.model:
            found.append(VERSIONS.c.name == asked.model)
        if asked.project:
            found.append(PROJECT.in_([asked.project]))
        if asked.stage:
            found.append(VERSIONS.c.current_stage == asked.stage)
        if asked.environment:
            found.append(tuple_(VERSIONS.c.name, VERSIONS.c.version).in_(seen))
        if asked.versions == "latest":
            found.append(VERSIONS.c.version == self._newest())
        return found

    def _says(self, word: str) -> ColumnElement[bool]:
        """Model, owner or a tag of the version or of its model has `word` in it."""
        theirs, models = (
            or_(table.c.key.icontains(word, autoescape=True), table.c.value.icontains(word, autoescape=True))
            for table in (VERSION_TAGS, MODEL_TAGS)
        )
        tagged = select(VERSION_TAGS.c.name, VERSION_TAGS.c.version)
        return or_(
            VERSIONS.c.name.icontains(word, autoescape=True),
            OWNER.icontains(word, autoescape=True),
            tuple_(VERSIONS.c.name, VERSIONS.c.version).in_(
                tagged.where(VERSION_TAGS.c.workspace == self.workspace, theirs)
            ),
            VERSIONS.c.name.in_(select(MODEL_TAGS.c.name).where(MODEL_TAGS.c.workspace == self.workspace, models)),
        )

    def _newest(self) -> Any:
        other = VERSIONS.alias("other")
        return (
            select(func.max(other.c.version))
            .where(
                other.c.workspace == VERSIONS.c.workspace,
                other.c.name == VERSIONS.c.name,
                other.c.current_stage != STAGE_DELETED_INTERNAL,
            )
            .correlate(VERSIONS)
            .scalar_subquery()
        )

    def _order(self, asked: Filter, seen: Sequence[tuple[str, int]]) -> list[Any]:
        """What is nowhere said comes last in either direction; the name and the newest decide among equals."""
        alias = (
            select(func.min(ALIASES.c.alias))
            .where(
                ALIASES.c.workspace == VERSIONS.c.workspace,
                ALIASES.c.name == VERSIONS.c.name,
                ALIASES.c.version == VERSIONS.c.version,
            )
            .correlate(VERSIONS)
            .scalar_subquery()
        )
        score = case((LATEST.c.is_nan, None), else_=LATEST.c.value)
        by: Mapping[str, ColumnElement[Any]] = {
            "model": VERSIONS.c.name,
            "version": VERSIONS.c.version,
            "project": func.nullif(PROJECT, ""),
            "created": VERSIONS.c.creation_time,
            "score": score,
            "owner": func.nullif(OWNER, ""),
            "stage": func.nullif(VERSIONS.c.current_stage, "None"),
            "environment": case((tuple_(VERSIONS.c.name, VERSIONS.c.version).in_(seen), 1), else_=None),
            "alias": alias,
        }
        first = by[asked.sort]
        directed = first.desc() if asked.order == "desc" else first.asc()
        absent = [case((first.is_(None), 1), else_=0)] if asked.sort not in ("model", "version", "created") else []
        return [*absent, directed, VERSIONS.c.name.asc(), VERSIONS.c.version.desc()]

    def _lines(self, connection: Connection, found: Sequence[Any]) -> list[Line]:
        names = sorted({row.name for row in found})
        aliases, tags = self._aliases(connection, names), self._tags(connection, names)
        seen = versions_seen(connection, self.workspace, models=names)
        return [
            _line(row, aliases[key], tags[key], seen.get(key, ())) for row in found for key in [(row.name, row.version)]
        ]

    def _aliases(self, connection: Connection, names: Sequence[str]) -> dict[tuple[str, int], list[str]]:
        found: dict[tuple[str, int], list[str]] = defaultdict(list)
        query = select(ALIASES.c.name, ALIASES.c.version, ALIASES.c.alias).where(
            ALIASES.c.workspace == self.workspace, ALIASES.c.name.in_(names)
        )
        for name, version, alias in connection.execute(query.order_by(ALIASES.c.alias)):
            found[name, version].append(alias)
        return found

    def _tags(self, connection: Connection, names: Sequence[str]) -> dict[tuple[str, int], dict[str, str]]:
        found: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        columns = (VERSION_TAGS.c.name, VERSION_TAGS.c.version, VERSION_TAGS.c.key, VERSION_TAGS.c.value)
        query = select(*columns).where(VERSION_TAGS.c.workspace == self.workspace, VERSION_TAGS.c.name.in_(names))
        for name, version, key, value in connection.execute(query):
            found[name, version][key] = value or ""
        return found


def _line(row: Any, aliases: Sequence[str], tags: Mapping[str, str], seen: Sequence[Observed]) -> Line:
    scored = row.value is not None
    return Line(
        model=row.name,
        version=row.version,
        project=row.project,
        created=iso(row.creation_time),
        scorer=row.key if scored else "",
        score=number(row.value, row.is_nan) if scored else None,
        owner=row.owner,
        environments=[
            Place(environment=one.environment, deployment=one.deployment, role=one.role, state=one.state)
            for one in seen
        ],
        stage=row.current_stage or "None",
        aliases=list(aliases),
        tags=[Tag(key=key, value=tags[key]) for key in sorted(tags) if is_own(key)],
    )


def _joined() -> FromClause:
    """Versions with project, run and score."""
    of_model = and_(
        IN_PROJECT.c.workspace == VERSIONS.c.workspace,
        IN_PROJECT.c.key == PROJECT_TAG,
        IN_PROJECT.c.name == VERSIONS.c.name,
    )
    real = and_(projects.c.workspace == VERSIONS.c.workspace, projects.c.name == IN_PROJECT.c.value)
    by = and_(SCORED.c.workspace == VERSIONS.c.workspace, SCORED.c.key == SCORE_TAG, SCORED.c.name == VERSIONS.c.name)
    score = and_(LATEST.c.run_uuid == VERSIONS.c.run_id, LATEST.c.key == func.coalesce(SCORED.c.value, RIGS_SCORE))
    return (  # type: ignore[no-any-return]  # MLflow's tables are untyped
        VERSIONS.outerjoin(IN_PROJECT, of_model)
        .outerjoin(projects, real)
        .outerjoin(RUNS, RUNS.c.run_uuid == VERSIONS.c.run_id)
        .outerjoin(SCORED, by)
        .outerjoin(LATEST, score)
    )


def _selected(*more: ColumnElement[Any]) -> Any:
    columns = (VERSIONS.c.name, VERSIONS.c.version, VERSIONS.c.creation_time, VERSIONS.c.current_stage)
    said = (PROJECT.label("project"), OWNER.label("owner"), LATEST.c.key, LATEST.c.value, LATEST.c.is_nan)
    return select(*columns, *said, *more).select_from(_joined())


def is_own(key: str) -> bool:
    """Whether people made this tag, rather than MLflow or this package."""
    return not key.startswith((TAG_PREFIX, "mlflow."))


def iso(milliseconds: int | None) -> str:
    """MLflow's time as ISO 8601 in UTC; "" for none, and for one that no calendar has."""
    if milliseconds is None:
        return ""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=timezone.utc).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return ""


def number(value: float, is_nan: bool | None) -> float:
    """A metric's value as it was logged."""
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= LARGEST else float(value)
