"""What the routes and the pages of models share: versions, comments, files, and where a version ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from mlflow_hydraulic.errors import HydraulicError, NotFound, Unavailable
from mlflow_hydraulic.evidence import comments as ledger_comments
from mlflow_hydraulic.evidence.spans import spans
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.catalogue import (
    Card,
    Catalogue,
    Figure,
    Filter,
    History,
    Listing,
    Sibling,
    Version,
    media_of,
)

MOST_VERSIONS = 2**31 - 1
Value = TypeVar("Value")


class Comment(Struct, frozen=True, kw_only=True):
    """What somebody wrote about a version. at: ISO 8601 in UTC."""

    author: str
    at: str
    text: str


class Ran(Struct, frozen=True, kw_only=True):
    """A version ran there, by the ledger. until: "" where it still does. composition: "v2 90 % + v3 10 %"."""

    environment: str
    deployment: str
    role: str
    since: str
    until: str
    composition: str


class Details(Struct, frozen=True, kw_only=True):
    """A version with what people said of it and where it ran, newest first."""

    version: Version
    comments: list[Comment]
    ran: list[Ran]


class Files(Struct, frozen=True, kw_only=True):
    """What artifacts say. problems: why the card, figures or histories are not here, in a sentence each."""

    card: Card | None
    figures: list[Figure]
    histories: list[History]
    problems: list[str]


def catalogue(ask: Ask) -> Catalogue:
    """The house's catalogue."""
    if ask.house.catalogue is None:
        raise Unavailable("this server has no model registry: it was started with --artifacts-only")
    return ask.house.catalogue


def listing(ask: Ask, asked: Filter) -> Listing:
    """The page of the table that the caller may see."""
    return catalogue(ask).page(asked, ask.who, ask.house.accounts.readable(ask.who))


def numbered(version: str, model: str) -> int:
    """A version's number from a path."""
    if version.isascii() and version.isdecimal() and len(version) <= len(str(MOST_VERSIONS)):
        number = int(version)
        if 1 <= number <= MOST_VERSIONS:
            return number
    raise NotFound(f"version {version[:40]!r} of {model!r}: versions are numbers from 1")


def details(ask: Ask, model: str, number: int) -> Details:
    """All but what lies among the artifacts."""
    return Details(
        version=catalogue(ask).version(model, number),
        comments=comments(ask, model, number),
        ran=ran(ask, model, number),
    )


def comments(ask: Ask, model: str, number: int) -> list[Comment]:
    """Newest first."""
    with ask.house.engine.connect() as connection:
        found = ledger_comments.comments(connection, ask.house.workspace, model, number)
    return [Comment(author=row.actor, at=row.at, text=text) for row, text in reversed(found)]


def add_comment(ask: Ask, model: str, number: int, text: str) -> Comment:
    """Write it into the ledger; the version must be there."""
    catalogue(ask).version(model, number)
    with ask.house.engine.begin() as connection:
        row = ledger_comments.comment(
            connection, ask.house.workspace, model, number, actor=ask.who.actor, text=text, now=ask.now
        )
    return Comment(author=row.actor, at=row.at, text=text.strip())


def ran(ask: Ask, model: str, number: int) -> list[Ran]:
    """Where and when the version ran."""
    with ask.house.engine.connect() as connection:
        found = spans(connection, ask.house.workspace, model, number)
    return [
        Ran(
            environment=span.environment,
            deployment=span.deployment,
            role=span.role,
            since=span.since,
            until=span.until,
            composition=span.share,
        )
        for span in found
    ]


def siblings(ask: Ask, model: str, number: int) -> list[Sibling]:
    """Versions of the same run or the same data."""
    return catalogue(ask).siblings(model, number, ask.who, ask.house.accounts.readable(ask.who))


def files(ask: Ask, model: str, number: int) -> Files:
    """What the artifacts say; what is away takes nothing else with it."""
    known, problems = catalogue(ask), list[str]()
    return Files(
        card=_or_problem(lambda: known.card(model, number), problems, "signature and certificate"),
        figures=_or_problem(lambda: known.figures(model, number), problems, "figures") or [],
        histories=_or_problem(lambda: known.histories(model, number), problems, "metrics' histories") or [],
        problems=problems,
    )


def image(ask: Ask, model: str, number: int, path: str) -> tuple[bytes, str]:
    """The content and the type of one of the run's images; the type is of its name, never of what it holds."""
    content = catalogue(ask).image(model, number, path)
    return content, media_of(path)


def card(ask: Ask, model: str, number: int, problems: list[str]) -> Card | None:
    """The card, or one more of `problems`."""
    return _or_problem(lambda: catalogue(ask).card(model, number), problems, f"signature of {model} {number}")


def _or_problem(read: Callable[[], Value], problems: list[str], what: str) -> Value | None:
    try:
        return read()
    except HydraulicError as error:
        problems.append(f"{what}: {error}")
        return None


def require_view(ask: Ask, model: str) -> None:
    """For a second model in a request, which no path checks."""
    access.require(Right.VIEW, access.role_for(ask, model), f"model {model!r}", ask)


def rights_of(ask: Ask, model: str) -> frozenset[Right]:
    """What the page offers the caller; the routes check again."""
    role = access.role_for(ask, model)
    return role.rights if role else frozenset()
