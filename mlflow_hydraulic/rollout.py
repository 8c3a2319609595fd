"""The canaries of one pass: what the ledger remembers, what targets count, what is decided, and writing it down.

Called by `reconcile` between seeing and acting. A row stands in the ledger before the target is changed, so that a
controller that is killed leaves no step that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from mlflow_hydraulic.bindings import Desired, Environment, Problem, resolve
from mlflow_hydraulic.canary.decide import decide
from mlflow_hydraulic.canary.look import Decision, Look
from mlflow_hydraulic.canary.memory import Memory
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import attempts, canaries, queries
from mlflow_hydraulic.evidence.ledger import append
from mlflow_hydraulic.plan import Action, Plan, Running
from mlflow_hydraulic.promotion import asked, successors
from mlflow_hydraulic.registry import RegisteredModel, Registry
from mlflow_hydraulic.rollback import begun
from mlflow_hydraulic.service_level import Counters
from mlflow_hydraulic.world import Sight, Sources, Target, World

Place = tuple[str, str]  # environment, model


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """What was decided by environment and model, and the memories that it was decided from."""

    decisions: Mapping[Place, Decision] = field(default_factory=dict)
    memories: Mapping[Place, Memory | None] = field(default_factory=dict)

    @property
    def facts(self) -> dict[Place, tuple[int, str]]:
        """The version that each is about, and what its page shows."""
        return {place: (one.version, one.fact) for place, one in self.decisions.items() if one.fact}


def concerned(plan: Plan, environments: Collection[Environment], busy: Collection[str] = ()) -> list[Action]:
    """The changes of `plan`, made as if there were no canaries, for which one is to be looked at."""
    stepping = {environment.name for environment in environments if environment.canary}
    return [action for action in plan.changes if action.environment in stepping and action.model not in busy]


def look_at(
    sources: Sources,
    database: Engine,
    registry: Registry,
    sight: Sight,
    plan: Plan,
    *,
    now: datetime,
    workspace: str = "default",
    busy: Collection[str] = (),
) -> Canaries:
    """Decide about every canary that `plan` (made without them) has a part in. Nothing is written."""
    environments = {environment.name: environment for environment in sources.environments}
    decisions: dict[Place, Decision] = {}
    memories: dict[Place, Memory | None] = {}
    for action in concerned(plan, sources.environments, busy):
        environment, model = environments[action.environment], registry.model(action.model)
        seen = sight.of(action)
        if model is None or taken_over(sources.environments, environment, model, seen):
            continue
        place = (environment.name, model.name)
        with database.connect() as connection:
            memory = canaries.remembered(connection, workspace, environment, model.name)
            reason = queries.last_reason(connection, model.name, environment.name, workspace)
            failure = _failure(connection, workspace, place, memory) if memory else ""
        rollback = begun(reason, environment.name)
        counts = memory is not None and memory.under_way and seen is not None
        counters = _counters(sources.targets[environment.name], action.name) if counts else None
        made = look_of(environment, model, seen, memory=memory, counters=counters, now=now, rollback=rollback)
        if made is not None:
            made = replace(made, failure=failure)
            decisions[place], memories[place] = decide(made), memory
    return Canaries(decisions=decisions, memories=memories)


def taken_over(
    environments: Sequence[Environment], environment: Environment, model: RegisteredModel, seen: Running | None
) -> bool:
    """Whether what serves went on to the next environment: then this one ends it, canary or not."""
    served = [number for number, _ in seen.wanted.arms] if seen else []
    above = successors(environment, environments)
    return resolve(model, environment) is None and any(asked(model, one, served) for one in above)


def look_of(
    environment: Environment,
    model: RegisteredModel,
    seen: Running | None,
    *,
    memory: Memory | None,
    counters: Mapping[str, Counters] | None,
    now: datetime,
    rollback: str,
) -> Look | None:
    """All that the decision looks at. `rollback`: what the last change of intent went back to, "" where it was none."""
    wish = resolve(model, environment)
    arms = wish.arms if isinstance(wish, Desired) else ()
    wanted = arms[0].version.number if len(arms) == 1 else None
    if environment.canary is None or isinstance(wish, Problem):
        return None
    return Look(
        rules=environment.canary,
        asked=wanted,
        split=len(arms) > 1,
        runs=seen.wanted.arms if seen else (),
        state=seen.state if seen else "not found",
        memory=memory,
        counters=counters,
        now=now,
        known=frozenset(version.number for version in model.versions),
        archived=frozenset(version.number for version in model.versions if version.stage == "Archived"),
        rollback=rollback.split(" ", maxsplit=1)[0] == f"v{wanted}",
    )


def _failure(connection: Connection, workspace: str, place: Place, memory: Memory) -> str:
    """Why the last try to give the callers what `memory` says failed; "" where it did not."""
    tried = attempts.known(connection, workspace).get(place)
    arms = [f"v{version} {share}%" for version, share in memory.arms]
    return tried.cause if tried is not None and all(arm in tried.wanted for arm in arms) else ""


def _counters(target: Target, name: str) -> Mapping[str, Counters] | None:
    """What the target counts; None where it cannot tell, which is no reason to stop anything else."""
    try:
        return target.service(name)
    except HydraulicError:
        return None


def write_down(world: World, found: Canaries) -> set[Place]:
    """Write the rows that the decisions ask for; gives those that somebody was quicker about: nothing of them holds."""
    notes = {place: one.note for place, one in found.decisions.items() if one.note}
    if not notes:
        return set()
    environments = {environment.name: environment for environment in world.environments}
    late: set[Place] = set()
    with world.writing() as connection:
        events = []
        for (name, model), note in notes.items():
            if _moved(connection, world, environments[name], model, found.memories[name, model]):
                late.add((name, model))
            else:
                events.append(canaries.event_of(note, world.workspace, environments[name], model))
        append(connection, events, world.clock())
    return late


def _moved(connection: Connection, world: World, environment: Environment, model: str, memory: Memory | None) -> bool:
    return canaries.remembered(connection, world.workspace, environment, model) != memory
