"""What the controller saw, written down for the pages: how each deployment is, why, since when, and when it looked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import RowMapping, event

from mlflow_hydraulic.controller import Controller, Pace
from mlflow_hydraulic.crew import Crew
from mlflow_hydraulic.deployment import State
from mlflow_hydraulic.errors import Failed, Unavailable
from mlflow_hydraulic.evidence import database, ledger, sight, tables
from mlflow_hydraulic.plan import MANAGED, WORKSPACE_LABEL, Running
from mlflow_hydraulic.reconcile import run_pass
from mlflow_hydraulic.witness import glance
from mlflow_hydraulic.world import Fenced, World
from tests.support.local import until
from tests.unit.test_reconcile import Scene
from tests.unit.worlds import running


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.database.dispose()


def row(world: Scene | World, name: str, environment: str = "prod") -> RowMapping | None:
    with world.database.connect() as connection:
        return sight.find(connection, "default", environment, name)


def told(world: Scene | World, name: str, environment: str = "prod") -> tuple[str, str]:
    """State and cause; nothing where there is no row."""
    found = row(world, name, environment)
    return (found["state"], found["cause"]) if found else ("", "")


def said_of(world: Scene | World, name: str) -> sight.Said:
    found = row(world, name)
    assert found is not None
    return sight.read_said(found["said"])


def looks(scene: Scene) -> dict[str, sight.Look]:
    with scene.database.connect() as connection:
        return sight.looks(connection, "default")


def test_what_serves_is_told_with_its_parts(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production", weight="30")
    scene.registry.stage("m", 2, "Production", weight="70")
    scene.passes()
    found = row(scene, "m")
    assert found is not None
    assert (found["model"], found["managed"], found["state"], found["endpoint"]) == ("m", 1, "healthy", "http://prod")
    said = sight.read_said(found["said"])
    assert [(p.role, p.version, p.traffic, p.replicas, p.ready) for p in said.predictors] == [
        ("arm", "1", 30, 1, 0),
        ("arm", "2", 70, 1, 0),
    ]
    assert (said.target, said.namespace, said.note) == ("seldon-local", "prod", None)


def test_log_lines_and_ready_replicas_come_through(scene: Scene) -> None:
    ill = replace(running("prod", (3, 100), shadow=4), state="unhealthy", cause="one died")
    scene.targets["prod"].deployments["m"] = replace(
        ill, log=("Traceback", "\ud800no memory\0"), ready={"v3": 2}, generation=7, stale="image=x"
    )
    run_pass(scene.world)
    assert told(scene, "m") == ("unhealthy", "one died")
    said = said_of(scene, "m")
    assert (said.log, said.generation, said.stale) == (("Traceback", "?no memory�"), 7, "image=x")
    assert [(p.role, p.ready) for p in said.predictors] == [("champion", 2), ("challenger", 0)]


def test_since_is_when_the_state_changed_last(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    first = row(scene, "m")
    scene.clock.forward(60)
    healthy = scene.targets["prod"].deployments["m"]
    scene.targets["prod"].deployments["m"] = replace(healthy, endpoint="http://other")
    run_pass(scene.world)
    moved = row(scene, "m")
    scene.targets["prod"].deployments["m"] = replace(healthy, state="unhealthy", cause="gone")
    run_pass(scene.world)
    ill = row(scene, "m")
    assert first and moved and ill
    assert (moved["endpoint"], moved["since"]) == ("http://other", first["since"])
    assert ill["since"] > first["since"]


def test_a_model_that_cannot_be_deployed_is_told_with_cause_and_log(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.targets["prod"].failing["1"] = Failed("it does not start\nthe scorer's log ends with:\n  Traceback\n  boom")
    scene.passes()
    run_pass(scene.world)
    assert told(scene, "m") == ("failed", "it does not start")
    said = said_of(scene, "m")
    assert said.log == ("the scorer's log ends with:", "Traceback", "boom")
    assert [(p.version, p.digest) for p in said.predictors] == [("1", "")]
    assert said.note is not None
    assert (said.note.kind, said.note.wanted, said.note.due) == ("failed", "v1", ""), "it waits for a change"
    scene.registry.stage("m", 1, "Archived")
    scene.passes()
    assert row(scene, "m") is None


def test_what_is_tried_again_tells_when(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.targets["prod"].failing["1"] = Unavailable("no room")
    run_pass(scene.world)
    said = said_of(scene, "m")
    assert said.note is not None
    assert said.note.due > scene.clock.now.isoformat()


def test_a_change_that_failed_is_told_beside_what_goes_on_serving(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    scene.targets["prod"].failing["2"] = Failed("does not load")
    scene.registry.stage("m", 1, "Archived")
    scene.registry.stage("m", 2, "Production")
    scene.passes()
    assert told(scene, "m") == ("healthy", "does not load")


def test_what_is_ambiguous_is_told_before_anything_runs(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.registry.stage("m", 2, "Production")
    scene.passes()
    state, cause = told(scene, "m")
    assert (state, "all but one" in cause) == ("not found", True)


def test_what_ended_is_told_no_more(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    scene.registry.stage("m", 1, "Archived")
    scene.passes()
    assert row(scene, "m") is None


def by_hand(name: str) -> Running:
    one = running("prod", (3, 100), model=name)
    return replace(one, deployment=replace(one.deployment, labels={}))


def of_another(name: str) -> Running:
    one = running("prod", (3, 100), model=name)
    return replace(one, deployment=replace(one.deployment, labels={**one.deployment.labels, WORKSPACE_LABEL: "other"}))


def test_what_people_and_other_workspaces_made_is_told_too(scene: Scene) -> None:
    scene.targets["prod"].deployments = {"hand": by_hand("hand"), "theirs": of_another("theirs")}
    assert by_hand("hand").deployment.labels.get(MANAGED) is None
    run_pass(scene.world)
    rows = [row(scene, name) for name in ("hand", "theirs")]
    assert [(one["model"], one["managed"]) for one in rows if one] == [("hand", 0), ("other/theirs", 0)]


def test_an_environment_that_is_away_keeps_its_rows_and_the_time_they_are_of(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    before = looks(scene)["prod"]
    scene.targets["prod"].away = Unavailable("no answer")
    scene.clock.forward(600)
    run_pass(scene.world)
    assert told(scene, "m")[0] == "healthy"
    assert looks(scene)["prod"] == sight.Look(at=before.at, blind="no answer")
    assert looks(scene)["dev"] == sight.Look(at=scene.clock.now)
    scene.targets["prod"].away = None
    run_pass(scene.world)
    assert looks(scene)["prod"] == sight.Look(at=scene.clock.now)


def test_one_that_was_never_seen_has_no_time(scene: Scene) -> None:
    scene.targets["prod"].away = Unavailable("no answer")
    run_pass(scene.world)
    assert looks(scene)["prod"] == sight.Look(at=None, blind="no answer")


def test_an_environment_that_is_configured_no_more_is_forgotten(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    assert row(scene, "m")
    del scene.targets["prod"]
    scene.environments = tuple(one for one in scene.environments if one.name != "prod")
    run_pass(scene.world)
    assert row(scene, "m") is None


def test_a_pass_that_sees_the_same_reads_once_and_writes_only_the_time(scene: Scene) -> None:
    many = {f"m{i}": running("prod", (1, 100), model=f"m{i}") for i in range(300)}
    scene.targets["prod"].deployments = many
    for one in many:
        scene.registry.stage(one, 1, "Production")
    scene.passes()
    said: list[str] = []
    event.listen(scene.database, "before_cursor_execute", lambda *given: said.append(given[2]))
    run_pass(scene.world)
    assert [text for text in said if "hydraulic_sight" in text and not text.startswith("SELECT")] == []
    assert sum("FROM hydraulic_sight \n" in text or "FROM hydraulic_sight\n" in text for text in said) == 1
    scene.clock.forward(sight.LOOK_S)
    said.clear()
    run_pass(scene.world)
    assert {text.split(" SET")[0] for text in said if text.startswith(("INSERT", "DELETE", "UPDATE hydraulic_s"))} == {
        "UPDATE hydraulic_sight_looks"
    }


def test_one_that_moved_is_the_only_one_that_is_written(scene: Scene) -> None:
    many = {f"m{i}": running("prod", (1, 100), model=f"m{i}") for i in range(30)}
    scene.targets["prod"].deployments = many
    for one in many:
        scene.registry.stage(one, 1, "Production")
    scene.passes()
    many["m7"] = replace(many["m7"], state="unhealthy", cause="ill")
    written: list[object] = []
    event.listen(
        scene.database,
        "before_cursor_execute",
        lambda *given: written.append(given[3]) if given[2].startswith("UPDATE hydraulic_sight ") else None,
    )
    run_pass(scene.world)
    assert len(written) == 1
    assert told(scene, "m7") == ("unhealthy", "ill")


def test_a_controller_without_the_lease_writes_nothing(scene: Scene) -> None:
    old = scene.world
    scene.targets["prod"].deployments["m"] = running("prod", (1, 100))
    _ = scene.world  # another takes the lease
    with pytest.raises(Fenced):
        glance(old, ["prod"])
    assert row(scene, "m") is None


def test_a_look_that_began_earlier_does_not_undo_a_later_one(scene: Scene) -> None:
    world = scene.world
    states: list[State] = ["launching", "healthy"]

    def slow(what: str) -> None:
        if what == "observe" and states == ["launching", "healthy"]:
            scene.targets["prod"].deployments["m"] = running("prod", (1, 100), state=states.pop())
            glance(world, ["prod"])
            scene.targets["prod"].deployments["m"] = running("prod", (1, 100), state=states.pop())

    scene.targets["prod"].step = slow
    glance(world, ["prod"])
    assert told(scene, "m")[0] == "healthy"


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One that a controller with threads runs on."""
    engine = database.open_database(f"sqlite:///{tmp_path_factory.mktemp('db') / 'evidence.db'}")
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(tables.ledger_head.insert().values(id=1, seq=0, hash=ledger.GENESIS))
    yield replace(Scene().world, database=engine, fence=lambda: None)
    engine.dispose()


