"""Deployments for reading: the table, one of them, its sample requests; trying one; its tags."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from mlflow_hydraulic.errors import Failed, Unavailable
from mlflow_hydraulic.evidence import deployment_tags, sight
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.acts import acting
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.deployments import by_hand, detail, listing, model_card, samples, trying
from mlflow_hydraulic.web.deployments.detail import Details
from mlflow_hydraulic.web.deployments.listing import Filter, Listing
from mlflow_hydraulic.web.deployments.model_card import Known
from mlflow_hydraulic.web.deployments.samples import Samples
from mlflow_hydraulic.web.deployments.trying import Tried, Try
from mlflow_hydraulic.web.deployments.ways import Way, ways
from mlflow_hydraulic.web.route import route

AREA = "deployments"
AT = "/deployments/{environment}/{deployment}"
CLEAN = r"^[^\x00-\x1f]*$"
ANSWERING = ("healthy", "unhealthy")


class DeploymentTag(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tag of a deployment; a tag of that key gets the new value."""

    key: Annotated[str, Meta(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f#/]+$")]
    value: Annotated[str, Meta(max_length=2000, pattern=CLEAN)]


class TagKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key of a tag."""

    key: Annotated[str, Meta(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f#/]+$")]


@route("GET", "/deployments", right=None, area=AREA)
def list_deployments(ask: Ask, query: Filter) -> Listing:
    """The deployments that you may see, as the controller saw them last."""
    return listing.listing(ask, query)


@route("GET", AT, right=Right.VIEW, area=AREA)
def get_deployment(ask: Ask, environment: str, deployment: str) -> Details:
    """One deployment: predictors, state with its cause, history, canary, tags."""
    return detail.details(ask, environment, deployment)


@route("GET", f"{AT}/samples", right=Right.VIEW, area=AREA)
def sample_requests(ask: Ask, environment: str, deployment: str) -> Samples:
    """A request with a real row in each of the four dialects, as curl and as Python."""
    known, found = _asked(ask, environment, deployment)
    return samples.samples_of(known.card, known.source, found)


@route("POST", f"{AT}/try", right=Right.COMMENT, area=AREA)
def try_deployment(ask: Ask, environment: str, deployment: str, body: Try) -> Tried:
    """Ask it for one prediction. It is recorded as every other request is."""
    known, found = _asked(ask, environment, deployment)
    way = next(found[one] for one in ("seldon", "v2", "mlflow") if not found[one].why_not)
    if way.inside:
        raise Unavailable(
            f"{way.url} is inside the cluster, where this server is not: set gateway_url in "
            f'[environments.{environment}.kubernetes], or use "mlflow deployments predict", which asks the API server'
        )
    return trying.tried(way, known, body.values)


@route("DELETE", AT, right=Right.PROMOTE, area=AREA)
def delete_deployment(ask: Ask, environment: str, deployment: str) -> None:
    """End a deployment, with a reason in the header X-Hydraulic-Reason: what the controller made by withdrawing its
    intent, what somebody made by hand at its target."""
    with ask.house.engine.connect() as connection:
        row = sight.find(connection, ask.house.workspace, environment, deployment)
    if row is not None and not row["managed"]:
        by_hand.end(ask, environment, deployment, ask.reason)
    else:
        model = access.model_of(ask, environment, deployment)
        acting.do(ask, acting.ending(ask, model, environment), ask.reason)


@route("POST", f"{AT}/tags", right=Right.TAG, area=AREA)
def tag_deployment(ask: Ask, environment: str, deployment: str, body: DeploymentTag) -> None:
    """Set a tag of a deployment."""
    _set_tag(ask, (environment, deployment), body.key, body.value)


@route("DELETE", f"{AT}/tags", right=Right.TAG, area=AREA)
def untag_deployment(ask: Ask, environment: str, deployment: str, query: TagKey) -> None:
    """Remove a tag of a deployment; nothing where there is none."""
    _set_tag(ask, (environment, deployment), query.key, None)


def _set_tag(ask: Ask, place: tuple[str, str], key: str, value: str | None) -> None:
    model = access.model_of(ask, *place)
    with ask.house.engine.begin() as connection:
        deployment_tags.set_tag(
            connection,
            ask.house.workspace,
            place,
            key=key,
            value=value,
            model=model,
            actor=ask.who.actor,
            reason=ask.reason,
            now=ask.now,
        )


def _asked(ask: Ask, environment: str, deployment: str) -> tuple[Known, dict[str, Way]]:
    """What it takes, and where; `Failed` (422) where it has no address yet."""
    said, endpoint, state = detail.said_of(ask, environment, deployment)
    if not endpoint or not said.predictors:
        raise Failed(f"{deployment!r} is {state} and has no address yet: look again when it is healthy")
    found = ways(ask.house, environment, deployment, said, endpoint)
    return model_card.known(ask.house, said, deployment), found
