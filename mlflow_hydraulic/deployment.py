"""What is to run: the value of a deployment, the same for processes on this machine and for Kubernetes.

Pure values with their rules; made by the MLflow plugin and by the plan, read by every target.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlflow_hydraulic.errors import BadInput, Conflict

State = Literal["not found", "preparing", "launching", "healthy", "unhealthy", "failed", "terminating"]
NAME_RULE = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One pinned model: never a moving alias.

    uri: where MLflow finds it ("models:/hydraulic-cooler/3", "runs:/.../model", a path).
    name, version: the registered model's, or a name made from the URI and "0" for a model outside the registry.
    digest: sha256 of the model's files, hex; what was checked before it served.
    """

    uri: str
    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """One model version in a deployment. `traffic` is its share in percent; a shadow's is the share it is sent."""

    name: str
    model: ModelVersion
    traffic: int = 100
    replicas: int = 1

    def __post_init__(self) -> None:
        check_name("predictor", self.name)
        if self.replicas < 1:
            raise BadInput(
                f'replicas={self.replicas}: must be 1 or more; to stop serving use "mlflow deployments delete"'
            )
        if not 0 <= self.traffic <= 100:
            raise BadInput(f"traffic={self.traffic} of predictor {self.name!r}: a share is 0 to 100 percent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One registered model in one environment: predictors that share the traffic, at most one shadow."""

    name: str
    namespace: str
    predictors: tuple[Predictor, ...]
    shadow: Predictor | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("deployment", self.name)
        check_name("namespace", self.namespace)
        if not self.predictors:
            raise BadInput(f"deployment {self.name!r} has no predictor: one at least must answer")
        total = sum(predictor.traffic for predictor in self.predictors)
        if total != 100:
            shares = ", ".join(f"{p.name}={p.traffic}" for p in self.predictors)
            raise BadInput(f"traffic of {self.name!r} adds up to {total} ({shares}): it must be 100")
        names = [p.name for p in self.all]
        if len(set(names)) < len(names):
            raise BadInput(f"predictors of {self.name!r} are named {names}: names must differ")

    def predictor(self, name: str) -> Predictor | None:
        """The predictor or shadow called `name`, if there is one."""
        return next((p for p in self.all if p.name == name), None)

    @property
    def all(self) -> tuple[Predictor, ...]:
        """The predictors in their order, then the shadow."""
        return (*self.predictors, self.shadow) if self.shadow else self.predictors


class Exists(Conflict):
    """A deployment of this name is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a target really runs under one name.

    serving: what answers now; None before anything did.
    desired: what was last asked for; differs from `serving` while it changes, or when the change failed.
    state, cause: how it is, and why it is not healthy or why the last change failed; empty when all is well.
    log: the last log lines that go with `cause`.
    url: the address under which it answers, prefix included; empty before it has one.
    generation: the number of the last change asked for; a change may name it, so that none is lost.
    ready: replicas that answer, by predictor.
    settings: what the target was told beside, where that is no default: an image, limits; by the option's name.
    """

    name: str
    namespace: str
    state: State
    serving: Deployment | None = None
    desired: Deployment | None = None
    cause: str = ""
    log: tuple[str, ...] = ()
    url: str = ""
    generation: int = 0
    ready: dict[str, int] = field(default_factory=dict)
    pid: int | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def deployment(self) -> Deployment | None:
        """What answers, or what was asked for where nothing answers yet."""
        return self.serving or self.desired


def check_name(what: str, name: str) -> None:
    """A name that a host name, a file and a Kubernetes object all take: 1 to 40 of a-z, 0-9 and inner hyphens."""
    if not NAME_RULE.fullmatch(name):
        raise BadInput(
            f"{what} name {name!r}: use 1 to 40 small letters, digits and hyphens, with no hyphen at either end"
        )


def deployment_name(model: str, workspace: str = "default") -> str:
    """A name for the deployments of `model`: itself where the rule of names allows it, else a slug and a short hash.

    Of another workspace than "default" it is always the latter, for both: models of one name share a target.
    """
    name = model if workspace == "default" else f"{workspace}/{model}"  # no model's name has a slash
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if slug == name and len(slug) <= 40:
        return slug
    return f"{slug[:31].strip('-') or 'model'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
