"""One pass of the controller: read what is wanted, see what runs, plan, apply, record. Level-triggered.

Every pass starts from the world and from nothing else, so a crash anywhere heals with the next one. What a pass did is
recorded from what is then seen to run, never from what was attempted. Called by `cli.controller` and by `cli.plan`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import Conflict, HydraulicError, NotFound, Untrusted
from mlflow_hydraulic.evidence import attempts, recorded
from mlflow_hydraulic.evidence.ledger import CONTROLLER_ACTOR, Event, append
from mlflow_hydraulic.plan import CONTROLLER, MANAGED, MODEL_LABEL, Action, Plan, Running, Wanted, make_plan
from mlflow_hydraulic.registry import Registry, Version

log = logging.getLogger("hydraulic.controller")


class RegistryReader(Protocol):
    """The registry, as a pass needs it."""

    def read(self) -> Registry: ...

    def pin(self, version: Version) -> ModelVersion:
        """Fetch the version's artefact and name it by digest; `NotFound` where it is missing."""
        ...

    def write_facts(self, model: str, version: int, facts: Mapping[str, str | None]) -> None:
        """Set tags on a version (None removes one)."""
        ...


class Target(Protocol):
    """Where one environment's deployments run."""

    def observe(self) -> Sequence[Running]: ...

    def apply(self, deployment: Deployment) -> None:
        """Create or update in place, and come back when it is healthy; raise with the cause when it is not."""
        ...

    def delete(self, name: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class World:
    """All that a pass reads and writes. `targets` by environment name.

    fence: called before each action; raises where this process may not act any more (its lease is lost).
    """

    registry: RegistryReader
    environments: tuple[Environment, ...]
    targets: Mapping[str, Target]
    database: Engine
    clock: Callable[[], datetime] = utc_now
    fence: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one action: "done", "failed", or "later" (it failed before and its time has not come)."""

    action: Action
    result: str
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass planned and did."""

    plan: Plan
    outcomes: tuple[Outcome, ...] = ()

    @property
    def progressed(self) -> bool:
        """Whether something was done, so that another pass may find more to do."""
        return any(outcome.result == "done" for outcome in self.outcomes)


def look(world: World) -> Plan:
    """The plan for the world as it is now; nothing is changed or written."""
    return make_plan(world.registry.read(), world.environments, _observe(world))


def run_pass(world: World, expected: Plan | None = None) -> Pass:
    """One pass. A failure of one model is an outcome, never an exception; a registry or target that is away is one.

    expected: a plan that somebody approved; `Conflict` where the world has moved since it was made.
    """
    registry = world.registry.read()
    running = _observe(world)
    plan = make_plan(registry, world.environments, running)
    _refuse_moved(expected, plan)
    _record_found(world, registry)
    for action in plan.actions:
        if not action.changes:
            log.warning("%s %s: %s: %s", action.environment, action.model, action.kind, action.reason)
    outcomes = tuple(_attempt(world, registry, running, action) for action in plan.changes)
    after = _observe(world) if outcomes else running
    _record_running(world, after, outcomes)
    _write_facts(world, registry, after)
    return Pass(plan=plan, outcomes=outcomes)


def _refuse_moved(expected: Plan | None, plan: Plan) -> None:
    if expected is None:
        return
    moved = [what for what in ("registry", "running") if getattr(expected, what) != getattr(plan, what)]
    if moved or expected.changes != plan.changes:
        what = {"registry": "the registry says something else", "running": "something else runs"}
        reasons = " and ".join(what[name] for name in moved) or "the environments are configured otherwise"
        raise Conflict(f"the world has moved since this plan was made: {reasons}; nothing was done, plan anew")


def _observe(world: World) -> list[Running]:
    return [seen for target in world.targets.values() for seen in target.observe()]


def _record_found(world: World, registry: Registry) -> None:
    with world.database.begin() as connection:
        said = recorded.last_said(connection, recorded.REGISTRY_VERBS)
        append(connection, recorded.unrecorded(registry.models, said), world.clock())


def _attempt(world: World, registry: Registry, running: Sequence[Running], action: Action) -> Outcome:
    world.fence()
    key = (action.environment, action.model)
    wanted = f"{action.kind} {action.wanted}"
    with world.database.connect() as connection:
        before = attempts.known(connection).get(key)
    if before and before.bars(wanted, world.clock()):
        return Outcome(action=action, result="later", cause=before.cause)
    try:
        apply_action(world, registry, running, action)
    except HydraulicError as error:
        log.warning("%s %s: %s failed: %s", action.environment, action.model, action.kind, error)
        attempt = attempts.failed(before, key=key, wanted=wanted, error=error, now=world.clock())
        with world.database.begin() as connection:
            attempts.remember(connection, attempt)
            if before is None or before.cause != attempt.cause:
                append(connection, [_failure(action, attempt)], world.clock())
        return Outcome(action=action, result="failed", cause=str(error))
    if before:
        with world.database.begin() as connection:
            attempts.forget(connection, *key)
    return Outcome(action=action, result="done")


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
    target.apply(make_deployment(action, environment, pins, seen))


def _pin(world: World, number: int, version: Version | None, model: str) -> ModelVersion:
    """Pin by digest; a version whose artefact is not what it was the first time is never served."""
    if version is None:
        raise NotFound(f"version {number} of {model!r} was deleted after the plan was made: plan anew")
    pinned = world.registry.pin(version)
    with world.database.begin() as connection:
        first = recorded.last_said(connection, ("pinned",)).get(("default", "pinned", version.uri))
        if first is None:
            event = Event(verb="pinned", subject=version.uri, actor=CONTROLLER_ACTOR, model=model, after=pinned.digest)
            append(connection, [event], world.clock())
    if first is not None and first != pinned.digest:
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
        labels={MANAGED: CONTROLLER, MODEL_LABEL: action.model},
    )


