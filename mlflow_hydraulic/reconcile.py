"""One pass of the controller: read what is wanted, see what runs, plan, apply, record. Level-triggered.

Every pass starts from the world and from nothing else, so a crash anywhere heals with the next one. What a pass did is
recorded from what is then seen to run, never from what was attempted. Called by `controller` and by `cli.plan`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, Engine

from mlflow_hydraulic import rollout, witness
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import Conflict, HydraulicError
from mlflow_hydraulic.evidence import attempts, recorded
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.running import late_reasons, running_events
from mlflow_hydraulic.facts import Place, Trouble, by_place, changed_facts, concerned
from mlflow_hydraulic.job import Job, remembered
from mlflow_hydraulic.plan import Action, Plan, Running, make_plan
from mlflow_hydraulic.registry import RegisteredModel, Registry
from mlflow_hydraulic.world import Outcome, Pass, Sight, Sources, World

log = logging.getLogger("hydraulic.controller")


def look(sources: Sources, evidence: Callable[[], Engine] | None = None) -> Plan:
    """The plan for the world as it is now; nothing is changed or written. Raises where a target does not answer.

    evidence: opens the ledger, which canaries are remembered in; asked for only where there may be one.
    """
    registry = sources.registry.read()
    sight = observe(sources)
    for error in sight.blind.values():
        raise error
    plan = make_plan(registry, sources.environments, sight.running)
    if evidence is None or not rollout.concerned(plan, sources.environments):
        return plan
    found = rollout.look_at(sources, evidence(), registry, sight, plan, now=utc_now(), workspace=registry.workspaces[0])
    return make_plan(registry, sources.environments, sight.running, canaries=found.decisions)


def observe(sources: Sources) -> Sight:
    """What runs in every environment; a target that is away makes its own environment blind and no other."""
    began = time.monotonic()
    running: list[Running] = []
    blind: dict[str, HydraulicError] = {}
    for environment, target in sources.targets.items():
        try:
            running += target.observe()
        except HydraulicError as error:
            blind[environment] = error
    return Sight(running=tuple(running), blind=blind, began=began)


def run_pass(world: World, expected: Plan | None = None) -> Pass:
    """One pass. A failure of one model is an outcome, never an exception; a registry or database that is away is one.

    expected: a plan that somebody approved; `Conflict` where the world has moved since it was made.
    """
    with world.database.connect() as connection:
        since = recorded.head(connection)
    registry = world.registry.read()
    sight = observe(world)
    _record_found(world, registry, since)
    plan = make_plan(registry, world.environments, sight.running, sight.blind)
    canaries = _canaries(world, registry, sight, plan)
    plan = make_plan(registry, world.environments, sight.running, sight.blind, canaries.decisions)
    _refuse_moved(expected, plan, sight)
    _record_running(world, sight, world.crew.busy, ())
    late = rollout.write_down(world, canaries)
    plan = replace(plan, actions=tuple(a for a in plan.actions if (a.environment, a.model) not in late))
    witness.expect(world, plan)
    outcomes, left = _act(world, registry, sight, plan, since, again=expected is not None)
    after = sight
    if outcomes:
        after = observe(world)
        _record_running(world, after, world.crew.busy, outcomes)
    witness.expect(world, plan, outcomes)
    witness.testify(world, after)
    troubles = _troubles(world, registry, plan, outcomes, after)
    telling = [model for model in _telling(world, registry, plan, outcomes) if model.name not in {m for _, m in late}]
    _write_facts(world, telling, after, troubles, canaries.facts)
    return Pass(plan=plan, outcomes=outcomes, sight=after, left=left | {model for _, model in late})


def _canaries(world: World, registry: Registry, sight: Sight, plan: Plan) -> rollout.Canaries:
    """What is decided of the canaries that `plan`, made without them, has a part in."""
    now, busy = world.clock(), world.crew.busy
    return rollout.look_at(world, world.database, registry, sight, plan, now=now, workspace=world.workspace, busy=busy)


def _refuse_moved(expected: Plan | None, plan: Plan, sight: Sight) -> None:
    if expected is None:
        return
    for error in sight.blind.values():
        raise error
    moved = [what for what in ("registry", "running") if getattr(expected, what) != getattr(plan, what)]
    if moved or _bare(expected) != _bare(plan):
        what = {"registry": "the registry says something else", "running": "something else runs"}
        reasons = " and ".join(what[name] for name in moved) or "the environments are configured otherwise"
        raise Conflict(f"the world has moved since this plan was made: {reasons}; nothing was done, plan anew")


def _bare(plan: Plan) -> list[Action]:
    """Its changes without their reasons: those of a canary hold numbers that grow."""
    return [replace(action, reason="") for action in plan.changes]


def _act(
    world: World, registry: Registry, sight: Sight, plan: Plan, since: int, *, again: bool
) -> tuple[tuple[Outcome, ...], frozenset[str]]:
    """Do what the plan says, models side by side, the actions of one model in their order.

    again: try also what failed for good or whose time has not come. Gives what ended meanwhile, and the models for
    which another pass has a place now: those that found none, or were busy with an older plan, or moved.
    """
    busy = world.crew.busy
    todo: dict[str, list[Action]] = {}
    for action in plan.changes:
        if action.model not in busy:
            todo.setdefault(action.model, []).append(action)
    memory = remembered(world, plan, sight, busy)
    new_first = sorted(todo, key=lambda model: any(map(memory.of, todo[model])))  # failures keep nobody from a place
    jobs = {model: Job(world, registry, sight, memory, todo[model], again, since) for model in new_first}
    ended = {model: later for model, job in jobs.items() if (later := job.later()) is not None}
    ended |= world.crew.do({model: job.run for model, job in jobs.items() if model not in ended})
    whole = {model for model in todo.keys() & ended.keys() if len(ended[model]) == len(todo[model])}
    left = {action.model for action in plan.changes} - whole - world.crew.busy
    outcomes = tuple(outcome for results in ended.values() for outcome in results)
    return outcomes, frozenset() if world.crew.full or world.stopping() else frozenset(left)


def _record_found(world: World, registry: Registry, since: int) -> None:
    """Write down intent that came about behind our back. `since`: the ledger's head before `registry` was read."""

    def events(connection: Connection) -> list[Event]:
        found = recorded.unrecorded(registry, recorded.registry_said(connection))
        # What was said while the registry was read may not be in what was read: the next pass looks at it.
        changed = recorded.models_changed(connection, since) if found else set()
        return [event for event in found if (event.workspace, event.model) not in changed]

    _append(world, events)


