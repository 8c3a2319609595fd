"""A registry and a target in memory, for tests of the plan and the pass. They hold state as the real ones would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor, State
from mlflow_hydraulic.errors import HydraulicError, NotFound, Unavailable
from mlflow_hydraulic.plan import CONTROLLER, MANAGED, MODEL_LABEL, Running
from mlflow_hydraulic.registry import RegisteredModel, Registry, Version
from mlflow_hydraulic.service_level import Counters


def running(
    environment: str, *arms: tuple[int, int], shadow: int | None = None, state: State = "healthy", model: str = "m"
) -> Running:
    """What a target shows: arms as (version, traffic), made by the controller."""

    def predictor(number: int, traffic: int) -> Predictor:
        return Predictor(name=f"v{number}", model=pinned(model, number), traffic=traffic)

    deployment = Deployment(
        name=model,
        namespace=environment,
        predictors=tuple(predictor(number, traffic) for number, traffic in arms),
        shadow=predictor(shadow, 100) if shadow else None,
        labels={MANAGED: CONTROLLER, MODEL_LABEL: model},
    )
    return Running(
        environment=environment, deployment=deployment, state=state, endpoint=f"http://{environment}/{model}"
    )


def pinned(model: str, number: int, digest: str = "") -> ModelVersion:
    uri = f"models:/{model}/{number}"
    return ModelVersion(uri=uri, name=model, version=str(number), digest=digest or f"digest of {uri}")


@dataclass
class MemoryRegistry:
    """`step` is called before and after everything that has an effect: it may raise, as a kill would."""

    models: dict[str, RegisteredModel] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    away: HydraulicError | None = None
    reads: int = 0
    workspace: str = "default"
    step: Callable[[str], None] = lambda _: None

    def read(self) -> Registry:
        self.reads += 1
        self.step("read")
        if self.away:
            raise self.away
        here = (replace(model, workspace=self.workspace) for model in self.models.values())
        return Registry(tuple(here), (self.workspace,))

    def pin(self, version: Version) -> ModelVersion:
        self.step("pin")
        if version.uri in self.missing:
            raise NotFound(f"{version.uri}: its artefact is missing")
        return pinned(version.model, version.number, self.digests.get(version.uri, ""))

    def write_facts(self, model: str, version: int, facts: Mapping[str, str | None]) -> None:
        self.step("before tags")
        found = self.models[model]
        self.models[model] = replace(
            found, versions=tuple(_tagged(v, facts) if v.number == version else v for v in found.versions)
        )
        self.step("after tags")

    def stage(self, model: str, number: int, stage: str, **tags: str) -> None:
        """Put a version into a stage; makes model and version where there are none."""
        found = self.models.get(model, RegisteredModel(name=model))
        kept = tuple(v for v in found.versions if v.number != number)
        old = found.version(number) or Version(model=model, number=number)
        new = replace(old, stage=stage, tags={**old.tags, **{f"hydraulic.{key}": tag for key, tag in tags.items()}})
        self.models[model] = replace(found, versions=tuple(sorted((*kept, new), key=lambda v: v.number)))

    def alias(self, model: str, alias: str, number: int | None) -> None:
        """Set an alias, or remove it; makes the model where there is none."""
        found = self.models.get(model, RegisteredModel(name=model))
        aliases = {name: value for name, value in found.aliases.items() if name != alias}
        self.models[model] = replace(found, aliases=aliases if number is None else {**aliases, alias: number})

    def delete(self, model: str, number: int) -> None:
        found = self.models[model]
        self.models[model] = replace(found, versions=tuple(v for v in found.versions if v.number != number))


def _tagged(version: Version, facts: Mapping[str, str | None]) -> Version:
    tags = {**version.tags, **facts}
    return replace(version, tags={tag: value for tag, value in tags.items() if value is not None})


@dataclass
class MemoryTarget:
    """One environment's target. `effects` counts what changed something; `failing` maps a version to its error."""

    environment: str
    deployments: dict[str, Running] = field(default_factory=dict)
    failing: dict[str, HydraulicError] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)
    away: HydraulicError | None = None
    counters: dict[str, dict[str, Counters]] = field(default_factory=dict)  # by deployment and predictor
    step: Callable[[str], None] = lambda _: None

    def observe(self) -> list[Running]:
        self.step("observe")
        if self.away:
            raise self.away
        return list(self.deployments.values())

    def apply(self, deployment: Deployment, seen: Running | None) -> None:
        self.step("before apply")
        for predictor in deployment.predictors:
            if predictor.model.version in self.failing:
                raise self.failing[predictor.model.version]
        old = self.deployments.get(deployment.name)
        if old is None or old.deployment != deployment:
            self.effects.append(f"apply {deployment.name} {[p.model.version for p in deployment.predictors]}")
            self.deployments[deployment.name] = Running(
                environment=self.environment,
                deployment=deployment,
                state="healthy",
                endpoint=f"http://{self.environment}",
            )
        self.step("after apply")

    def delete(self, name: str, seen: Running | None) -> None:
        self.step("before delete")
        if self.deployments.pop(name, None):
            self.effects.append(f"delete {name}")
        self.step("after delete")

    def service(self, name: str) -> dict[str, Counters]:
        self.step("service")
        if name not in self.counters:
            raise Unavailable("nobody counts")
        return self.counters[name]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
