"""An act before it is done: its moves, the plan as the controller will see it, what callers get, the gate's verdict.

Called by `api.acts` and `views.deploy`; nothing is changed.
"""

from __future__ import annotations

from msgspec import Struct

from mlflow_hydraulic.intent import asked_words
from mlflow_hydraulic.moves import after_all
from mlflow_hydraulic.plan import Action
from mlflow_hydraulic.prospect import foresee
from mlflow_hydraulic.web.acts.acting import Act, lacking, registrar
from mlflow_hydraulic.web.ask import Ask


class Line(Struct, frozen=True, kw_only=True):
    """One line of the controller's plan as it would be. kind: create, update, delete, wait, hold. change: in words."""

    environment: str
    kind: str
    change: str
    reason: str


class Preview(Struct, frozen=True, kw_only=True):
    """What an act would do; nothing was done.

    before, after: what the registry asks for there. moves: what would be moved in it; none: it asks for that already.
    callers: what changes for them, in words. refused: why the gate would say no to this caller; it is asked again.
    reason_required: whether it is refused without a reason. digest: give it back with the act, and it is refused when
    somebody moved the model meanwhile. seen: when the environment was last looked at, ISO 8601, "" for never; blind:
    why it cannot be seen now.
    """

    model: str
    environment: str
    deployment: str
    before: str
    after: str
    moves: list[str]
    plan: list[Line]
    callers: list[str]
    allowed: bool
    refused: list[str]
    reason_required: bool
    digest: str
    seen: str
    blind: str


class Done(Struct, frozen=True, kw_only=True):
    """What an act did. moved: in the registry; none: it asked for that already. watch: the page that shows progress."""

    model: str
    environment: str
    deployment: str
    moved: list[str]
    watch: str


def preview(ask: Ask, act: Act) -> Preview:
    """What would come of `act`, done now by this caller."""
    where, environments = act.environment, ask.house.configuration.environments
    found = foresee(act.model, act.moves, environments, act.place, now=ask.now, about=where.name, rollback=act.rollback)
    bare = registrar(ask).judge(act.model, act.moves, ask.who, act.marked)
    given = registrar(ask).judge(act.model, act.moves, ask.who, act.marked + "given")
    missing = lacking(ask, act)
    refused = list(dict.fromkeys([*missing, *given.reasons] if act.moves else missing))
    look = act.place.looks.get(where.name)
    return Preview(
        model=act.model.name,
        environment=where.name,
        deployment=act.deployment,
        before=asked_words(act.model, where),
        after=asked_words(after_all(act.model, act.moves), where),
        moves=[str(move) for move in act.moves],
        plan=[line(action) for action in found.plan],
        callers=list(found.words),
        allowed=not refused,
        refused=refused,
        reason_required=act.needs_reason or len(bare.reasons) > len(given.reasons),
        digest=act.digest,
        seen=look.at.isoformat() if look and look.at else "",
        blind=look.blind if look else "",
    )


def line(action: Action) -> Line:
    """One action as the plan's table shows it."""
    after = str(action.wanted) if action.wanted else "" if action.kind == "delete" else action.before
    change = after if not action.before or after == action.before else f"{action.before} → {after or 'nothing'}"
    return Line(environment=action.environment, kind=action.kind, change=change, reason=action.reason)


def done(ask: Ask, act: Act) -> Done:
    """The answer after it was done."""
    return Done(
        model=act.model.name,
        environment=act.environment.name,
        deployment=act.deployment,
        moved=[str(move) for move in act.moves],
        watch=f"{ask.house.prefix}/hydraulic/deployments/{act.environment.name}/{act.deployment}",
    )