def _record_running(world: World, sight: Sight, busy: Collection[str], outcomes: Sequence[Outcome]) -> None:
    """Write down what runs where the ledger says otherwise; exactly once, whoever was killed on the way.

    Left out: environments that cannot be seen, models that are being changed at this moment, and what the controllers
    of other workspaces made: they write that down.
    """
    because = {(o.action.environment, o.action.name): o.action.reason for o in outcomes if _came_about(o, sight)}
    seen = world.targets.keys() - sight.blind.keys()
    here = [one for one in sight.running if not one.managed or one.workspace == world.workspace]
    settled = [one for one in here if one.model not in busy]
    unsettled = {f"{one.environment}/{one.deployment.name}" for one in here if one.model in busy}

    def events(connection: Connection) -> list[Event]:
        last = {
            subject: after
            for (space, _, subject), after in recorded.last_said(connection, (recorded.RUNS,)).items()
            if space == world.workspace and subject.partition("/")[0] in seen and subject not in unsettled
            if not (isinstance(after, dict) and after["model"] in busy)
        }
        late = late_reasons(sight.running, attempts.known(connection, world.workspace))
        return running_events(settled, last, {**late, **because}, world.workspace)

    _append(world, events)


def _came_about(outcome: Outcome, sight: Sight) -> bool:
    """Whether it was done, or came true all the same, right after a try that ended too early."""
    if outcome.result != "failed" or outcome.due is None:
        return outcome.result == "done"
    seen, wanted = sight.of(outcome.action), outcome.action.wanted
    return seen is not None and seen.managed and wanted is not None and wanted.met_by(seen.wanted)


def _append(world: World, events: Callable[[Connection], list[Event]]) -> None:
    """Append what `events` finds. Looks first without a lock: a pass with nothing to say writes nothing."""
    with world.database.connect() as connection:
        if not events(connection):
            return
    with world.writing() as connection:
        append(connection, events(connection), world.clock())


def _write_facts(
    world: World,
    models: Sequence[RegisteredModel],
    sight: Sight,
    troubles: Mapping[Place, Trouble],
    canaries: Mapping[Place, tuple[int, str]],
) -> None:
    """Tags that show in MLflow's own page what really runs; only where they differ from what is there."""
    environments = [env for env in world.environments if env.name not in sight.blind]
    for version, facts in changed_facts(models, environments, sight.running, troubles, canaries):
        world.fence()
        try:
            world.registry.write_facts(version.model, version.number, facts)
        except HydraulicError as error:  # a fact that is not written today is written by the next pass
            log.warning("tags of %s were not written: %s", version.uri, error)


def _telling(world: World, registry: Registry, plan: Plan, outcomes: Sequence[Outcome]) -> list[RegisteredModel]:
    """The models of which this pass can tell how they are: not those that are being changed at this moment."""
    told = {(outcome.action.environment, outcome.action.model) for outcome in outcomes}
    untold = {action.model for action in plan.changes if (action.environment, action.model) not in told}
    return [model for model in registry.models if model.name not in untold | world.crew.busy]


def _troubles(
    world: World, registry: Registry, plan: Plan, outcomes: Sequence[Outcome], sight: Sight
) -> dict[Place, Trouble]:
    said: list[tuple[Action, str]] = [(action, action.reason) for action in plan.actions if action.kind == "hold"]
    said += [(outcome.action, outcome.cause) for outcome in outcomes if outcome.result != "done"]
    environments = {env.name: env for env in world.environments}
    models = {model.name: model for model in registry.models}
    here = by_place(sight.running)
    troubles = {}
    for action, text in said:
        serving = here.get((action.environment, world.workspace, action.model))
        versions = concerned(models.get(action.model), environments[action.environment], serving)
        if action.kind == "hold" and action.concerns:
            versions = frozenset({action.concerns})
        troubles[action.environment, action.model] = Trouble(text=text, versions=versions)
    return troubles