@pytest.mark.parametrize("at_once", [1, 2])
def test_states_pass_by_while_a_model_starts(world: World, at_once: int) -> None:
    """The pass waits for the job, or goes on without it: pages see each state all the same."""
    world = replace(world, crew=Crew(at_once, patience_s=0.0 if at_once > 1 else None))
    target, registry = world.targets["dev"], world.registry
    go = {state: threading.Event() for state in ("preparing", "launching")}

    def slow(what: str) -> None:
        if what == "before apply":
            assert go["preparing"].wait(30)
            target.deployments["m"] = running("dev", (1, 100), state="launching")  # type: ignore[attr-defined]
            assert go["launching"].wait(30)
            del target.deployments["m"]  # type: ignore[attr-defined]

    target.step = slow  # type: ignore[attr-defined]
    registry.stage("m", 1, "Staging")  # type: ignore[attr-defined]
    controller = Controller(world, Pace(interval_s=600, lease_s=30))
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        for state, event_ in go.items():
            until(lambda state=state: told(world, "m", "dev")[0] == state, state, 20)  # type: ignore[misc]
            event_.set()
        until(lambda: told(world, "m", "dev")[0] == "healthy", "healthy", 20)
    finally:
        controller.stop()
        thread.join(30)


def test_it_looks_even_while_the_registry_is_away(world: World) -> None:
    world.registry.away = Unavailable("no answer")  # type: ignore[attr-defined]
    world.targets["prod"].deployments["m"] = running("prod", (1, 100))  # type: ignore[attr-defined]
    controller = Controller(world, Pace(interval_s=0.2, lease_s=30))
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        until(lambda: told(world, "m")[0] == "healthy", "seen all the same", 20)
    finally:
        controller.stop()
        thread.join(30)


def test_a_look_is_of_a_time(scene: Scene) -> None:
    run_pass(scene.world)
    at = looks(scene)["prod"].at
    scene.clock.forward(sight.LOOK_S - 1)
    run_pass(scene.world)
    assert looks(scene)["prod"].at == at, "too soon to be worth a write"
    scene.clock.forward(1)
    run_pass(scene.world)
    assert at is not None
    assert looks(scene)["prod"].at == at + timedelta(seconds=sight.LOOK_S)
