"""Facts for MLflow's own page: tags on a version that show what really runs, and what keeps it from running. Pure.

`hydraulic.<environment>.state`, `.endpoint`, `.canary` and `.problem`; never read as intent. Written by `reconcile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.registry import RegisteredModel, Version

LONGEST = 500  # characters of a problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a model does not run in an environment as it should; `versions` are those that it concerns."""

    text: str
    versions: frozenset[int]


Place = tuple[str, str]  # environment, model


def facts_of(
    version: Version, environment: Environment, running: Running | None, trouble: Trouble | None, canary: str = ""
) -> dict[str, str | None]:
    """The tags of one version for one environment, where `running` is its model's deployment; None: no such tag.

    They are written one by one, the state last: who sees the state sees the endpoint.
    """
    serves = version.number in _versions(running)
    concerned = trouble is not None and version.number in trouble.versions
    return {
        f"hydraulic.{environment.name}.endpoint": (running.endpoint or None) if running and serves else None,
        f"hydraulic.{environment.name}.canary": canary[:LONGEST] or None,
        f"hydraulic.{environment.name}.problem": trouble.text[:LONGEST] if trouble and concerned else None,
        f"hydraulic.{environment.name}.state": running.state if running and serves else None,
    }


def changed_facts(
    models: Sequence[RegisteredModel],
    environments: Sequence[Environment],
    running: Sequence[Running],
    troubles: Mapping[Place, Trouble],
    canaries: Mapping[Place, tuple[int, str]] | None = None,
) -> list[tuple[Version, dict[str, str | None]]]:
    """The versions whose tags tell something else than what is, with what to set and to remove (None).

    canaries: the version that each is about, and what is told of it.
    """
    told = {(place, number): text for place, (number, text) in (canaries or {}).items()}
    ours = by_place(running)
    changed = []
    for model in models:
        places = [
            (env, ours.get((env.name, model.workspace, model.name)), troubles.get((env.name, model.name)))
            for env in environments
        ]
        for version in model.versions:
            facts: dict[str, str | None] = {}
            for place in places:
                canary = told.get(((place[0].name, model.name), version.number), "")
                facts |= facts_of(version, *place, canary)
            differ = {tag: value for tag, value in facts.items() if version.tags.get(tag) != value}
            if differ:
                changed.append((version, differ))
    return changed


def concerned(model: RegisteredModel | None, environment: Environment, running: Running | None) -> frozenset[int]:
    """Those that a problem is shown on: the versions that the environment's selectors choose, and those that run."""
    selectors = (*environment.champion, *environment.challenger)
    chosen = {v.number for selector in selectors for v in selector.matches(model)} if model else set()
    return frozenset(chosen | _versions(running))


def _versions(running: Running | None) -> set[int]:
    """The versions that run there: arms and challenger."""
    return {n for n in (*dict(running.wanted.arms), running.wanted.challenger) if n} if running else set()


def by_place(running: Iterable[Running]) -> dict[tuple[str, str, str], Running]:
    """What controllers made, by environment, workspace and model."""
    return {(one.environment, one.workspace, one.model): one for one in running if one.managed}
