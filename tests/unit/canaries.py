"""Callers, and passes of a controller over a prod with a canary, for tests of both."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from mlflow_hydraulic.bindings import Environment, preset
from mlflow_hydraulic.canary.rules import Rules
from mlflow_hydraulic.reconcile import run_pass
from mlflow_hydraulic.service_level import Counters, Process
from mlflow_hydraulic.world import Pass
from tests.unit.test_reconcile import Scene

RULES = Rules(steps=(5, 25, 50), hold_s=60, min_requests=10, max_error_rate=0.1, patience_s=600)


def environments(rules: Rules = RULES, bindings: str = "stages") -> tuple[Environment, ...]:
    dev, prod = preset(bindings)
    return dev, replace(prod, canary=rules)


@dataclass
class Callers:
    """Requests to what prod serves, by its shares, counted as a router would."""

    scene: Scene
    requests: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    bad: set[int] = field(default_factory=set)

    def ask(self, count: int) -> None:
        for one in self.scene.targets["prod"].deployments.values():
            for version, share in one.wanted.arms:
                name, asked = f"v{version}", -(-count * share // 100)
                self.requests[name] = self.requests.get(name, 0) + asked
                self.errors[name] = self.errors.get(name, 0) + (asked if version in self.bad else 0)
        self.count()

    def count(self) -> None:
        """What the target tells from now on."""
        shown = {name for one in self.scene.targets["prod"].deployments.values() for name in _names(one.wanted.arms)}
        self.scene.targets["prod"].counters["m"] = {
            name: Counters(
                processes={
                    "p": Process(
                        started=1.0,
                        requests=self.requests.get(name, 0),
                        errors=self.errors.get(name, 0),
                        buckets=(self.requests.get(name, 0), 0),
                    )
                },
                bounds_s=(0.1,),
                ready=1,
                wanted=1,
            )
            for name in shown
        }


def _names(arms: tuple[tuple[int, int], ...]) -> list[str]:
    return [f"v{version}" for version, _ in arms]


def begin(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    move(scene, 2)


def move(scene: Scene, number: int) -> None:
    """As MLflow's page does it: the version enters, the others are archived."""
    for version in scene.registry.models["m"].versions:
        if version.stage == "Production":
            scene.registry.stage("m", version.number, "Archived")
    scene.registry.stage("m", number, "Production")


def go(scene: Scene, callers: Callers | None = None, requests: int = 1000, seconds: float = 60) -> Pass:
    """Some time with callers, then passes until one changes nothing."""
    if callers:
        callers.ask(requests)
    scene.clock.forward(seconds)
    for _ in range(8):
        done = run_pass(scene.world)
        if not done.progressed:
            break
        if callers:
            callers.count()
    return done


def phases(scene: Scene) -> list[tuple[str, int]]:
    return [(value["phase"], value["share"]) for value in (json.loads(row.after) for row in scene.rows("canary"))]
