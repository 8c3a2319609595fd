"""Pages that show an act before it is confirmed: deploy, end, roll back, a word about a canary.

`deploy.js` opens them as dialogs where it can; without it they are pages. What is confirmed is sent to `api.acts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from mlflow_hydraulic.bindings import Desired, resolve
from mlflow_hydraulic.canary.word import WORDS, becomes, fits
from mlflow_hydraulic.errors import BadInput, HydraulicError, NotFound
from mlflow_hydraulic.evidence import sight
from mlflow_hydraulic.intent import Share, Wish
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.registry import RegisteredModel
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.acts import acting
from mlflow_hydraulic.web.acts.acting import Act
from mlflow_hydraulic.web.acts.preview import Preview, preview
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.page import page

TEMPLATE = "deploy/confirm.html"
HERE = "/deployments/{environment}/{deployment}"
Shown = dict[str, object]
Field = tuple[str, object, str]  # name, value, how app.js converts it
Number = Annotated[int, Meta(ge=1, le=2_147_483_647)]


class Where(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """role: champion answers alone; challenger gets a copy of what the champion is asked."""

    environment: Annotated[str, Meta(min_length=1, max_length=64)]
    role: Literal["champion", "challenger"] = "champion"


class Back(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """to: the version that is to answer again. what: exactly what is to run again, in the words of the past."""

    to: Number | None = None
    what: Annotated[str, Meta(max_length=500)] = ""


class Chosen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The word that is to be said."""

    word: Literal["", "promote", "abort", "retry"] = ""


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """One dialog. send: the call of the API. fields: what goes with it. then: the page after it."""

    title: str
    lead: str
    send: str
    button: str
    then: str
    back: str
    kind: str = "primary"
    fields: tuple[Field, ...] = ()
    crumbs: tuple[tuple[str, str], ...] = field(default=())


@page("/models/{model}/versions/{version}/deploy", right=Right.VIEW, template=TEMPLATE, area="models")
def deploy_page(ask: Ask, model: str, version: str, query: Where) -> Shown:
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
    found = acting.registrar(ask).model(model)
    if found.version(number) is None:
        raise NotFound(f"{model!r} has no version {version!r}")
    where = acting.environment_named(ask, query.environment)
    here = f"{base(ask)}/models/{quote(model, safe='')}/versions/{number}"

    def made() -> tuple[Act, tuple[Field, ...]]:
        wish = _wish(found, ask, query, number)
        return acting.deploying(ask, model, where.name, wish), wish_fields(wish)

    what = f"{model} {number}"
    challenger = query.role == "challenger"
    return shown(
        ask,
        made,
        lambda act: Confirm(
            title=f"{what} as challenger in {where.name.upper()}" if challenger else f"{what} to {where.name.upper()}",
            lead="",
            send=send_to(model, where.name, "deploy"),
            button=f"Deploy to {where.name.upper()}",
            then=watch(ask, where.name, act.deployment) if act else here,
            back=here,
            crumbs=(("Models", f"{base(ask)}/models"), (what, here), ("Deploy", "")),
        ),
    )


@page(HERE + "/delete", right=Right.VIEW, template=TEMPLATE, area="deployments")
def delete_page(ask: Ask, environment: str, deployment: str) -> Shown:
    model = access.model_of(ask, environment, deployment)
    with ask.house.engine.connect() as connection:
        row = sight.find(connection, ask.house.workspace, environment, deployment)
    by_hand = row is not None and not row["managed"]

    def made() -> tuple[Act, tuple[Field, ...]] | None:
        return None if by_hand else (acting.ending(ask, model, environment), ())

    ours = send_to(model, environment, "end")
    hand = f"DELETE /deployments/{quote(environment, safe='')}/{quote(deployment, safe='')}"
    return shown(
        ask,
        made,
        lambda _: Confirm(
            title=f"Delete {deployment} in {environment.upper()}",
            lead="It was made by hand: it ends at once, and only this deployment." if by_hand else "",
            send=hand if by_hand else ours,
            button="Delete",
            kind="danger",
            then=f"{base(ask)}/deployments",
            back=watch(ask, environment, deployment),
            crumbs=crumbs(ask, environment, deployment, "Delete"),
        ),
        needs_reason=True,
    )


