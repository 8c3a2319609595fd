"""The pages of models: the table, a registered model, a version in four tabs, and two versions side by side."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta, Struct

from mlflow_hydraulic.people.rights import Right, Role
from mlflow_hydraulic.people.visible import roles_of
from mlflow_hydraulic.web.acts import judging
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.catalogue import Filter, Listing
from mlflow_hydraulic.web.models import comparison, metadata, version_facts
from mlflow_hydraulic.web.models.comparison import Pair
from mlflow_hydraulic.web.models.flat import told
from mlflow_hydraulic.web.models.sparkline import sparklines
from mlflow_hydraulic.web.page import page

AREA = "models"
COLUMNS = (
    ("model", "Model"),
    ("version", "Version"),
    ("project", "Project"),
    ("created", "Created"),
    ("score", "Score"),
    ("owner", "Owner"),
    ("environment", "Runs in"),
    ("stage", "Stage"),
    ("alias", "Aliases"),
)
DEFAULT = Filter()
Shown = dict[str, object]


class Find(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words that lines of the metadata must have."""

    find: Annotated[str, Meta(max_length=200)] = ""


@page("/models", right=None, template="models/list.html", area=AREA)
def models_page(ask: Ask, query: Filter) -> Shown:
    with ask.house.engine.connect() as connection:
        roles = roles_of(connection, ask.who, ask.house.workspace)
    return {
        **_table(ask, query, "models"),
        "asked": query,
        "projects": list(roles),
        "places": [(env.name, env.name.upper()) for env in ask.house.configuration.environments],
        "deployers": _deployers(roles),
    }


@page("/models/{model}", right=Right.VIEW, template="models/model.html", area=AREA)
def model_page(ask: Ask, model: str, query: Filter) -> Shown:
    asked = msgspec.structs.replace(query, model=model, versions="all", project="")
    found = version_facts.catalogue(ask).model(model)
    return {
        **_table(ask, asked, f"models/{quote(model, safe='')}"),
        "asked": asked,
        "model": found,
        "deployers": None if Right.DEPLOY in version_facts.rights_of(ask, model) else [],
    }


@page("/models/{model}/versions/{version}", right=Right.VIEW, template="models/version.html", area=AREA)
def version_page(ask: Ask, model: str, version: str) -> Shown:
    number = version_facts.numbered(version, model)
    return {
        **_version(ask, model, number, "overview"),
        "comments": version_facts.comments(ask, model, number),
        "ran": version_facts.ran(ask, model, number),
        "verdicts": judging.verdicts_of(ask, model, str(number)),
    }


@page("/models/{model}/versions/{version}/metadata", right=Right.VIEW, template="models/metadata.html", area=AREA)
def metadata_page(ask: Ask, model: str, version: str, query: Find) -> Shown:
    shown = _version(ask, model, version_facts.numbered(version, model), "metadata")
    problems = list[str]()
    card = version_facts.card(ask, model, version_facts.numbered(version, model), problems)
    lines = list(metadata.lines(shown["detail"], card))
    found = metadata.found(lines, query.find)
    return {
        **shown,
        "find": query.find,
        "lines": found[: metadata.MOST_SHOWN],
        "count": len(found),
        "total": len(lines),
        "longest": metadata.LONGEST_SHOWN,
        "problems": problems,
    }


@page("/models/{model}/versions/{version}/figures", right=Right.VIEW, template="models/figures.html", area=AREA)
def figures_page(ask: Ask, model: str, version: str) -> Shown:
    shown = _version(ask, model, version_facts.numbered(version, model), "figures")
    files = version_facts.files(ask, model, shown["line"].version)
    return {**shown, "files": files, "charts": sparklines(files.histories)}


@page("/models/{model}/versions/{version}/lineage", right=Right.VIEW, template="models/lineage.html", area=AREA)
def lineage_page(ask: Ask, model: str, version: str) -> Shown:
    shown = _version(ask, model, version_facts.numbered(version, model), "lineage")
    run = shown["detail"].run
    tags = {tag.key: tag.value for tag in run.tags} if run else {}
    number = shown["line"].version
    others = version_facts.siblings(ask, model, number)
    return {**shown, "ran": version_facts.ran(ask, model, number), "run_tags": tags, "siblings": others}


