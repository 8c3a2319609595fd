"""The ledger: filtered, exported, verified."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mlflow_hydraulic.errors import Refused
from mlflow_hydraulic.evidence.ledger import Row
from mlflow_hydraulic.evidence.queries import Asked
from mlflow_hydraulic.evidence.words import sentence
from mlflow_hydraulic.moments import read_time
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.events import rows, verified
from mlflow_hydraulic.web.events.ledger_file import jsonl, table
from mlflow_hydraulic.web.events.rows import Sought
from mlflow_hydraulic.web.events.verified import Verified
from mlflow_hydraulic.web.route import Sent, route

AREA = "events"
WORD = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00]*$")]
MOMENT = Annotated[
    str,
    Meta(max_length=64, description="ISO (UTC without a zone), a date, or how long ago: 3h, 2d.", examples=["2d"]),
]


class Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events; "" asks for any. since is inclusive, until exclusive."""

    model: WORD = ""
    actor: WORD = ""
    verb: WORD = ""
    environment: WORD = ""
    since: MOMENT = ""
    until: MOMENT = ""
    text: Annotated[WORD, Meta(description="Anywhere in the event: who, what, before, after, why.")] = ""


class WantedPage(Wanted, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events, and which page of them."""

    project: WORD = ""
    before: Annotated[int, Meta(ge=0, le=2**62, description="Only events below this number: `older` of a page.")] = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class EventRow(Struct, frozen=True, kw_only=True):
    """One row of the ledger. said: the same as a sentence. environment: several with a comma between."""

    seq: int
    at: str
    actor: str
    verb: str
    model: str
    subject: str
    environment: str
    said: str
    reason: str
    before: Any
    after: Any
    hash: str


class EventPage(Struct, frozen=True, kw_only=True):
    """Newest first. older: what `before` is on the next page; None on the last."""

    events: list[EventRow]
    older: int | None


@route("GET", "/events", right=None, area=AREA)
def list_events(ask: Ask, query: WantedPage) -> EventPage:
    """Who did what, when and why, and what then ran; newest first.

    Rows of projects and models that the caller may not see are left out.
    """
    return page(ask, query)


@route("GET", "/projects/{project}/events", right=Right.VIEW, area=AREA)
def list_project_events(ask: Ask, project: str, query: WantedPage) -> EventPage:
    """The events of a project and of the models that are or then were in it; newest first."""
    return page(ask, query, project)


@route("GET", "/events.jsonl", right=None, area=AREA, media="application/jsonl")
def export_events(ask: Ask, query: Wanted) -> Sent:
    """All events as JSON Lines, oldest first, with their hashes: `hydraulic ledger verify --file` reads it.

    For administrators, and where the server has no log-in.
    """
    return Sent(content=jsonl(rows.every(ask, _all(ask, query))), media="application/jsonl", filename="events.jsonl")


@route("GET", "/events.csv", right=None, area=AREA, media="text/csv")
def export_events_as_csv(ask: Ask, query: Wanted) -> Sent:
    """All events as CSV, oldest first; a cell that a spreadsheet would compute begins with an apostrophe.

    For administrators, and where the server has no log-in.
    """
    return Sent(content=table(rows.every(ask, _all(ask, query))), media="text/csv", filename="events.csv")


@route("GET", "/projects/{project}/events.jsonl", right=Right.AUDIT, area=AREA, media="application/jsonl")
def export_project_events(ask: Ask, project: str, query: Wanted) -> Sent:
    """The events of a project as JSON Lines, oldest first."""
    found = rows.every(ask, sought(ask, query, project))
    return Sent(content=jsonl(found), media="application/jsonl", filename=f"{project}-rows.jsonl")


@route("GET", "/projects/{project}/events.csv", right=Right.AUDIT, area=AREA, media="text/csv")
def export_project_events_as_csv(ask: Ask, project: str, query: Wanted) -> Sent:
    """The events of a project as CSV, oldest first.

    A cell that a spreadsheet would compute begins with an apostrophe.
    """
    found = rows.every(ask, sought(ask, query, project))
    return Sent(content=table(found), media="text/csv", filename=f"{project}-rows.csv")


@route("GET", "/events/verification", right=None, area=AREA)
def last_verification(ask: Ask) -> Verified | None:
    """What the last reading of the whole chain of hashes found; nothing where there was none of this ledger."""
    return verified.last(ask)


@route("POST", "/events/verification", right=None, area=AREA)
def verify_events(ask: Ask) -> Verified:
    """Read the whole chain of hashes and say every row that was changed, dropped, added or moved. Takes seconds."""
    return verified.anew(ask)


def page(ask: Ask, query: WantedPage, project: str = "") -> EventPage:
    """One page of what is asked for, newest first."""
    wanted = replace(sought(ask, query, project or query.project), before=query.before)
    found = rows.newest(ask, wanted, query.limit + 1)
    shown = found[: query.limit]
    return EventPage(events=[_event(row) for row in shown], older=shown[-1].seq if len(found) > len(shown) else None)


def sought(ask: Ask, query: Wanted, project: str = "") -> Sought:
    """The query's words as values; `BadInput` for a time that is none."""
    asked = Asked(
        workspace=ask.house.workspace,
        model=query.model,
        actor=query.actor,
        verb=query.verb,
        environment=query.environment,
        since=read_time(query.since, ask.now) if query.since else None,
        until=read_time(query.until, ask.now) if query.until else None,
    )
    return Sought(asked=asked, project=project, text=query.text)


def may_export_all(ask: Ask) -> bool:
    return ask.who.everywhere


def _all(ask: Ask, query: Wanted) -> Sought:
    if not may_export_all(ask):
        raise Refused(
            f"{ask.who.actor!r} is no administrator and may not export all events: export those of a project, "
            "which takes auditor or owner there"
        )
    return sought(ask, query)


def _event(row: Row) -> EventRow:
    return EventRow(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        verb=row.verb,
        model=row.model,
        subject=row.subject,
        environment=row.environment,
        said=_clean(sentence(row)),
        reason=row.reason,
        before=_value(row.before),
        after=_value(row.after),
        hash=row.hash,
    )


def _value(text: str) -> Any:  # Any: JSON
    """A row's JSON; its text where somebody wrote something else there."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which JSON in a row can hold and an answer cannot."""
    return text.encode("utf-8", "replace").decode()
