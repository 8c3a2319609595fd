"""The actions of one model in one pass: whether their time has come, doing them, remembering what failed.

Called by `reconcile`, for several models side by side.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import HydraulicError, NotFound, Untrusted
from mlflow_hydraulic.evidence import attempts, recorded
from mlflow_hydraulic.evidence.attempts import Attempt
from mlflow_hydraulic.evidence.ledger import CONTROLLER_ACTOR, Event, append
from mlflow_hydraulic.plan import CONTROLLER, MANAGED, MODEL_LABEL, SELECTED_BY, Action, Plan, Running, Wanted
from mlflow_hydraulic.registry import Registry, Version
from mlflow_hydraulic.world import Outcome, Sight, World

log = logging.getLogger("hydraulic.controller")


@dataclass(frozen=True, slots=True)
class Memory:
    """Failures by (environment, model), and the ledger's last word on each model: with a new word all are tried."""

    failures: Mapping[tuple[str, str], Attempt]
    words: Mapping[str, int]

    def of(self, action: Action) -> Attempt | None:
        return self.failures.get((action.environment, action.model))

    def key_of(self, action: Action) -> str:
        return attempts.fitting(f"{action.kind} {action.wanted} @{self.words.get(action.model, 0)}")


def remembered(world: World, plan: Plan, sight: Sight, busy: Collection[str]) -> Memory:
    """Read the memory of failures, and forget those of which the plan says nothing any more."""
    planned = {(action.environment, action.model) for action in plan.changes}
    with world.database.connect() as connection:
        failures = attempts.known(connection, world.workspace)
        models = sorted({model for _, model in planned})
        words = recorded.last_words(connection, world.workspace, models) if models else {}
    over = [key for key in failures if key not in planned and key[0] not in sight.blind and key[1] not in busy]
    if over:
        with world.database.begin() as connection:
            for key in over:
                attempts.forget(connection, world.workspace, *key)
    return Memory(failures, words)


@dataclass(frozen=True, slots=True)
class Job:
    """The actions of one model in one pass."""

    world: World
    registry: Registry
    sight: Sight
    memory: Memory
    actions: Sequence[Action]
    again: bool

    def run(self) -> list[Outcome]:
        outcomes = []
        for action in self.actions:
            if self.world.stopping():
                break
            outcomes.append(self._attempt(action))
        return outcomes

    def _attempt(self, action: Action) -> Outcome:
        before = self.memory.of(action)
        wanted = self.memory.key_of(action)
        if before and not self.again and before.bars(wanted, self.world.clock()):
            return Outcome(action=action, result="later", cause=before.cause, due=before.due)
        self.world.fence()
        try:
            apply_action(self.world, self.registry, self.sight.running, action)
        except SQLAlchemyError:  # the database is away: that is no failure of this model
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever one model does, the others go on
            return self._failed(action, before, wanted, error)
        if before:
            with self.world.database.begin() as connection:
                attempts.forget(connection, self.world.workspace, action.environment, action.model)
        return Outcome(action=action, result="done")

    def _failed(self, action: Action, before: Attempt | None, wanted: str, error: Exception) -> Outcome:
        if not isinstance(error, HydraulicError):
            log.error("%s %s: an unforeseen error", action.environment, action.model, exc_info=error)
        key, now = (action.environment, action.model), self.world.clock()
        attempt = attempts.failed(before, key=key, wanted=wanted, error=error, now=now)
        with self.world.database.begin() as connection:
            attempts.remember(connection, self.world.workspace, attempt)
            if before is None or (before.wanted, before.permanent) != (attempt.wanted, attempt.permanent):
                append(connection, [_failure(self.world.workspace, action, attempt)], now)
        return Outcome(action=action, result="failed", cause=attempt.cause, due=attempt.due)


def apply_action(world: World, registry: Registry, running: Sequence[Running], action: Action) -> None:
    """Do what one line of a plan says."""
    target = world.targets[action.environment]
    if action.wanted is None:
        target.delete(action.name)
        return
    model = registry.model(action.model)
    numbers = [*dict(action.wanted.arms), *([action.wanted.challenger] if action.wanted.challenger else [])]
    versions = {number: model.version(number) for number in numbers} if model else {}
    pins = {number: _pin(world, number, version, action.model) for number, version in versions.items()}
    environment = next(env for env in world.environments if env.name == action.environment)
    seen = next((one for one in running if (one.environment, one.model) == (action.environment, action.model)), None)
    world.fence()  # a fetch may have taken long
    target.apply(make_deployment(action, environment, pins, seen))


def _pin(world: World, number: int, version: Version | None, model: str) -> ModelVersion:
    """Pin by digest; a version whose artefact is not what it was the first time is never served."""
    if version is None:
        raise NotFound(f"version {number} of {model!r} was deleted after the plan was made: plan anew")
    pinned = world.registry.pin(version)
    with world.database.connect() as connection:
        first = recorded.last_said_of(connection, world.workspace, "pinned", version.uri)
    if first is None:
        event = Event(
            workspace=world.workspace,
            verb="pinned",
            subject=version.uri,
            actor=CONTROLLER_ACTOR,
            model=model,
            after=pinned.digest,
        )
        with world.database.begin() as connection:
            append(connection, [event], world.clock())
    elif first != pinned.digest:
        raise Untrusted(
            f"{version.uri} has digest {pinned.digest[:12]}, but it had {str(first)[:12]} when it was first pinned: "
            f"its artefact was changed after registration; register a new version"
        )
    return pinned


def make_deployment(
    action: Action, environment: Environment, pins: Mapping[int, ModelVersion], seen: Running | None
) -> Deployment:
    """The deployment that `action` asks for; what the registry does not speak of (replicas) stays as it runs."""
    wanted = action.wanted or Wanted(arms=())
    running = dict(seen.wanted.replicas) if seen else {}
    most = max(running.values(), default=1)
    replicas = {number: most for number, _ in wanted.arms} | running | dict(wanted.replicas)
    return Deployment(
        name=action.name,
        namespace=environment.namespace,
        predictors=tuple(
            Predictor(name=f"v{n}", model=pins[n], traffic=weight, replicas=replicas[n]) for n, weight in wanted.arms
        ),
        shadow=Predictor(name=f"v{wanted.challenger}", model=pins[wanted.challenger]) if wanted.challenger else None,
        labels={MANAGED: CONTROLLER, MODEL_LABEL: action.model, SELECTED_BY: action.selector},
    )


def _failure(workspace: str, action: Action, attempt: Attempt) -> Event:
    return Event(
        workspace=workspace,
        verb="failed",
        subject=f"{action.environment}/{action.name}",
        actor=CONTROLLER_ACTOR,
        model=action.model,
        environment=action.environment,
        before=action.before,
        after=str(action.wanted) if action.wanted else "",
        reason=f"{attempt.cause} ({'waits for a change' if attempt.permanent else 'will be tried again'})",
    )
