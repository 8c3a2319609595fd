"""The ledger as pages: of all that one may see, and of one project."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

import msgspec

from mlflow_hydraulic.evidence.ledger import CONTROLLER_ACTOR
from mlflow_hydraulic.evidence.words import SENTENCES
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web.api.events import EventPage, WantedPage, may_export_all
from mlflow_hydraulic.web.api.events import page as page_of
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.events import rows, verified
from mlflow_hydraulic.web.page import page
from mlflow_hydraulic.web.views import projects

DEFAULT = 50
FILTERS = ("text", "project", "model", "actor", "verb", "environment", "since", "until")


class Looked(WantedPage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page's address. back: where the pages before this one began, "" on the first: "120,70"."""

    back: str = ""


@page("/events", right=None, template="events/events.html", area="events")
def events_page(ask: Ask, query: Looked) -> dict[str, object]:
    return {
        **_shown(ask, query, page_of(ask, query), "/events"),
        "projects": rows.my_projects(ask),
        "export": "/events" if may_export_all(ask) else "",
    }


@page("/projects/{project}/events", right=Right.VIEW, template="events/of_project.html", area="projects")
def project_events_page(ask: Ask, project: str, query: Looked) -> dict[str, object]:
    around = projects.frame(ask, project, "events")
    at = f"/projects/{quote(project, safe='')}/events"
    shown = _shown(ask, query, page_of(ask, query, project), at)
    return {**around, **shown, "projects": [], "export": at if "audit" in around["may"] else ""}


def _shown(ask: Ask, query: Looked, found: EventPage, at: str) -> dict[str, object]:
    asked = {name: getattr(query, name) for name in FILTERS if getattr(query, name)}
    return {
        "asked": {name: getattr(query, name) for name in FILTERS},
        "filtered": urlencode({name: value for name, value in asked.items() if name != "project"}),
        "narrowed": bool(asked),
        "events": found.events,
        "at": at,
        "pager": _pager(f"{ask.house.prefix}/hydraulic{at}", query, asked, found),
        "verbs": sorted(SENTENCES),
        "actors": [*ask.house.accounts.names(), CONTROLLER_ACTOR],
        "verified": verified.last(ask),
        "pretty": _pretty,
    }


def _pager(at: str, query: Looked, asked: dict[str, str], found: EventPage) -> dict[str, str]:
    """Pages go by the rows' numbers, so that what is written meanwhile moves nothing."""
    steps = [step for step in query.back.split(",") if step.isdigit()]
    here: Sequence[str] = [str(query.before)] if query.before else []
    kept = asked if query.limit == DEFAULT else {**asked, "limit": str(query.limit)}
    older = {**kept, "before": str(found.older), "back": ",".join([*steps, *here])}
    newer = {**kept, **({"before": steps[-1], "back": ",".join(steps[:-1])} if steps else {})}
    numbers = [event.seq for event in found.events]
    return {
        "text": f"Rows {numbers[0]} to {numbers[-1]} of the ledger" if len(numbers) > 1 else "",
        "previous": f"{at}?{urlencode(newer)}" if query.before else "",
        "next": f"{at}?{urlencode(older)}" if found.older else "",
    }


def _pretty(value: object) -> str:
    """A row's value as JSON that a person reads."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