@page(HERE + "/rollback", right=Right.VIEW, template=TEMPLATE, area="deployments")
def rollback_page(ask: Ask, environment: str, deployment: str, query: Back) -> Shown:
    model = access.model_of(ask, environment, deployment)

    def made() -> tuple[Act, tuple[Field, ...]]:
        act = acting.returning(ask, model, environment, query.to, query.what)
        return act, (("to", query.to or "", "number"), ("what", query.what, ""))

    return shown(
        ask,
        made,
        lambda act: Confirm(
            title=f"Roll {deployment} in {environment.upper()} back",
            lead=f"Back to {act.target}, which ran healthily before." if act else "",
            send=send_to(model, environment, "rollback"),
            button="Roll back",
            then=watch(ask, environment, deployment),
            back=watch(ask, environment, deployment),
            crumbs=crumbs(ask, environment, deployment, "Roll back"),
        ),
        needs_reason=True,
    )


@page(HERE + "/canary", right=Right.VIEW, template="deploy/canary.html", area="deployments")
def canary_page(ask: Ask, environment: str, deployment: str, query: Chosen) -> Shown:
    model = access.model_of(ask, environment, deployment)
    found, where, place = acting.scene(ask, model, environment)
    memory = place.memories.get(where.name)
    words = [word for word in WORDS if fits(word, memory)]
    chosen = query.word

    def made() -> tuple[Act, tuple[Field, ...]] | None:
        if not chosen:
            return None
        return acting.saying(ask, found.name, where.name, chosen), (("word", chosen, ""),)

    confirm = shown(
        ask,
        made,
        lambda _: Confirm(
            title=f"Canary of {deployment} in {environment.upper()}",
            lead="",
            send=send_to(model, environment, "canary"),
            button=chosen.capitalize() or "Say it",
            kind="danger" if chosen == "abort" else "primary",
            then=watch(ask, environment, deployment),
            back=watch(ask, environment, deployment),
            crumbs=crumbs(ask, environment, deployment, "Canary"),
        ),
        needs_reason=True,
    )
    return {
        **confirm,
        "memory": memory,
        "chosen": chosen,
        "words": [(word, becomes(word, memory)) for word in words if memory],
    }


def shown(
    ask: Ask,
    made: Callable[[], tuple[Act, tuple[Field, ...]] | None],
    confirm: Callable[[Act | None], Confirm],
    *,
    needs_reason: bool = False,
) -> Shown:
    """The page of an act, or of the words that say why there can be none."""
    act: Act | None = None
    fields: tuple[Field, ...] = ()
    seen: Preview | None = None
    problem = ""
    try:
        if (both := made()) is not None:
            act, fields = both
            seen = preview(ask, act)
    except HydraulicError as error:
        problem = str(error)
    return {
        "ask": confirm(act),
        "fields": (*fields, *((("digest", seen.digest, ""),) if seen else ())),
        "seen": seen,
        "problem": problem,
        "needs_reason": needs_reason or bool(seen and seen.reason_required),
    }


def _wish(model: RegisteredModel, ask: Ask, query: Where, number: int) -> Wish:
    """The version alone with the challenger that is there, or as the challenger of what is asked for there."""
    where = acting.environment_named(ask, query.environment)
    asked = resolve(model, where)
    if query.role == "champion":
        there = asked.challenger.number if isinstance(asked, Desired) and asked.challenger else None
        return Wish(shares=(Share(version=number),), challenger=None if there == number else there)
    if not isinstance(asked, Desired):
        raise BadInput(f"{where.name} is asked to run nothing that version {number} could challenge: deploy one first")
    shares = tuple(Share(version=arm.version.number, percent=arm.weight) for arm in asked.arms)
    return Wish(shares=shares, challenger=number)


def wish_fields(wish: Wish) -> tuple[Field, ...]:
    """A wish as the fields of the API's body; the template writes JSON."""
    arms = [
        {"version": one.version, "share": one.percent, **({"replicas": one.replicas} if one.replicas else {})}
        for one in wish.shares
    ]
    challenger: Field = ("challenger", wish.challenger or "", "number")
    return (("arms", arms, "json"), challenger)


def base(ask: Ask) -> str:
    return f"{ask.house.prefix}/hydraulic"


def watch(ask: Ask, environment: str, deployment: str) -> str:
    """The page of a deployment."""
    return f"{base(ask)}/deployments/{quote(environment, safe='')}/{quote(deployment, safe='')}"


def send_to(model: str, environment: str, act: str) -> str:
    """The call of the API that does it."""
    return f"POST /models/{quote(model, safe='')}/environments/{quote(environment, safe='')}/{act}"


def crumbs(ask: Ask, environment: str, deployment: str, last: str) -> tuple[tuple[str, str], ...]:
    here = watch(ask, environment, deployment)
    return (
        ("Deployments", f"{base(ask)}/deployments"),
        (f"{deployment} in {environment.upper()}", here),
        (last, ""),
    )
