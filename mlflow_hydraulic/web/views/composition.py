"""The editor of a composition: one version, a champion with its challenger, or an A/B split, with a live preview.

The form asks for this page anew as one edits (`data-live`); without JavaScript its button does. Saving is a call of
`api.acts`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mlflow_hydraulic.bindings import Desired, resolve
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.intent import Share, Wish
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.plan import Wanted, wanted_of
from mlflow_hydraulic.registry import RegisteredModel, Version
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.acts import acting
from mlflow_hydraulic.web.acts.acting import Act
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.page import page
from mlflow_hydraulic.web.views.deploy import HERE, Confirm, Field, Shown, crumbs, send_to, shown, watch, wish_fields

Kind = Literal["single", "challenger", "split"]
KINDS: tuple[tuple[Kind, str], ...] = (
    ("single", "One version"),
    ("challenger", "Champion and challenger"),
    ("split", "A/B"),
)
ROWS = 4
MOST_OFFERED = 500
Number = Annotated[int, Meta(ge=1, le=2_147_483_647)] | None
Percent = Annotated[int, Meta(ge=0, le=1000)] | None
Replicas = Annotated[int, Meta(ge=0, le=1_000_000)] | None


class Edited(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the form says; type "" for what is asked for now. Shares in percent; replicas left out: as many as now."""

    type: Literal["", "single", "challenger", "split"] = ""
    version_1: Number = None
    version_2: Number = None
    version_3: Number = None
    version_4: Number = None
    share_1: Percent = None
    share_2: Percent = None
    share_3: Percent = None
    share_4: Percent = None
    replicas_1: Replicas = None
    replicas_2: Replicas = None
    replicas_3: Replicas = None
    replicas_4: Replicas = None
    challenger: Number = None


class Row(Struct, frozen=True, kw_only=True):
    """One line of the form: a version that answers."""

    number: int
    version: int | None = None
    share: int | None = None
    replicas: int | None = None


@page(HERE + "/edit", right=Right.VIEW, template="deploy/edit.html", area="deployments")
def edit_page(ask: Ask, environment: str, deployment: str, query: Edited) -> Shown:
    model = access.model_of(ask, environment, deployment)
    found, where, place = acting.scene(ask, model, environment)
    asked = resolve(found, where)
    seen = place.seen(found, where)
    now = wanted_of(asked) if isinstance(asked, Desired) else seen.wanted if seen else Wanted(arms=())
    kind, rows, challenger = _said(query) if query.type else _now(now)
    problem = "" if len(now.arms) <= ROWS else f"{len(now.arms)} versions share the callers: edit that by REST"

    def made() -> tuple[Act, tuple[Field, ...]]:
        if problem:
            raise BadInput(problem)
        wish = _wish(kind, rows, challenger)
        return acting.deploying(ask, model, where.name, wish), wish_fields(wish)

    confirm = shown(
        ask,
        made,
        lambda _: Confirm(
            title=f"{deployment} in {environment.upper()}",
            lead="",
            send=send_to(model, environment, "deploy"),
            button="Save and deploy",
            then=watch(ask, environment, deployment),
            back=watch(ask, environment, deployment),
            crumbs=crumbs(ask, environment, deployment, "Edit"),
        ),
    )
    return {
        **confirm,
        "kinds": KINDS,
        "kind": kind,
        "rows": rows,
        "challenger": challenger or "",
        "total": sum(row.share or 0 for row in rows if row.version),
        "offered": [(str(one.number), label(one)) for one in offered(found, now, rows)],
        "challengers": bool(where.challenger),
    }


def _now(now: Wanted) -> tuple[Kind, tuple[Row, ...], int | None]:
    """The form as it is filled at first: what is asked for now."""
    replicas = dict(now.replicas)
    rows = [
        Row(number=number, version=version, share=percent, replicas=replicas.get(version))
        for number, (version, percent) in enumerate(now.arms[:ROWS], start=1)
    ]
    rows += [Row(number=number) for number in range(len(rows) + 1, ROWS + 1)]
    kind: Kind = "split" if len(now.arms) > 1 else "challenger" if now.challenger is not None else "single"
    return kind, tuple(rows), now.challenger


def _said(query: Edited) -> tuple[Kind, tuple[Row, ...], int | None]:
    rows = tuple(
        Row(
            number=number,
            version=getattr(query, f"version_{number}"),
            share=getattr(query, f"share_{number}"),
            replicas=getattr(query, f"replicas_{number}"),
        )
        for number in range(1, ROWS + 1)
    )
    return query.type or "single", rows, query.challenger


def _wish(kind: Kind, rows: tuple[Row, ...], challenger: int | None) -> Wish:
    """What the form asks for; `BadInput` says which field is missing."""
    filled = [row for row in rows if row.version] if kind == "split" else list(rows[:1])
    if not filled or any(row.version is None for row in filled):
        raise BadInput("choose the version that is to answer")
    if kind == "split" and len(filled) < 2:
        raise BadInput("an A/B split has two versions at least: choose another one")
    if kind == "challenger" and challenger is None:
        raise BadInput("choose the version that is to challenge")
    shares = tuple(
        Share(version=row.version or 0, percent=100 if kind != "split" else row.share or 0, replicas=row.replicas)
        for row in filled
    )
    return Wish(shares=shares, challenger=challenger if kind == "challenger" else None)


def offered(model: RegisteredModel, now: Wanted, rows: tuple[Row, ...]) -> list[Version]:
    """The versions to choose from, newest first: at most MOST_OFFERED, and those that are there already."""
    there = {version for version, _ in now.arms} | {now.challenger} | {row.version for row in rows}
    newest = model.versions[::-1]
    return [version for at, version in enumerate(newest) if at < MOST_OFFERED or version.number in there]


def label(version: Version) -> str:
    """ "4, Staging, @champion"."""
    stage = [version.stage] if version.stage != "None" else []
    return ", ".join([str(version.number), *stage, *(f"@{alias}" for alias in version.aliases)])
