"""Deploy, end, roll back and canary words: each shown before it is done, and done with a reason.

All of them move the registry of models and nothing else. What the caller may do is judged by their role and by the
registry's gate, whose reasons come back with a refusal; a refusal is on record. A preview takes the body of its act,
and that of an end none.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mlflow_hydraulic.intent import MOST_ARMS, Share, Wish
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web.acts import acting
from mlflow_hydraulic.web.acts.acting import Act
from mlflow_hydraulic.web.acts.preview import Done, Preview, done, preview
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.route import route

AREA = "acts"
AT = "/models/{model}/environments/{environment}"
Number = Annotated[int, Meta(ge=1, le=2_147_483_647)]
Reason = Annotated[str, Meta(max_length=2000)]
Digest = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$", max_length=64)]


class Arm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version that answers. share: of the callers, in percent. replicas: left out for as many as now."""

    version: Number
    share: Annotated[int, Meta(ge=1, le=100)] = 100
    replicas: Annotated[int, Meta(ge=1, le=100)] | None = None


class Said(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, and the digest of the preview that was looked at; "" to do it whatever was moved since."""

    reason: Reason = ""
    digest: Digest = ""


class Deploy(Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to run: one arm, or several whose shares add up to 100; challenger: a version that gets a copy."""

    arms: Annotated[list[Arm], Meta(min_length=1, max_length=MOST_ARMS)]
    challenger: Number | None = None


class Return(Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """to: the version that is to answer again; left out: what ran before what the registry asks for now.

    what: instead of it, exactly what is to run again, in the words of the deployment's past: "v1 80%/v3 20%".
    """

    to: Number | None = None
    what: Annotated[str, Meta(max_length=500)] = ""


class Speak(Said, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """promote: all callers at once. abort: back to who served before. retry: again, from the first step or its own."""

    word: Literal["promote", "abort", "retry"]


@route("POST", AT + "/deploy/preview", right=Right.VIEW, area=AREA)
def preview_deploy(ask: Ask, model: str, environment: str, body: Deploy) -> Preview:
    """What deploying a composition would do."""
    return preview(ask, acting.deploying(ask, model, environment, wish_of(body)))


@route("POST", AT + "/deploy", right=Right.VIEW, area=AREA)
def deploy(ask: Ask, model: str, environment: str, body: Deploy) -> Done:
    """Deploy a composition: a champion, a champion and its challenger, or an A/B split; replicas too."""
    return _do(ask, acting.deploying(ask, model, environment, wish_of(body)), body.reason, body.digest)


@route("POST", AT + "/end/preview", right=Right.VIEW, area=AREA)
def preview_end(ask: Ask, model: str, environment: str) -> Preview:
    """What ending the deployment would do."""
    return preview(ask, acting.ending(ask, model, environment))


@route("POST", AT + "/end", right=Right.VIEW, area=AREA)
def end(ask: Ask, model: str, environment: str, body: Said) -> Done:
    """End the deployment of a model in an environment."""
    return _do(ask, acting.ending(ask, model, environment), body.reason, body.digest)


@route("POST", AT + "/rollback/preview", right=Right.VIEW, area=AREA)
def preview_rollback(ask: Ask, model: str, environment: str, body: Return) -> Preview:
    """What rolling back would do."""
    return preview(ask, acting.returning(ask, model, environment, body.to, body.what))


@route("POST", AT + "/rollback", right=Right.VIEW, area=AREA)
def rollback(ask: Ask, model: str, environment: str, body: Return) -> Done:
    """Go back to what ran before, or to a version that did."""
    return _do(ask, acting.returning(ask, model, environment, body.to, body.what), body.reason, body.digest)


@route("POST", AT + "/canary/preview", right=Right.VIEW, area=AREA)
def preview_canary(ask: Ask, model: str, environment: str, body: Speak) -> Preview:
    """What a word about the canary would do."""
    return preview(ask, acting.saying(ask, model, environment, body.word))


@route("POST", AT + "/canary", right=Right.VIEW, area=AREA)
def canary(ask: Ask, model: str, environment: str, body: Speak) -> Done:
    """Promote, abort or retry the canary of a new champion."""
    return _do(ask, acting.saying(ask, model, environment, body.word), body.reason, body.digest)


def wish_of(body: Deploy) -> Wish:
    """The composition as a wish; `BadInput` where it is none."""
    shares = tuple(Share(version=arm.version, percent=arm.share, replicas=arm.replicas) for arm in body.arms)
    return Wish(shares=shares, challenger=body.challenger)


def _do(ask: Ask, act: Act, reason: str, digest: str) -> Done:
    acting.do(ask, act, reason, digest)
    return done(ask, act)
