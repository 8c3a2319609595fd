"""The actions of one model in one pass: whether their time has come, doing them, remembering what failed.

Called by `reconcile`, for several models side by side.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import HydraulicError, NotFound, Untrusted
from mlflow_hydraulic.evidence import attempts, recorded
from mlflow_hydraulic.evidence.attempts import Attempt
from mlflow_hydraulic.evidence.ledger import CONTROLLER_ACTOR, Event, append
from mlflow_hydraulic.plan import (
    CONTROLLER,
    MANAGED,
    MODEL_LABEL,
    SELECTED_BY,
    WORKSPACE_LABEL,
    Action,
    Plan,
    Running,
    Wanted,
)
from mlflow_hydraulic.registry import Registry, Version
from mlflow_hydraulic.world import Fenced, Outcome, Sight, World

log = logging.getLogger("hydraulic.controller")


@dataclass(frozen=True, slots=True)
class Memory:
    """Failures by (environment, model), and the ledger's last word on each model: with a new word all are tried.

    options: by environment, what is configured for its target beside the models; with other options all are tried too.
    """

    failures: Mapping[tuple[str, str], Attempt]
    words: Mapping[str, int]
    options: Mapping[str, str] = field(default_factory=dict)

    def of(self, action: Action) -> Attempt | None:
        return self.failures.get((action.environment, action.model))

    def key_of(self, action: Action) -> str:
        options = self.options.get(action.environment, "")
        return attempts.fitting(f"{action.kind} {action.wanted} @{self.words.get(action.model, 0)} {options}".rstrip())


def remembered(world: World, plan: Plan, sight: Sight, busy: Collection[str]) -> Memory:
    """Read the memory of failures, and forget those of which the plan says nothing any more."""
    planned = {(action.environment, action.model) for action in plan.changes}
    with world.database.connect() as connection:
        failures = attempts.known(connection, world.workspace)
        models = sorted({model for _, model in planned})
        words = recorded.last_words(connection, world.workspace, models) if models else {}
    moving = {(one.environment, one.model) for one in sight.running if one.state != "healthy"}  # what failed may heal
    over = [k for k in failures if k not in planned | moving and k[0] not in sight.blind and k[1] not in busy]
    if over:
        with world.writing() as connection:
            for key in over:
                attempts.forget(connection, world.workspace, *key)
    told = {one.name: one.kubernetes for one in world.environments if one.kubernetes}
    options = {name: json.dumps(table, sort_keys=True, default=str) for name, table in told.items()}
    return Memory(failures, words, options)


class _Moved(Exception):
    """Somebody changed the intent of this model after the plan was made: the next pass plans anew."""


@dataclass(frozen=True, slots=True)
class Job:
    """The actions of one model in one pass. `since`: the ledger's head before the registry was read for the plan."""

    world: World
    registry: Registry
    sight: Sight
    memory: Memory
    actions: Sequence[Action]
    again: bool
    since: int

    def run(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for action in self.actions:
            if self.world.stopping():
                return outcomes
            try:
                outcomes.append(self._held(action, outcomes) or self._barred(action) or self._attempt(action))
            except _Moved:
                return outcomes
        return outcomes

    def later(self) -> list[Outcome] | None:
        """What `run` would give where no action's time has come; None where one's has: the job needs a place."""
        barred = [self._barred(action) for action in self.actions]
        return None if None in barred else [outcome for outcome in barred if outcome]

    def _held(self, action: Action, outcomes: Sequence[Outcome]) -> Outcome | None:
        failed = next((o.action.environment for o in outcomes if o.result == "failed"), "")
        if not failed or action.kind != "delete":
            return None
        cause = f"nothing of this model ends in a pass in which its change in {failed} failed"
        return Outcome(action=action, result="later", cause=cause, due=self.world.clock())

    def _barred(self, action: Action) -> Outcome | None:
        before = self.memory.of(action)
        if before and not self.again and before.bars(self.memory.key_of(action), self.world.clock()):
            return Outcome(action=action, result="later", cause=before.cause, due=before.due)
        return None

    def _attempt(self, action: Action) -> Outcome:
        before = self.memory.of(action)
        wanted = self.memory.key_of(action)
        try:
            self.check(action)
            apply_action(self, action)
        except (SQLAlchemyError, Fenced, _Moved):  # database or lease are away, or the plan is old: no failure of it
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever one model does, the others go on
            return self._failed(action, before, wanted, error)
        if before:
            with self.world.writing() as connection:
                attempts.forget(connection, self.world.workspace, action.environment, action.model)
        return Outcome(action=action, result="done")

    def _failed(self, action: Action, before: Attempt | None, wanted: str, error: Exception) -> Outcome:
        if not isinstance(error, HydraulicError):
            log.error("%s %s: an unforeseen error", action.environment, action.model, exc_info=error)
        key, now = (action.environment, action.model), self.world.clock()
        attempt = attempts.failed(before, key=key, wanted=wanted, error=error, now=now)
        with self.world.writing() as connection:
            attempts.remember(connection, self.world.workspace, attempt)
            if before is None or (before.wanted, before.permanent) != (attempt.wanted, attempt.permanent):
                append(connection, [_failure(self.world.workspace, action, attempt)], now)
        return Outcome(action=action, result="failed", cause=attempt.cause, due=attempt.due)

    def check(self, action: Action) -> None:
        """Raises where this process may not act any more, or the plan is not what people want any more."""
        self.world.fence()
        with self.world.database.connect() as connection:
            self.refuse_moved(connection, action.model)

    def refuse_moved(self, connection: Connection, model: str) -> None:
        if (self.world.workspace, model) in recorded.models_changed(connection, self.since, found_too=False):
            raise _Moved


def apply_action(job: Job, action: Action) -> None:
    """Do what one line of a plan says."""
    world, seen = job.world, job.sight.of(action)
    target = world.targets[action.environment]
    if action.wanted is None:
        target.delete(action.name, seen)
        return
    model = job.registry.model(action.model)
    numbers = [*dict(action.wanted.arms), *([action.wanted.challenger] if action.wanted.challenger else [])]
    versions = {number: model.version(number) for number in numbers} if model else {}
    pins = {number: _pin(job, number, version, action.model) for number, version in versions.items()}
    environment = next(env for env in world.environments if env.name == action.environment)
    job.check(action)  # a fetch may have taken long
    target.apply(make_deployment(action, environment, pins, seen, world.workspace), seen)


def _pin(job: Job, number: int, version: Version | None, model: str) -> ModelVersion:
    """Pin by digest; a version whose artefact is not what it was the first time is never served."""
    if version is None:
        raise NotFound(f"version {number} of {model!r} was deleted after the plan was made: plan anew")
    pinned = job.world.registry.pin(version)
    first = _pinned_first(job, version, pinned)
    if first != pinned.digest:
        raise Untrusted(
            f"{version.uri} has digest {pinned.digest[:12]}, but it had {str(first)[:12]} when it was first pinned: "
            f"its artefact was changed after registration; register a new version"
        )
    return pinned


def _pinned_first(job: Job, version: Version, pinned: ModelVersion) -> object:
    """The digest that this version had when it was first pinned; written down now where that is now."""
    world, which = job.world, (job.world.workspace, version.model, version.number)
    with world.database.connect() as connection:
        first = recorded.first_pinned(connection, *which)
    if first is not None:
        return first
    event = Event(
        workspace=world.workspace,
        verb="pinned",
        subject=version.uri,
        actor=CONTROLLER_ACTOR,
        model=version.model,
        after=pinned.digest,
    )
    with world.writing() as connection:
        job.refuse_moved(connection, version.model)  # what was fetched may be what was deleted meanwhile
        first = recorded.first_pinned(connection, *which)  # another controller may have been quicker
        if first is None:
            append(connection, [event], world.clock())
    return first or pinned.digest


def make_deployment(
    action: Action, environment: Environment, pins: Mapping[int, ModelVersion], seen: Running | None, workspace: str
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
        labels={
            MANAGED: CONTROLLER,
            MODEL_LABEL: action.model,
            WORKSPACE_LABEL: workspace,
            SELECTED_BY: action.selector,
        },
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
