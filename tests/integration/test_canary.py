"""Canaries on real processes: a controller, a supervisor with its router, scorers, and callers who never stop."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.canary.rules import Rules
from mlflow_hydraulic.controller import Controller, Pace
from mlflow_hydraulic.deploy_targets.local.environment import LocalEnvironment
from mlflow_hydraulic.deploy_targets.local.folder import Folder
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.evidence import database, ledger, tables
from mlflow_hydraulic.registry import Version
from mlflow_hydraulic.world import World
from tests.support.local import ROOT, Load, fake_model, kill, kill_leftovers, local_target, until
from tests.unit.worlds import MemoryRegistry

pytestmark = pytest.mark.slow
RULES = Rules(steps=(5, 25), hold_s=0.5, min_requests=20, max_error_rate=0.02, max_p99_ms=250)


@dataclass
class FakeModels(MemoryRegistry):
    """A registry whose versions are models of the fake scorer."""

    made: dict[int, ModelVersion] = field(default_factory=dict)

    def pin(self, version: Version) -> ModelVersion:
        return self.made[version.number]


@dataclass
class Scene:
    """One home with its evidence; v1 is good, v2 behaves as it is told."""

    home: Path
    registry: FakeModels
    evidence: Engine
    target: LocalTarget

    @contextmanager
    def controller(self, rules: Rules = RULES) -> Iterator[None]:
        dev, prod = preset("stages")
        environments = (dev, replace(prod, canary=rules))
        acting = Controller(
            World(
                registry=self.registry,
                environments=environments,
                targets={env.name: LocalEnvironment(env, self.target, self.home) for env in environments},
                database=self.evidence,
            ),
            Pace(interval_s=0.2, lease_s=5.0),
        )
        thread = threading.Thread(target=acting.run)
        thread.start()
        try:
            yield
        finally:
            acting.stop()
            thread.join()

    def serves(self) -> list[tuple[str, int]]:
        seen = self.target.get("prod", "m")
        return [(p.model.version, p.traffic) for p in seen.serving.predictors] if seen.serving else []

    def steps(self) -> list[tuple[str, int]]:
        with self.evidence.connect() as connection:
            assert ledger.verify(connection).holds
            said = [json.loads(row.after) for row in ledger.rows(connection) if row.verb == "canary"]
        return [(value["phase"], value["share"]) for value in said]

    def reasons(self) -> list[str]:
        with self.evidence.connect() as connection:
            return [row.reason for row in ledger.rows(connection) if row.verb == "canary"]

    def fact(self, number: int, name: str) -> str:
        version = self.registry.models["m"].version(number)
        return version.tags.get(f"hydraulic.prod.{name}", "") if version else ""

    def begin(self, **behaviour: object) -> Load:
        """v1 serves; v2, which behaves so, takes its stage."""
        self.registry.made = {1: fake_model(self.home, "1"), 2: fake_model(self.home, "2", **behaviour)}
        self.registry.stage("m", 1, "Production")
        until(lambda: self.serves() == [("1", 100)], "v1 serves")
        load = Load(self.target.get("prod", "m").url)
        self.registry.stage("m", 2, "None")
        return load

    def move(self) -> None:
        model = self.registry.models["m"]
        moved = tuple(replace(v, stage="Production" if v.number == 2 else "Archived") for v in model.versions)
        self.registry.models["m"] = replace(model, versions=moved)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    evidence = database.open_database(f"sqlite:///{tmp_path / 'evidence.db'}")
    tables.metadata.create_all(evidence)
    with evidence.begin() as connection:
        connection.execute(tables.ledger_head.insert().values(id=1, seq=0, hash=ledger.GENESIS))
    yield Scene(home=tmp_path, registry=FakeModels(), evidence=evidence, target=local_target(tmp_path))
    kill_leftovers(tmp_path)
    evidence.dispose()


def test_a_good_version_walks_to_all_callers_and_none_of_them_notices(scene: Scene) -> None:
    with scene.controller():
        load = scene.begin()
        with load.running():
            scene.move()
            until(lambda: scene.serves() == [("2", 100)], "v2 gets all callers")
        assert load.failures == []
    walked = [("begin", 5), ("mark", 5), ("step", 25), ("mark", 25), ("done", 100)]
    assert scene.steps() == walked
    assert "25 % was good: " in scene.reasons()[-1]
    assert {version for _, _, version in load.answers} == {"1", "2"}


def test_a_version_that_fails_one_in_five_is_seen_by_no_more_than_its_share(scene: Scene) -> None:
    with scene.controller():
        load = scene.begin(fail_every=5)
        with load.running():
            scene.move()
            until(lambda: ("back", 0) in scene.steps(), "it is taken back")
            until(lambda: scene.serves() == [("1", 100)], "v1 gets all callers")
            asked = len(load.answers) + len(load.failures)
            until(lambda: len(load.answers) > asked - len(load.failures) + 50, "callers go on")
        assert all(text.startswith("500") for text in load.failures), "and of no other failure"
        answered = sum(version == "2" for _, _, version in load.answers)
        total = len(load.answers) + len(load.failures)
        assert 0 < len(load.failures) <= 0.05 * 0.2 * total + 2
        assert answered + len(load.failures) <= 0.05 * total + 2
        until(lambda: scene.fact(2, "canary").startswith("rolled back: "), "its page tells")
        assert "requests failed" in scene.fact(2, "canary")
        assert scene.steps() == [("begin", 5), ("mark", 5), ("back", 0)]
        scene.registry.stage("m", 2, "Production", canary="retry")
        until(lambda: scene.steps()[3:4] == [("begin", 5)], "a person's word tries it again")


def test_a_slow_version_is_taken_back_before_it_gets_more(scene: Scene) -> None:
    with scene.controller():
        load = scene.begin(slow_s=0.4)
        with load.running():
            scene.move()
            until(lambda: ("back", 0) in scene.steps(), "it is taken back")
            until(lambda: scene.serves() == [("1", 100)], "v1 gets all callers")
        assert load.failures == []
        assert scene.steps() == [("begin", 5), ("mark", 5), ("back", 0)]
        assert "more than 250 ms" in scene.reasons()[-1]


def test_a_version_whose_process_dies_is_taken_back_though_no_caller_saw_it(scene: Scene) -> None:
    with scene.controller(replace(RULES, hold_s=600)):
        load = scene.begin()
        with load.running():
            scene.move()
            until(lambda: ("mark", 5) in scene.steps(), "the first step is counted")
            seen = Folder(scene.home, "prod", "m").read_seen()
            assert seen
            kill(next(scorer.pid for scorer in seen.scorers if scorer.predictor == "v2"))
            until(lambda: ("back", 0) in scene.steps(), "it is taken back")
            until(lambda: scene.serves() == [("1", 100)], "v1 gets all callers")
        assert load.failures == []
        assert "started again once" in scene.reasons()[-1]
