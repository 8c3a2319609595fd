"""Bindings: which version of a registered model fills which role in which environment. Pure; used by the plan.

A selector is "stage:Production" or "alias:champion". The first selector that matches fills a role. Several versions in
one stage share the traffic by their `hydraulic.weight` tags; `hydraulic.replicas` says how many of a version run.
What is ambiguous is a `Problem`, never a guess.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlflow_hydraulic.canary.rules import Rules
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.registry import REPLICAS_TAG, STAGES, WEIGHT_TAG, RegisteredModel, Version

MOST_REPLICAS = 100
ALIAS_RULE = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Selector:
    """`kind` is "stage" or "alias"."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Selector:
        kind, _, value = text.partition(":")
        if kind == "stage" and value in STAGES and value != "None":
            return cls(kind, value)
        if kind == "alias" and ALIAS_RULE.fullmatch(value):
            return cls(kind, value)
        raise BadInput(
            f'selector {text!r}: write "stage:" with one of {", ".join(STAGES[1:])}, or "alias:" with an alias'
        )

    def matches(self, model: RegisteredModel) -> list[Version]:
        """The versions that it selects, oldest first; an alias of a deleted version selects none."""
        if self.kind == "alias":
            named = model.version(model.aliases[self.value]) if self.value in model.aliases else None
            return [named] if named else []
        return [version for version in model.versions if version.stage == self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One environment: where its deployments run, and what the registry must say for a version to run there.

    models: a pattern of registered-model names ("dev.*") that this environment looks at; "*" is all.
    promotes_from: the environment whose deployment of a version ends once this one serves it; "" keeps both.
    kubernetes: options for deployments on Kubernetes as TOML gave them; the target reads and checks them.
    canary: how a new champion gets the callers of the one before, step by step; None: all at once.
    """

    name: str
    target: str = "seldon-local"
    namespace: str = ""
    champion: tuple[Selector, ...] = ()
    challenger: tuple[Selector, ...] = ()
    models: str = "*"
    promotes_from: str = ""
    kubernetes: Mapping[str, object] = field(default_factory=dict, hash=False)
    canary: Rules | None = None

    def looks_at(self, model: str) -> bool:
        return fnmatch.fnmatchcase(model, self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One version that answers, with its share of the traffic in percent.

    replicas: how many the registry asks for; None leaves what runs.
    """

    version: Version
    weight: int
    replicas: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What the registry wants for one model in one environment. `arms` is one champion, or the shares of a split."""

    model: str
    environment: Environment
    arms: tuple[Arm, ...]
    selector: str
    challenger: Version | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why nothing is changed for a model in an environment; what serves goes on serving."""

    model: str
    environment: str
    message: str


def resolve(model: RegisteredModel, environment: Environment) -> Desired | Problem | None:
    """What `model` should run in `environment`; None where the registry says nothing for it."""
    try:
        return _desired(model, environment)
    except BadInput as error:
        return Problem(model=model.name, environment=environment.name, message=str(error))


def _desired(model: RegisteredModel, environment: Environment) -> Desired | None:
    if not environment.looks_at(model.name):
        return None
    found = [(selector, selector.matches(model)) for selector in environment.champion]
    found = [(selector, versions) for selector, versions in found if versions]
    if not found:
        return None
    _refuse_conflict(environment, found)
    selector, versions = found[0]
    return Desired(
        model=model.name,
        environment=environment,
        arms=_arms(selector, versions),
        selector=str(selector),
        challenger=_challenger(model, environment, versions),
        why=f"{selector} is version {', '.join(str(version.number) for version in versions)}",
    )


def _refuse_conflict(environment: Environment, found: Sequence[tuple[Selector, list[Version]]]) -> None:
    """An alias and a stage that both speak must speak of the same versions."""
    first, wanted = found[0]
    for other, versions in found[1:]:
        if other.kind != first.kind and {v.number for v in versions} != {v.number for v in wanted}:
            raise BadInput(
                f"{first} is version {_numbers(wanted)} but {other} is version {_numbers(versions)}: "
                f"{environment.name} is not changed until they agree; move the alias or the stage"
            )


def _arms(selector: Selector, versions: Sequence[Version]) -> tuple[Arm, ...]:
    if len(versions) == 1:
        return (Arm(version=versions[0], weight=100, replicas=_replicas(versions[0])),)
    arms = tuple(
        Arm(version=version, weight=_weight(selector, version, versions), replicas=_replicas(version))
        for version in versions
    )
    total = sum(arm.weight for arm in arms)
    if total != 100:
        shares = ", ".join(f"{arm.version.number}: {arm.weight}" for arm in arms)
        raise BadInput(f"weights of {selector} add up to {total} (version {shares}): {WEIGHT_TAG} must add up to 100")
    return arms


def _weight(selector: Selector, version: Version, versions: Sequence[Version]) -> int:
    text = version.tags.get(WEIGHT_TAG)
    if text is None:
        raise BadInput(
            f"versions {_numbers(versions)} are all {selector}, and version {version.number} has no tag {WEIGHT_TAG}: "
            f"archive all but one, or tag each with its share for an A/B split"
        )
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= 99:
        raise BadInput(f"{WEIGHT_TAG}={text!r} of version {version.number}: a share is a whole number from 1 to 99")
    return int(text)


def _replicas(version: Version) -> int | None:
    text = version.tags.get(REPLICAS_TAG)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MOST_REPLICAS:
        raise BadInput(
            f"{REPLICAS_TAG}={text!r} of version {version.number}: must be a whole number from 1 to {MOST_REPLICAS}"
        )
    return int(text)


def _challenger(model: RegisteredModel, environment: Environment, champions: Sequence[Version]) -> Version | None:
    for selector in environment.challenger:
        versions = selector.matches(model)
        if not versions:
            continue
        if len(versions) > 1:
            raise BadInput(f"versions {_numbers(versions)} are all {selector}: there is room for one challenger")
        if versions[0].number in {champion.number for champion in champions}:
            raise BadInput(
                f"version {versions[0].number} is {selector} and answers already: a version cannot challenge itself"
            )
        return versions[0]
    return None


def intent_lost(
    model: RegisteredModel | None, served: Sequence[int], environment: Environment, selected_by: str
) -> str:
    """Why the registry's silence is not a word: model, version or alias are gone. Empty where it is a word.

    A stage that was set back is a word, and so is "Archived"; an alias that vanished or bindings that changed are none.
    """
    if model is None:
        return "the registered model is gone"
    gone = [number for number in served if model.version(number) is None]
    if gone:
        return f"version {', '.join(map(str, gone))} was deleted while it serves"
    if all(found is not None and found.stage == "Archived" for found in map(model.version, served)):
        return ""
    way = f'archive version {", ".join(map(str, served))}, or use "mlflow deployments delete", to end it'
    bound = [str(selector) for selector in environment.champion]
    why = ""
    if not environment.looks_at(model.name):
        why = f"environments.{environment.name}.models={environment.models!r} leaves this model out"
    elif selected_by.startswith("alias:") or not any(name.startswith("stage:") for name in bound):
        why = f"no alias of {', '.join(bound)} is set"
    elif selected_by and selected_by not in bound:
        why = f"{selected_by} is no binding of {environment.name} any more"
    return f"{why}; {way}" if why else ""


def _numbers(versions: Sequence[Version]) -> str:
    return ", ".join(str(version.number) for version in versions)


def preset(name: str) -> tuple[Environment, ...]:
    """DEV and PROD by "stages", "aliases", "both", or "model-per-environment" (models named `dev.*` and `prod.*`)."""
    stages: dict[str, tuple[str, ...]] = {"dev": ("stage:Staging",), "prod": ("stage:Production",)}
    aliases: dict[str, tuple[str, ...]] = {"dev": ("alias:dev",), "prod": ("alias:champion",)}
    both = {env: aliases[env] + stages[env] for env in stages}
    champions: dict[str, dict[str, tuple[str, ...]]] = {"stages": stages, "aliases": aliases, "both": both}
    champions["model-per-environment"] = {"dev": ("alias:champion",), "prod": ("alias:champion",)}
    if name not in champions:
        raise BadInput(f"bindings={name!r}: choose one of {', '.join(champions)}")
    apart = name == "model-per-environment"
    return tuple(
        Environment(
            name=env,
            namespace=env,
            champion=tuple(Selector.parse(text) for text in champions[name][env]),
            challenger=(Selector.parse("alias:challenger"),) if env == "prod" or apart else (),
            models=f"{env}.*" if apart else "*",
            promotes_from="dev" if env == "prod" and not apart else "",
        )
        for env in ("dev", "prod")
    )
