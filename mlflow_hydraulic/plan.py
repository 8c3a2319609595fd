"""The plan: the difference between what the registry wants and what the target runs, as a value that prints.

Pure. Fail static: what serves goes on serving unless the registry says, in so many words, that it is to end.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mlflow_hydraulic.bindings import Desired, Environment, Problem, resolve
from mlflow_hydraulic.deployment import Deployment, State
from mlflow_hydraulic.registry import RegisteredModel, Registry

Kind = Literal["create", "update", "delete", "wait", "hold"]
CHANGES: tuple[Kind, ...] = ("create", "update", "delete")
MANAGED = "hydraulic.managed-by"
CONTROLLER = "controller"
MODEL_LABEL = "hydraulic.model"


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
            f"v{version}" + (f" {weight}%" if len(self.arms) > 1 else "") + _times(counts.get(version))
            for version, weight in self.arms
        )
        return text + (f" + challenger v{self.challenger}" if self.challenger is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a target runs under one name: seen there, never remembered."""

    environment: str
    deployment: Deployment
    state: State
    endpoint: str = ""
    cause: str = ""

    @property
    def model(self) -> str:
        return self.deployment.labels.get(MODEL_LABEL, self.deployment.predictors[0].model.name)

    @property
    def managed(self) -> bool:
        """Whether the controller made it; what a person made with `mlflow deployments create` is never touched."""
        return self.deployment.labels.get(MANAGED) == CONTROLLER

    @property
    def wanted(self) -> Wanted:
        shadow = self.deployment.shadow
        return Wanted(
            arms=tuple((int(p.model.version), p.traffic) for p in self.deployment.predictors),
            challenger=int(shadow.model.version) if shadow else None,
            replicas=tuple((int(p.model.version), p.replicas) for p in self.deployment.predictors),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One line of a plan. `wanted` is None for delete and hold."""

    kind: Kind
    model: str
    environment: str
    name: str
    reason: str
    before: str = ""
    wanted: Wanted | None = None

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
    """One model in one environment, with what its decision looks at."""

    name: str
    model: RegisteredModel | None
    environment: Environment
    seen: Running | None
    environments: Sequence[Environment]
    running: Sequence[Running]

    def action(self, kind: Kind, reason: str, wanted: Wanted | None = None) -> Action:
        return Action(
            kind=kind,
            model=self.name,
            environment=self.environment.name,
            name=self.seen.deployment.name if self.seen else deployment_name(self.name),
            reason=reason,
            before=str(self.seen.wanted) if self.seen else "",
            wanted=wanted,
        )


def make_plan(registry: Registry, environments: Sequence[Environment], running: Sequence[Running]) -> Plan:
    """The plan for the whole registry: environments in their order, models by name, deletions last."""
    ours = [seen for seen in running if seen.managed]
    models = {model.name: model for model in registry.models}
    actions: list[Action] = []
    for environment in environments:
        here = {seen.model: seen for seen in ours if seen.environment == environment.name}
        for name in sorted(models.keys() | here.keys()):
            case = _Case(
                name=name,
                model=models.get(name),
                environment=environment,
                seen=here.get(name),
                environments=environments,
                running=ours,
            )
            actions += _decide(case)
    return Plan(
        actions=tuple(sorted(actions, key=lambda action: action.kind == "delete")),
        registry=registry.fingerprint(),
        running=running_digest(running),
    )


def _decide(case: _Case) -> list[Action]:
    wish = resolve(case.model, case.environment) if case.model else None
    if isinstance(wish, Problem):
        return [case.action("hold", wish.message)]
    if wish is not None:
        return _towards(wish, case)
    return [_ending(case, case.seen)] if case.seen else []


def _towards(wish: Desired, case: _Case) -> list[Action]:
    wanted = Wanted(
        arms=tuple((arm.version.number, arm.weight) for arm in wish.arms),
        challenger=wish.challenger.number if wish.challenger else None,
        replicas=tuple((arm.version.number, arm.replicas) for arm in wish.arms if arm.replicas is not None),
    )
    if case.seen is None or case.seen.state == "not found":
        return [case.action("create", wish.why, wanted)]
    if not wanted.met_by(case.seen.wanted):
        return [case.action("update", wish.why, wanted)]
    if case.seen.state == "failed":
        return [case.action("update", f"it has failed: {case.seen.cause}", wanted)]
    return []


def _ending(case: _Case, seen: Running) -> Action:
    """Nothing is wanted here any more: end what runs only where the registry says so, else hold it."""
    served = [number for number, _ in seen.wanted.arms]
    lost = _intent_lost(case.model, served, case.environment)
    if case.model is None or lost:
        return case.action("hold", f"{lost}: what serves goes on serving until you say more")
    waits_for = _unhealthy_successor(case, case.model, served)
    if waits_for:
        return case.action("wait", f"promoted to {waits_for}, which is not healthy with it yet")
    stages = [f"version {n} is now in stage {v.stage}" for n in served if (v := case.model.version(n))]
    return case.action("delete", ", ".join(stages))


def _unhealthy_successor(case: _Case, model: RegisteredModel, served: Sequence[int]) -> str:
    """The environment that these versions were promoted to while it does not serve them healthily; "" if none."""
    for successor in case.environments:
        if successor.promotes_from == case.environment.name and _promoted(model, successor, served):
            above = [one for one in case.running if one.model == model.name and one.environment == successor.name]
            if not any(_serves(one, served) for one in above):
                return successor.name
    return ""


def _intent_lost(model: RegisteredModel | None, served: Sequence[int], environment: Environment) -> str:
    """Why the registry's silence is not a word: model, version or alias are gone. Empty where it is a word."""
    if model is None:
        return "the registered model is gone"
    gone = [number for number in served if model.version(number) is None]
    if gone:
        return f"version {', '.join(map(str, gone))} was deleted while it serves"
    if any(selector.kind == "stage" for selector in environment.champion):
        return ""
    archived = all(found is not None and found.stage == "Archived" for found in map(model.version, served))
    return "" if archived else f"no alias of {', '.join(map(str, environment.champion))} is set"


def _promoted(model: RegisteredModel, successor: Environment, served: Sequence[int]) -> bool:
    """Whether `successor` asks for one of these versions, even where a problem keeps it from getting it."""
    asked = {version.number for selector in successor.champion for version in selector.matches(model)}
    return successor.looks_at(model.name) and bool(asked & set(served))


def _serves(above: Running, served: Sequence[int]) -> bool:
    return above.state == "healthy" and bool({n for n, _ in above.wanted.arms} & set(served))


def _times(replicas: int | None) -> str:
    return f" x{replicas}" if replicas not in (None, 1) else ""


def deployment_name(model: str) -> str:
    """A name for the deployments of `model`: itself where the rule of names allows it, else a slug and a short hash."""
    slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    if slug == model and len(slug) <= 40:
        return slug
    return f"{slug[:31].strip('-') or 'model'}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def running_digest(running: Iterable[Running]) -> str:
    """sha256, hex, over what runs and in which version; states are left out, because they move by themselves."""
    said = sorted(f"{one.environment}\0{one.deployment.name}\0{one.wanted}\0{one.managed}" for one in running)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()