def _failure(action: Action, attempt: attempts.Attempt) -> Event:
    return Event(
        verb="failed",
        subject=f"{action.environment}/{action.name}",
        actor=CONTROLLER_ACTOR,
        model=action.model,
        environment=action.environment,
        before=action.before,
        after=str(action.wanted) if action.wanted else "",
        reason=f"{attempt.cause} ({'waits for a change' if attempt.permanent else 'will be tried again'})",
    )


def _record_running(world: World, running: Sequence[Running], outcomes: Sequence[Outcome]) -> None:
    """Write down what runs where the ledger says otherwise; exactly once, whoever was killed on the way."""
    because = {(o.action.environment, o.action.name): o.action.reason for o in outcomes if o.result == "done"}
    with world.database.begin() as connection:
        said = recorded.last_said(connection, (recorded.RUNS,))
        last = {subject: after for (_, _, subject), after in said.items()}
        append(connection, running_events(running, last, because), world.clock())


def running_events(
    running: Sequence[Running], last: Mapping[str, object], because: Mapping[tuple[str, str], str]
) -> list[Event]:
    """Events for every deployment that runs otherwise than `last` (by "environment/name") tells. Pure.

    Only what was seen healthy counts as having run: as-of tells of it, and a rollback goes back to it.
    """
    now = {f"{one.environment}/{one.deployment.name}": one for one in running}
    events = []
    for subject in sorted(now.keys() | last.keys()):
        one, before = now.get(subject), last.get(subject)
        after = composition(one) if one else None
        if before == after or (one and one.state != "healthy"):
            continue
        environment, _, name = subject.partition("/")
        reason = because.get((environment, name))
        events.append(
            Event(
                verb=recorded.RUNS,
                subject=subject,
                actor=CONTROLLER_ACTOR,
                model=one.model if one else str(before["model"]) if isinstance(before, dict) else "",
                environment=environment,
                before=before,
                after=after,
                reason=reason or "seen by the controller",
            )
        )
    return events


def composition(one: Running) -> dict[str, object]:
    """What answers there, as JSON: model, predictors with version, digest, traffic, replicas, and the shadow."""
    deployment = one.deployment
    return {
        "model": one.model,
        "predictors": [_predictor(p) for p in deployment.predictors],
        "shadow": _predictor(deployment.shadow) if deployment.shadow else None,
    }


def _predictor(predictor: Predictor) -> dict[str, object]:
    said = asdict(predictor.model)
    return {**said, "traffic": predictor.traffic, "replicas": predictor.replicas}


def _write_facts(world: World, registry: Registry, running: Sequence[Running]) -> None:
    """Tags that show in MLflow's own page what really runs; only where they differ from what is there."""
    for model in registry.models:
        for version in model.versions:
            facts = facts_of(version, running, world.environments)
            changed = {tag: value for tag, value in facts.items() if version.tags.get(tag) != value}
            if not changed:
                continue
            try:
                world.registry.write_facts(model.name, version.number, changed)
            except HydraulicError as error:  # a fact that is not written today is written by the next pass
                log.warning("tags of %s were not written: %s", version.uri, error)


def facts_of(
    version: Version, running: Sequence[Running], environments: Sequence[Environment]
) -> dict[str, str | None]:
    """`hydraulic.<env>.state` and `hydraulic.<env>.endpoint` of one version; None where it does not run there. Pure."""
    facts: dict[str, str | None] = {}
    for environment in environments:
        here = [
            one
            for one in running
            if one.managed
            and (one.environment, one.model) == (environment.name, version.model)
            and version.number in (*dict(one.wanted.arms), one.wanted.challenger)
        ]
        facts[f"hydraulic.{environment.name}.state"] = here[0].state if here else None
        facts[f"hydraulic.{environment.name}.endpoint"] = here[0].endpoint if here else None
    return facts
