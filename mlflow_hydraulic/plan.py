"""The plan: the difference between what the registry wants and what the target runs, as a value that prints.

Pure. Fail static: what serves goes on serving unless the registry says, in so many words, that it is to end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mlflow_hydraulic.bindings import Desired, Environment, Problem, intent_lost, resolve
from mlflow_hydraulic.canary.look import Decision
from mlflow_hydraulic.deployment import Deployment, Predictor, State, deployment_name
from mlflow_hydraulic.promotion import asked, beside, successors, waits_for
from mlflow_hydraulic.registry import RegisteredModel, Registry

Kind = Literal["create", "update", "delete", "wait", "hold"]
CHANGES: tuple[Kind, ...] = ("create", "update", "delete")
MANAGED = "hydraulic.managed-by"
CONTROLLER = "controller"
MODEL_LABEL = "hydraulic.model"
WORKSPACE_LABEL = "hydraulic.workspace"  # MLflow's workspace of the model; none is "default"
SELECTED_BY = "hydraulic.selected-by"  # the selector that asked for it: whether its silence is a word depends on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which versions are to run, before their artefacts are pinned by digest: ((version, weight), ...).

    replicas: ((version, count), ...) for those of which somebody said how many.
    """

    arms: tuple[tuple[int, int], ...]
    challenger: int | None = None
    replicas: tuple[tuple[int, int], ...] = ()

    def met_by(self, running: Wanted) -> bool:
        """Whether `running` is what is wanted; replicas of which nothing is said may be as they are."""
        same = (self.arms, self.challenger) == (running.arms, running.challenger)
        return same and set(self.replicas) <= set(running.replicas)

    def __str__(self) -> str:
        counts = dict(self.replicas)
        text = "/".join(
            f"v{version}" + (f" {weight}%" if len(self.arms) > 1 else "") + (f" x{n}" if n > 1 else "")
            for version, weight, n in ((version, weight, counts.get(version, 1)) for version, weight in self.arms)
        )
        return text + (f" + challenger v{self.challenger}" if self.challenger is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a target runs under one name: seen there, never remembered. stale: what else of it is not as configured.

    log: the last log lines that go with `cause`. ready: replicas that answer, by predictor. Both for people only.
    """

    environment: str
    deployment: Deployment
    state: State
    endpoint: str = ""
    cause: str = ""
    generation: int | None = field(default=None, compare=False)  # of the target: whether it is still what was seen
    stale: str = field(default="", compare=False)
    log: tuple[str, ...] = field(default=(), compare=False)
    ready: Mapping[str, int] = field(default_factory=dict, compare=False)

    @property
    def model(self) -> str:
        return self.deployment.labels.get(MODEL_LABEL, self.deployment.predictors[0].model.name)

    @property
    def workspace(self) -> str:
        return self.deployment.labels.get(WORKSPACE_LABEL, "default")

    @property
    def managed(self) -> bool:
        """Whether a controller made it, of whatever workspace; what a person made by hand is never touched."""
        return self.deployment.labels.get(MANAGED) == CONTROLLER

    @property
    def wanted(self) -> Wanted:
        shadow = self.deployment.shadow
        return Wanted(
            arms=tuple((self._number(p), p.traffic) for p in self.deployment.predictors),
            challenger=self._number(shadow) if shadow else None,
            replicas=tuple((self._number(p), p.replicas) for p in self.deployment.predictors),
        )

    def _number(self, predictor: Predictor) -> int:
        """The version; 0, which no version has, for another model that somebody put here by hand."""
        model = predictor.model
        return int(model.version) if model.name == self.model and model.version.isdecimal() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One line of a plan. `wanted` is None for delete, wait and hold; `selector` is what asks for it.

    concerns: the version that a canary is about; 0 where there is none.
    """

    kind: Kind
    model: str
    environment: str
    name: str
    reason: str
    before: str = ""
    wanted: Wanted | None = None
    selector: str = ""
    concerns: int = 0

    @property
    def changes(self) -> bool:
        return self.kind in CHANGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Actions in the order in which they are applied, and the world that they were made for."""

    actions: tuple[Action, ...]
    registry: str
    running: str

    @property
    def changes(self) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if action.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One model in one environment, with what its decision looks at.

    named: what runs under `called`, its deployment's name. ours: what controllers of its workspace made, by environment
    and model. canary: what its canary comes to, where one was looked at.
    """

    name: str
    called: str
    model: RegisteredModel | None
    environment: Environment
    seen: Running | None
    named: Running | None
    environments: Sequence[Environment]
    ours: Mapping[tuple[str, str], Running]
    canary: Decision | None = None

    def action(self, kind: Kind, reason: str, wanted: Wanted | None = None, selector: str = "") -> Action:
        return Action(
            kind=kind,
            model=self.name,
            environment=self.environment.name,
            name=self.seen.deployment.name if self.seen else self.called,
            reason=reason,
            before=str(self.seen.wanted) if self.seen else "",
            wanted=wanted,
            selector=selector,
            concerns=self.canary.version if self.canary else 0,
        )


def make_plan(
    registry: Registry,
    environments: Sequence[Environment],
    running: Sequence[Running],
    blind: Collection[str] = (),
    canaries: Mapping[tuple[str, str], Decision] | None = None,
) -> Plan:
    """The plan for the whole registry: environments in their order, models by name, deletions last.

    blind: environments whose target does not answer: nothing is planned there, and nothing is taken to run there.
    canaries: what is decided of those under way, by environment and model; the others go at once.
    What runs for another workspace is as what a person made by hand: it is never touched.
    """
    (workspace,) = registry.workspaces
    ours = {(one.environment, one.model): one for one in running if one.managed and one.workspace == workspace}
    named = {(seen.environment, seen.deployment.name): seen for seen in running}
    models = {model.name: model for model in registry.models}
    actions: list[Action] = []
    for environment in environments:
        if environment.name in blind:
            continue
        here = {name for where, name in ours if where == environment.name}
        for name in sorted(models.keys() | here):
            called = deployment_name(name, workspace)
            case = _Case(
                name=name,
                called=called,
                model=models.get(name),
                environment=environment,
                seen=ours.get((environment.name, name)),
                named=named.get((environment.name, called)),
                environments=environments,
                ours=ours,
                canary=(canaries or {}).get((environment.name, name)),
            )
            action = _decide(case)
            if action is not None:
                actions.append(action)
    return Plan(
        actions=tuple(sorted(_first_of_each_name(actions), key=lambda action: action.kind == "delete")),
        registry=registry.fingerprint(),
        running=running_digest(running),
    )


def _decide(case: _Case) -> Action | None:
    wish = resolve(case.model, case.environment) if case.model else None
    if isinstance(wish, Problem):
        return case.action("hold", wish.message)
    if wish is not None:
        return _towards(wanted_of(wish), wish.why, wish.selector, case)
    if case.seen is None:
        return None
    if case.canary and case.canary.arms is not None:
        return _towards(Wanted(arms=()), "", case.seen.deployment.labels.get(SELECTED_BY, ""), case)
    return _ending(case, case.seen)


def wanted_of(wish: Desired) -> Wanted:
    """What the registry asks for, as it is compared with what runs."""
    return Wanted(
        arms=tuple((arm.version.number, arm.weight) for arm in wish.arms),
        challenger=wish.challenger.number if wish.challenger else None,
        replicas=tuple((arm.version.number, arm.replicas) for arm in wish.arms if arm.replicas is not None),
    )


def _towards(wanted: Wanted, why: str, selector: str, case: _Case) -> Action | None:
    stepping = case.canary if case.canary and case.canary.arms is not None else None
    if stepping:
        wanted, why = _stepped(wanted, stepping.arms or ()), stepping.why
    if case.seen is None and case.named is not None:
        return case.action("hold", _name_taken(case.named))
    if stepping and not wanted.arms:
        return case.action("hold", why)
    if case.seen is None or case.seen.state == "not found":
        return case.action("create", why, wanted, selector)
    if not wanted.met_by(case.seen.wanted):
        return case.action("update", why, wanted, selector)
    if case.seen.state == "failed" or (case.seen.stale and case.seen.state in ("healthy", "unhealthy")):
        cause = f"it has failed: {case.seen.cause}" if case.seen.state == "failed" else case.seen.stale
        return case.action("update", cause, wanted, selector)
    return case.action(stepping.kind, why) if stepping and stepping.arms != ((stepping.version, 100),) else None


def _stepped(wanted: Wanted, arms: tuple[tuple[int, int], ...]) -> Wanted:
    """`wanted` with the shares of a canary; a challenger that answers meanwhile is no shadow as well."""
    versions = dict(arms)
    return Wanted(
        arms=arms,
        challenger=None if wanted.challenger in versions else wanted.challenger,
        replicas=tuple((version, count) for version, count in wanted.replicas if version in versions),
    )


def _name_taken(by: Running) -> str:
    whose = f"for model {by.model!r} in workspace {by.workspace!r}" if by.managed else "by hand"
    return (
        f"deployment {by.deployment.name!r} was made {whose} and is not touched: delete it with "
        f'"mlflow deployments delete", and this one takes its place'
    )


def _first_of_each_name(actions: Iterable[Action]) -> list[Action]:
    """Two models whose names come to the same deployment's name: the first gets it, the second is told."""
    owners: dict[tuple[str, str], str] = {}
    kept = []
    for action in actions:
        owner = owners.setdefault((action.environment, action.name), action.model)
        if owner != action.model and action.changes:
            reason = f"its deployment would be called {action.name!r}, as that of model {owner!r}: rename one of them"
            kept.append(replace(action, kind="hold", reason=reason, wanted=None))
        else:
            kept.append(action)
    return kept


def _ending(case: _Case, seen: Running) -> Action | None:
    """Nothing is wanted here any more: end what runs only where the registry says so, else hold it."""
    served = [number for number, _ in seen.wanted.arms]
    lost = intent_lost(case.model, served, case.environment, seen.deployment.labels.get(SELECTED_BY, ""))
    if case.model is None or lost:
        return case.action("hold", f"{lost}: what serves goes on serving until you say more")
    for successor in successors(case.environment, case.environments):
        above = case.ours.get((successor.name, case.name))
        there = {n for n, _ in above.wanted.arms} if above and above.state == "healthy" else set()
        if why := waits_for(case.model, successor, asked(case.model, successor, served), there):
            return case.action("wait", why)
    archived = all(v is not None and v.stage == "Archived" for v in map(case.model.version, served))
    if not archived and any(asked(case.model, one, served) for one in beside(case.environment, case.environments)):
        return None  # promoted, and it stays here too: so it was configured
    stages = [f"version {n} is now in stage {v.stage}" for n in served if (v := case.model.version(n))]
    return case.action("delete", ", ".join(stages))


def running_digest(running: Iterable[Running]) -> str:
    """sha256, hex, over what runs and in which version; states are left out, because they move by themselves."""
    said = sorted(
        f"{one.environment}\0{one.deployment.name}\0{one.wanted}\0{one.managed}\0{one.workspace}" for one in running
    )
    return hashlib.sha256("\n".join(said).encode()).hexdigest()
