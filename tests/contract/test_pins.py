"""Pins by digest, on SQLite and on a real PostgreSQL: a name used again begins anew, a renamed model goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.evidence.recorded import first_pinned
from mlflow_hydraulic.reconcile import run_pass
from mlflow_hydraulic.registry import RegisteredModel
from mlflow_hydraulic.world import World
from tests.unit.worlds import Clock, MemoryRegistry, MemoryTarget

Row = tuple[str, str, str, object]  # verb, subject, model, after
PINNED: Row = ("pinned", "models:/a/1", "a", "old")
DELETED: Row = ("delete model", "models:/a", "a", None)


def say(engine: Engine, *rows: Row, workspace: str = "default") -> None:
    with engine.begin() as connection:
        for verb, subject, model, after in rows:
            event = ledger.Event(verb=verb, subject=subject, actor="ds1", model=model, after=after, workspace=workspace)
            ledger.append(connection, [event])


@pytest.mark.parametrize(
    ("rows", "model", "digest"),
    [
        ([PINNED], "a", "old"),
        ([PINNED, DELETED], "a", None),
        ([PINNED, ("delete version", "models:/a/1", "a", None)], "a", None),
        ([PINNED, ("delete version", "models:/a/11", "a", None)], "a", "old"),
        ([PINNED, ("stage", "models:/a/1", "a", None)], "a", None),
        ([PINNED, ("stage", "models:/a/1", "a", "Archived")], "a", "old"),
        ([PINNED, ("delete model", "models:/aa", "aa", None)], "a", "old"),
        ([PINNED, DELETED, ("pinned", "models:/a/1", "a", "new")], "a", "new"),
        ([PINNED, ("rename model", "models:/a", "a", "b")], "a", None),
        ([PINNED, ("rename model", "models:/a", "a", "b")], "b", "old"),
        ([PINNED, ("rename model", "models:/a", "a", "b"), ("rename model", "models:/b", "b", "a")], "a", "old"),
        ([PINNED, DELETED, ("rename model", "models:/b", "b", "a")], "a", None),
        ([PINNED, DELETED, ("rename model", "models:/a", "a", "b")], "b", None),
        (
            [PINNED, ("rename model", "models:/a", "a", 'b "é"'), ("rename model", 'models:/b "é"', 'b "é"', "c")],
            "c",
            "old",
        ),
        (
            [("pinned", "models:/b/1", "b", "b's"), PINNED, DELETED, ("rename model", "models:/b", "b", "a")],
            "a",
            "b's",
        ),
    ],
)
def test_a_pin_counts_for_what_it_was_made_for(
    evidence: Engine, rows: list[Row], model: str, digest: str | None
) -> None:
    say(evidence, *rows)
    with evidence.connect() as connection:
        assert first_pinned(connection, "default", model, 1) == digest
        assert first_pinned(connection, "team", model, 1) is None


def test_what_another_workspace_deletes_takes_no_pin_away(evidence: Engine) -> None:
    say(evidence, PINNED)
    say(evidence, DELETED, ("rename model", "models:/b", "b", "a"), workspace="team")
    with evidence.connect() as connection:
        assert first_pinned(connection, "default", "a", 1) == "old"


def test_a_model_name_used_again_is_served(evidence: Engine) -> None:
    registry, clock = MemoryRegistry(), Clock()
    environments = preset("stages")
    targets = {env.name: MemoryTarget(environment=env.name) for env in environments}
    world = World(registry=registry, environments=environments, targets=targets, database=evidence, clock=clock)

    def served(model: str) -> str:
        clock.forward(1000)
        run_pass(world)
        run_pass(world)
        one = targets["dev"].deployments.get(model)
        return one.deployment.predictors[0].model.digest if one else ""

    def register(model: str, digest: str) -> None:
        registry.digests[f"models:/{model}/1"] = digest
        registry.stage(model, 1, "Staging")
        say(evidence, ("stage", f"models:/{model}/1", model, "Staging"))

    register("a", "first")
    assert served("a") == "first"
    del targets["dev"].deployments["a"]
    del registry.models["a"]
    say(evidence, ("delete version", "models:/a/1", "a", None), DELETED)
    register("a", "second")
    assert served("a") == "second"
    # Renamed, it keeps its pin: an artefact that is changed meanwhile is not served under the new name either.
    renamed = registry.models.pop("a")
    registry.models["b"] = _named(renamed, "b")
    say(evidence, ("rename model", "models:/a", "a", "b"))
    registry.digests["models:/b/1"] = "changed"
    assert served("b") == ""
    registry.digests["models:/b/1"] = "second"
    say(evidence, ("stage", "models:/b/1", "b", "Staging"))
    assert served("b") == "second"
    del targets["dev"].deployments["a"]
    register("a", "third")
    assert served("a") == "third"


def _named(model: RegisteredModel, name: str) -> RegisteredModel:
    return replace(model, name=name, versions=tuple(replace(version, model=name) for version in model.versions))
