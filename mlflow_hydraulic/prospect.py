"""What moves in the registry would bring: the controller's plan as it would be, and in words what callers get.

For previews, in the pages and on the command line. Nothing is asked of the targets: what runs is what the controller
saw last (`evidence.sight`). The plan is made by the functions that the controller makes it with, canaries included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, RowMapping, or_, select

from mlflow_hydraulic import rollout
from mlflow_hydraulic.bindings import Desired, Environment, resolve
from mlflow_hydraulic.canary.decide import decide
from mlflow_hydraulic.canary.look import Decision
from mlflow_hydraulic.canary.memory import Memory, read_word
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor, deployment_name
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import canaries
from mlflow_hydraulic.evidence.sight import Look, looks, read_said
from mlflow_hydraulic.evidence.tables import sight
from mlflow_hydraulic.moves import Move, after_all
from mlflow_hydraulic.plan import (
    CONTROLLER,
    MANAGED,
    MODEL_LABEL,
    SELECTED_BY,
    WORKSPACE_LABEL,
    Action,
    Running,
    Wanted,
    make_plan,
    wanted_of,
)
from mlflow_hydraulic.registry import CANARY_TAG, RegisteredModel, Registry
from mlflow_hydraulic.world import Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One model in all environments, as it was seen and remembered last.

    running: what runs for it, or under its deployment's name. memories: its last canary, by environment. looks: when
    each environment was seen last.
    """

    running: tuple[Running, ...] = ()
    memories: Mapping[str, Memory | None] = field(default_factory=dict)
    looks: Mapping[str, Look] = field(default_factory=dict)

    def seen(self, model: RegisteredModel, environment: Environment) -> Running | None:
        """The controller's own deployment of `model` there."""
        mine = (one for one in self.running if one.environment == environment.name and one.model == model.name)
        return next((one for one in mine if one.managed and one.workspace == model.workspace), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What would be done about the model, environment by environment, and what it means to callers, in words."""

    plan: tuple[Action, ...]
    words: tuple[str, ...]


def place_of(connection: Connection, model: RegisteredModel, environments: Sequence[Environment]) -> Place:
    """What is on record of `model`; a row that cannot be read is as if nothing ran there."""
    called = deployment_name(model.name, model.workspace)
    mine = or_(sight.c.model == model.name, sight.c.deployment == called)
    rows = connection.execute(select(sight).where(sight.c.workspace == model.workspace, mine)).mappings().all()
    steps = [env for env in environments if env.canary]
    return Place(
        running=tuple(one for row in rows if (one := _running(row, model, environments)) is not None),
        memories={env.name: canaries.remembered(connection, model.workspace, env, model.name) for env in steps},
        looks=looks(connection, model.workspace),
    )


def _running(row: RowMapping, model: RegisteredModel, environments: Sequence[Environment]) -> Running | None:
    """What a row of `sight` tells; None where nothing runs there yet."""
    said = read_said(row["said"])
    parts = [
        (
            part.role,
            Predictor(
                name=part.name,
                model=ModelVersion(uri=part.uri, name=part.model, version=part.version, digest=part.digest),
                traffic=part.traffic,
                replicas=max(1, part.replicas),
            ),
        )
        for part in said.predictors
    ]
    asked = next((resolve(model, env) for env in environments if env.name == row["environment"]), None)
    labels = {MODEL_LABEL: row["model"], WORKSPACE_LABEL: model.workspace}
    labels |= {MANAGED: CONTROLLER} if row["managed"] else {}
    labels |= {SELECTED_BY: asked.selector} if isinstance(asked, Desired) else {}
    try:
        deployment = Deployment(
            name=row["deployment"],
            namespace=said.namespace or row["environment"],
            predictors=tuple(predictor for role, predictor in parts if role != "challenger"),
            shadow=next((predictor for role, predictor in parts if role == "challenger"), None),
            labels=labels,
        )
    except HydraulicError:  # tried, and nothing of it runs
        return None
    return Running(
        environment=row["environment"],
        deployment=deployment,
        state=row["state"],
        endpoint=row["endpoint"],
        cause=row["cause"],
        stale=said.stale,
    )


def foresee(
    model: RegisteredModel,
    moves: Sequence[Move],
    environments: Sequence[Environment],
    place: Place,
    *,
    now: datetime,
    about: str = "",
    rollback: Mapping[str, str] | None = None,
) -> Prospect:
    """What `moves` of `model` would bring. about: the environment that is told of first.

    rollback: what is gone back to, by environment: a rollback goes at once.
    """
    before = {action.environment: action for action in _plan(model, environments, place, now, {})}
    after = after_all(model, moves)
    heard = replace(place, memories={name: _heard(name, memory, moves) for name, memory in place.memories.items()})
    made = _plan(after, environments, heard, now, rollback or {})
    actions = {action.environment: action for action in made}
    words: list[str] = []
    for environment in sorted(environments, key=lambda one: one.name != about):
        action = actions.get(environment.name)
        if action is not None and action != before.get(environment.name):
            words += told(environment, place.seen(model, environment), action, _final(after, environment))
    return Prospect(plan=_first(made, about), words=tuple(words))


def _first(actions: Sequence[Action], about: str) -> tuple[Action, ...]:
    return tuple(sorted(actions, key=lambda action: action.environment != about))


def _plan(
    model: RegisteredModel,
    environments: Sequence[Environment],
    place: Place,
    now: datetime,
    rollback: Mapping[str, str],
) -> tuple[Action, ...]:
    registry = Registry((model,), (model.workspace,))
    bare = make_plan(registry, environments, place.running)
    decisions: dict[tuple[str, str], Decision] = {}
    for action in rollout.concerned(bare, environments):
        environment = next(env for env in environments if env.name == action.environment)
        seen = Sight(running=place.running).of(action)
        if action.model != model.name or rollout.taken_over(environments, environment, model, seen):
            continue
        look = rollout.look_of(
            environment,
            model,
            seen,
            memory=place.memories.get(environment.name),
            counters=None,
            now=now,
            rollback=rollback.get(environment.name, ""),
        )
        if look is not None:
            decisions[environment.name, model.name] = decide(look)
    return make_plan(registry, environments, place.running, canaries=decisions).actions


def _heard(environment: str, memory: Memory | None, moves: Iterable[Move]) -> Memory | None:
    """The memory once the ledger tells of `moves`: what is moved is asked for anew, and a word is heard."""
    if memory is None:
        return None
    for move in moves:
        said = read_word(move.after or "", environment) if (move.name, move.version) == (CANARY_TAG, memory.new) else ""
        memory = replace(memory, word=said, word_of="you") if said else memory
    moved = {move.version for move in moves if move.kind == "stage"}
    moved |= {int(move.after) for move in moves if move.kind == "alias" and move.after}
    return replace(memory, spoken=memory.spoken | moved)


def _final(model: RegisteredModel, environment: Environment) -> Wanted | None:
    wish = resolve(model, environment)
    return wanted_of(wish) if isinstance(wish, Desired) else None


def told(environment: Environment, seen: Running | None, action: Action, final: Wanted | None) -> list[str]:
    """What one line of the plan means to the callers of an environment. final: what the registry then asks for."""
    where, old = environment.name.upper(), seen.wanted if seen else None
    if action.kind == "delete":
        return [f"callers of {where} get no answers any more: its address goes away"]
    if action.kind == "wait" and final is None:
        return [f"{where} goes on serving {action.before} for now, then ends it: {action.reason}"]
    if action.kind in ("wait", "hold") or action.wanted is None:
        return [f"nothing changes for callers of {where} now: {action.reason}"]
    aim = final or action.wanted
    if old is None or action.kind == "create":
        said = [f"{where} gets an address, and its callers get answers of {who(aim)}"]
    elif old.arms != aim.arms:
        said = [f"callers of {where} get answers of {who(aim)} instead of {who(old)}; no request fails meanwhile"]
    else:
        said = [] if (old.challenger, old.replicas) != (aim.challenger, aim.replicas) else [f"{where}: {action.reason}"]
    if final is not None and action.wanted.arms != final.arms and environment.canary:
        said += _steps(environment, action.wanted, final)
    return [*said, *_challenger(where, old, aim), *_replicas(where, old, aim)]


def who(wanted: Wanted) -> str:
    """ "version 4", or "version 3 (80 %) and version 4 (20 %)"."""
    if len(wanted.arms) == 1:
        return f"version {wanted.arms[0][0]}"
    return " and ".join(f"version {version} ({percent} %)" for version, percent in wanted.arms)


def _steps(environment: Environment, first: Wanted, final: Wanted) -> list[str]:
    rules = environment.canary
    share = dict(first.arms).get(final.arms[0][0], 0)
    if rules is None or not share:
        return []
    later = ", ".join(f"{step} %" for step in rules.steps if step > share)
    return [
        f"{share} % of them first{f', then {later}' if later else ''}, then all: each step lasts {rules.hold_s:g} s "
        f"and {rules.min_requests} requests at least, and a breach of its rules {_breach(rules.on_breach)}"
    ]


def _breach(rule: str) -> str:
    return "takes it back" if rule == "roll back" else "halts it"


def _challenger(where: str, old: Wanted | None, new: Wanted) -> list[str]:
    before = old.challenger if old else None
    if before == new.challenger:
        return []
    said = [f"version {before} gets no copies of requests to {where} any more"] if before is not None else []
    if new.challenger is not None:
        said.append(f"version {new.challenger} gets a copy of every request to {where}; nobody gets its answers")
    return said


def _replicas(where: str, old: Wanted | None, new: Wanted) -> list[str]:
    there = dict(old.replicas) if old else {}
    return [
        f"version {version} runs {count} times in {where}" + (f" instead of {there[version]}" if old else "")
        for version, count in new.replicas
        if (version in there or old is None) and there.get(version, 1) != count
    ]
