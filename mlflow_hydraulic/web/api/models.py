"""Models and their versions: the table, one version, its comments, tags, description, files and figures."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from mlflow_hydraulic.evidence.comments import LONGEST
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.catalogue import LONGEST_TEXT, Filter, History, Listing, Model, Sibling, Tag
from mlflow_hydraulic.web.models import comparison, report, version_facts
from mlflow_hydraulic.web.models.comparison import Compared, Pair
from mlflow_hydraulic.web.models.version_facts import Comment, Details, Files
from mlflow_hydraulic.web.route import Sent, route

AREA = "models"
KEY = Annotated[str, Meta(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f]+$")]
CLEAN = r"^[^\x00]*$"
IMAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # an SVG is drawn, and runs nothing


class NewComment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A comment of 1 to 4000 characters; it stays for ever."""

    text: Annotated[str, Meta(min_length=1, max_length=LONGEST, pattern=CLEAN)]


class NewTag(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tag of a version; a tag of that name gets the new value."""

    key: KEY
    value: Annotated[str, Meta(max_length=LONGEST_TEXT, pattern=CLEAN)]


class Description(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version is, in words."""

    description: Annotated[str, Meta(max_length=LONGEST_TEXT, pattern=CLEAN)]


class OneKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of a tag."""

    key: KEY


class OneMetric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of a metric; "" for those few that have more than one value."""

    key: Annotated[str, Meta(max_length=250)] = ""


class OnePath(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure's path among the run's artifacts."""

    path: Annotated[str, Meta(min_length=1, max_length=500)]


@route("GET", "/models", right=None, area=AREA)
def list_models(ask: Ask, query: Filter) -> Listing:
    """Model versions that the caller may see, filtered, sorted, a page at a time."""
    return version_facts.listing(ask, query)


@route("GET", "/models/{model}", right=Right.VIEW, area=AREA)
def get_model(ask: Ask, model: str) -> Model:
    """A registered model; its versions are in the list with model=."""
    return version_facts.catalogue(ask).model(model)


@route("GET", "/models/{model}/compare", right=Right.VIEW, area=AREA)
def compare_versions(ask: Ask, model: str, query: Pair) -> Compared:
    """Two versions side by side, of this model or of this and another."""
    return comparison.compare(ask, model, query)


@route("GET", "/models/{model}/versions/{version}", right=Right.VIEW, area=AREA)
def get_version(ask: Ask, model: str, version: str) -> Details:
    """A version with its run, its comments, and where it ran."""
    return version_facts.details(ask, model, version_facts.numbered(version, model))


@route("GET", "/models/{model}/versions/{version}/files", right=Right.VIEW, area=AREA)
def get_files(ask: Ask, model: str, version: str) -> Files:
    """What the artifacts of a version and its run say: signature, certificate, figures, histories of metrics."""
    number = version_facts.numbered(version, model)
    version_facts.catalogue(ask).version(model, number)
    return version_facts.files(ask, model, number)


@route("GET", "/models/{model}/versions/{version}/metrics", right=Right.VIEW, area=AREA)
def get_histories(ask: Ask, model: str, version: str, query: OneMetric) -> list[History]:
    """The values of a metric of the version's run in the order of their steps."""
    return version_facts.catalogue(ask).histories(model, version_facts.numbered(version, model), query.key)


@route("GET", "/models/{model}/versions/{version}/figure", right=Right.VIEW, area=AREA, media="image/*")
def get_figure(ask: Ask, model: str, version: str, query: OnePath) -> Sent:
    """An image among the run's artifacts."""
    content, media = version_facts.image(ask, model, version_facts.numbered(version, model), query.path)
    return Sent(content=content, media=media, policy=IMAGE_POLICY)


@route("GET", "/models/{model}/versions/{version}/report", right=Right.VIEW, area=AREA, media="text/html")
def get_report(ask: Ask, model: str, version: str) -> Sent:
    """All of a version in one HTML file that needs no server."""
    number = version_facts.numbered(version, model)
    return Sent(
        content=report.written(ask, model, number).encode(),
        media="text/html",
        filename=f"{model}-version-{number}.html",
        policy=f"{IMAGE_POLICY}; img-src data:",
    )


@route("GET", "/models/{model}/versions/{version}/siblings", right=Right.VIEW, area=AREA)
def list_siblings(ask: Ask, model: str, version: str) -> list[Sibling]:
    """Versions that came of the same run, or of the same data."""
    return version_facts.siblings(ask, model, version_facts.numbered(version, model))


@route("GET", "/models/{model}/versions/{version}/comments", right=Right.VIEW, area=AREA)
def list_comments(ask: Ask, model: str, version: str) -> list[Comment]:
    """Comments on a version, newest first."""
    number = version_facts.numbered(version, model)
    version_facts.catalogue(ask).version(model, number)
    return version_facts.comments(ask, model, number)


@route("POST", "/models/{model}/versions/{version}/comments", right=Right.COMMENT, area=AREA)
def add_comment(ask: Ask, model: str, version: str, body: NewComment) -> Comment:
    """Comment on a version; a row of the ledger that nobody changes."""
    return version_facts.add_comment(ask, model, version_facts.numbered(version, model), body.text)


@route("PUT", "/models/{model}/versions/{version}/tags", right=Right.TAG, area=AREA)
def set_tag(ask: Ask, model: str, version: str, body: NewTag) -> Tag:
    """Add a tag to a version, or change it."""
    number = version_facts.numbered(version, model)
    version_facts.catalogue(ask).version(model, number)
    version_facts.catalogue(ask).tag(model, number, body.key, body.value)
    return Tag(key=body.key, value=body.value)


@route("DELETE", "/models/{model}/versions/{version}/tags", right=Right.TAG, area=AREA)
def remove_tag(ask: Ask, model: str, version: str, query: OneKey) -> None:
    """Remove a tag of a version."""
    version_facts.catalogue(ask).untag(model, version_facts.numbered(version, model), query.key)


@route("PUT", "/models/{model}/versions/{version}/description", right=Right.TAG, area=AREA)
def describe_version(ask: Ask, model: str, version: str, body: Description) -> Description:
    """Change what a version is described as."""
    number = version_facts.numbered(version, model)
    version_facts.catalogue(ask).version(model, number)
    version_facts.catalogue(ask).describe(model, number, body.description)
    return body
