"""Rows of the ledger that somebody may see: filtered, newest first, in pages by seq; and all of them, for export.

A row about a project is its members'. One about a model is for whoever may see that very model now, or was about it
while it was in their project. All others, also those of deleted models, are for administrators. Called by the API and
the pages of events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, exists, false, literal, or_, select

from mlflow_hydraulic.evidence.ledger import Row
from mlflow_hydraulic.evidence.queries import Asked, conditions
from mlflow_hydraulic.evidence.tables import ledger, members, projects
from mlflow_hydraulic.people.members import MODEL_TAGS, MODELS, PROJECT_TAG
from mlflow_hydraulic.people.takes import JOINS
from mlflow_hydraulic.people.visible import visible
from mlflow_hydraulic.web.ask import Ask

PAGE = 1000  # rows in memory while all are read
SUBJECT = "projects:/"
JOINED = '{"what":"joined"}'
MOST_STAYS = 400  # the newest: databases limit how deep a condition may be
ENDS = ("delete model", "rename model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What is asked for beside `asked`. project: "" for all. text: anywhere in the row. before: only rows below it."""

    asked: Asked
    project: str = ""
    text: str = ""
    before: int = 0


@dataclass(frozen=True, slots=True)
class Stay:
    """A model was in a project from row `first` until row `last`."""

    model: str
    first: int
    last: int


def newest(ask: Ask, sought: Sought, most: int) -> list[Row]:
    """At most `most` rows that fit and that the caller may see, newest first."""
    with ask.house.engine.connect() as connection:
        query = select(ledger).where(*_conditions(ask, connection, sought)).order_by(ledger.c.seq.desc()).limit(most)
        return [Row(**found) for found in connection.execute(query).mappings()]


def every(ask: Ask, sought: Sought) -> Iterator[Sequence[Row]]:
    """All rows that fit, oldest first, a page at a time; no transaction stays open while a page is sent."""
    with ask.house.engine.connect() as connection:
        wanted = _conditions(ask, connection, sought)
    last: int | None = None
    while True:
        further = [] if last is None else [ledger.c.seq > last]
        query = select(ledger).where(*wanted, *further).order_by(ledger.c.seq).limit(PAGE)
        with ask.house.engine.connect() as connection:
            found = [Row(**row) for row in connection.execute(query).mappings()]
        if not found:
            return
        yield found
        last = found[-1].seq


def my_projects(ask: Ask) -> list[str]:
    """The names of the projects whose events the caller may ask for, sorted."""
    with ask.house.engine.connect() as connection:
        return sorted(_projects(ask, connection))


def _conditions(ask: Ask, connection: Connection, sought: Sought) -> list[ColumnElement[bool]]:
    found = conditions(sought.asked)
    if sought.before:
        found.append(ledger.c.seq < sought.before)
    if sought.text:
        columns = ("actor", "verb", "model", "subject", "reason", "before", "after")
        found.append(or_(*(ledger.c[column].icontains(sought.text, autoescape=True) for column in columns)))
    mine = _projects(ask, connection)
    if sought.project:
        found.append(_about(ask, connection, {name: at for name, at in mine.items() if name == sought.project}))
    if not ask.who.everywhere:
        of_models = and_(ledger.c.model != "", ledger.c.subject.not_like(f"{SUBJECT}%"), _model(ask))
        found.append(or_(of_models, _said_of(mine), _during(_stays(connection, ask, mine))))
    return found


def _projects(ask: Ask, connection: Connection) -> dict[str, str]:
    """The caller's projects, with when each was made: rows of a namesake before it are not its own."""
    query = select(projects.c.name, projects.c.created).where(projects.c.workspace == ask.house.workspace)
    if not ask.who.everywhere:
        query = query.join(members, members.c.project == projects.c.id).where(members.c.user == ask.who.name)
    return {found.name: found.created for found in connection.execute(query)}


def _model(ask: Ask) -> ColumnElement[bool]:
    """About a model that is there now and that the caller may see: a name that was deleted is in no project any more,
    and what was said of its bearer is not for whoever takes it."""
    workspace, later = ask.house.workspace, ledger.alias("later")
    there = ledger.c.model.in_(select(MODELS.c.name).where(MODELS.c.workspace == workspace))
    ended = exists().where(
        later.c.verb.in_(ENDS),
        later.c.workspace == workspace,
        later.c.subject == literal("models:/") + ledger.c.model,
        later.c.seq >= ledger.c.seq,
    )
    return and_(there, ~ended, visible(ask.who, ask.house.accounts.readable(ask.who), workspace, ledger.c.model))


def _about(ask: Ask, connection: Connection, some: dict[str, str]) -> ColumnElement[bool]:
    """Rows about these projects, and about the models in them now or when the row was written."""
    if not some:
        return false()
    tagged = select(MODEL_TAGS.c.name).where(
        MODEL_TAGS.c.workspace == ask.house.workspace,
        MODEL_TAGS.c.key == PROJECT_TAG,
        MODEL_TAGS.c.value.in_(sorted(some)),
    )
    now_in = and_(ledger.c.model.in_(tagged), ledger.c.subject.not_like(f"{SUBJECT}%"))
    return or_(_said_of(some), now_in, _during(_stays(connection, ask, some)))


def _said_of(some: dict[str, str]) -> ColumnElement[bool]:
    """Rows whose subject is one of these projects, since it was made."""
    if len(some) > MOST_STAYS:
        return ledger.c.subject.in_([SUBJECT + name for name in some])
    return or_(
        false(), *(and_(ledger.c.subject == SUBJECT + name, ledger.c.at >= created) for name, created in some.items())
    )


def _during(stays: Sequence[Stay]) -> ColumnElement[bool]:
    if not stays:
        return false()
    within = (and_(ledger.c.model == one.model, ledger.c.seq.between(one.first, one.last)) for one in stays)
    return and_(
        ledger.c.model.in_({one.model for one in stays}), ledger.c.subject.not_like(f"{SUBJECT}%"), or_(*within)
    )


def _stays(connection: Connection, ask: Ask, some: dict[str, str]) -> list[Stay]:
    """When models were in these projects, as the ledger tells it, of those that left: the newest `MOST_STAYS`.

    A stay ends with the row that says so, or with the model's name.
    """
    subjects = {SUBJECT + name: created for name, created in some.items()}
    moves = and_(ledger.c.verb == JOINS, ledger.c.subject.in_(sorted(subjects)), ledger.c.model != "")
    query = select(ledger.c.seq, ledger.c.at, ledger.c.verb, ledger.c.model, ledger.c.subject, ledger.c.after)
    query = query.where(ledger.c.workspace == ask.house.workspace, or_(moves, ledger.c.verb.in_(ENDS)))
    begun: dict[tuple[str, str], int] = {}
    found: list[Stay] = []
    for seq, at, verb, model, subject, after in connection.execute(query.order_by(ledger.c.seq)):
        if verb in ENDS:
            over = [key for key in begun if key[1] == model]
        elif at < subjects[subject]:
            continue
        elif after == JOINED:
            begun.setdefault((subject, model), seq)
            continue
        else:
            over = [(subject, model)] if (subject, model) in begun else []
        found += [Stay(model, begun.pop(key), seq) for key in over]
    return sorted(found, key=lambda stay: stay.last)[-MOST_STAYS:]