@page("/models/{model}/compare", right=Right.VIEW, template="models/compare.html", area=AREA)
def compare_page(ask: Ask, model: str, query: Pair) -> Shown:
    other = query.other or model
    if other != model:
        version_facts.require_view(ask, other)
    mine, theirs = (_numbers(ask, name) for name in (model, other))
    left, right = query.left or (mine[1] if len(mine) > 1 else mine[0]), query.right or theirs[0]
    pair = msgspec.structs.replace(query, left=left, right=right, other=other)
    return {
        "model": model,
        "pair": pair,
        "mine": [str(number) for number in mine],
        "theirs": [str(number) for number in theirs],
        "compared": comparison.compare(ask, model, pair),
        "told": told,
    }


def _table(ask: Ask, asked: Filter, path: str) -> dict[str, Any]:  # Any: values of a template
    """The listing with the links of its heads and of its pager."""
    listing = version_facts.listing(ask, asked)
    here = f"{ask.house.prefix}/hydraulic/{path}"
    return {
        "listing": listing,
        "heads": [_head(here, asked, *column) for column in COLUMNS],
        "pager": _pager(here, asked, listing),
        "told": told,
    }


def _head(here: str, asked: Filter, sort: str, label: str) -> tuple[str, str, str]:
    """Label, link, and the word for aria-sort."""
    mine = asked.sort == sort
    first = "desc" if sort in ("created", "score", "version") else "asc"
    order = ("asc" if asked.order == "desc" else "desc") if mine else first
    word = {"asc": "ascending", "desc": "descending"}[asked.order] if mine else "none"
    return label, _link(here, asked, sort=sort, order=order, page=1), word


def _link(here: str, asked: Filter, **changes: object) -> str:
    """The URL of the table otherwise filtered; what is as by default is left out, and so is the model of the path."""
    said = {**msgspec.structs.asdict(asked), **changes, "model": ""}
    kept = {name: value for name, value in said.items() if value != getattr(DEFAULT, name)}
    return f"{here}?{urlencode(kept)}" if kept else here


def _pager(here: str, asked: Filter, listing: Listing) -> Shown:
    first = (listing.page - 1) * listing.size
    last = first + len(listing.items)
    what = f"{first + 1} to {last} of {listing.total}" if listing.items else f"0 of {listing.total}"
    return {
        "text": f"{what} version{'' if listing.total == 1 else 's'}",
        "previous": _link(here, asked, page=min(listing.page - 1, listing.pages)) if listing.page > 1 else "",
        "next": _link(here, asked, page=listing.page + 1) if last < listing.total and listing.items else "",
    }


def _deployers(roles: dict[str, Role]) -> list[str]:
    """Projects whose models the caller may deploy somewhere."""
    return [name for name, role in roles.items() if Right.DEPLOY in role.rights]


def _version(ask: Ask, model: str, number: int, tab: str) -> dict[str, Any]:  # Any: values of a template
    """What the frame of all tabs shows."""
    version = version_facts.catalogue(ask).version(model, number)
    here = f"{ask.house.prefix}/hydraulic/models/{quote(model, safe='')}/versions/{number}"
    rights = version_facts.rights_of(ask, model)
    tabs = ("overview", "metadata", "figures", "lineage")
    return {
        "detail": version,
        "line": version.line,
        "here": here,
        "tab": tab,
        "tabs": [(one, one.capitalize(), here if one == "overview" else f"{here}/{one}") for one in tabs],
        "may": {right.name: right in rights for right in (Right.DEPLOY, Right.TAG, Right.COMMENT, Right.VALIDATE)},
        "told": told,
    }


def _numbers(ask: Ask, model: str) -> list[int]:
    """Versions of a model, newest first; `NotFound` where there is none."""
    asked = Filter(model=model, versions="all", sort="version", order="desc", size=200)
    found = [line.version for line in version_facts.listing(ask, asked).items]
    return found or [version_facts.catalogue(ask).version(model, 1).line.version]
