"""Jobs that take long: nobody acts on an old plan, who was overtaken writes nothing, and who did it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_hydraulic.controller import Controller, Pace
from mlflow_hydraulic.crew import Crew
from mlflow_hydraulic.deployment import Deployment, State
from mlflow_hydraulic.errors import Failed, Unavailable
from mlflow_hydraulic.evidence import attempts, database, ledger, tables
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.reconcile import run_pass
from mlflow_hydraulic.world import Fenced
from tests.support.local import until
from tests.unit.test_reconcile import Scene
from tests.unit.worlds import MemoryTarget


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.database.dispose()


@pytest.fixture
def threads(scene: Scene, tmp_path: Path) -> Iterator[Scene]:
    """The scene with a database that several threads can use at once."""
    memory, scene.database = scene.database, database.open_database(f"sqlite:///{tmp_path / 'evidence.db'}")
    tables.metadata.create_all(scene.database)
    with scene.database.begin() as connection:
        connection.execute(tables.ledger_head.insert().values(id=1, seq=0, hash=ledger.GENESIS))
    yield scene
    memory.dispose()


def say(scene: Scene, model: str, stage: str) -> None:
    """Through the plugin: the registry and its ledger row."""
    scene.registry.stage(model, 1, stage)
    with scene.database.begin() as connection:
        word = ledger.Event(verb="stage", subject=f"models:/{model}/1", actor="ds1", model=model, after=stage)
        ledger.append(connection, [word])


def remembered(scene: Scene) -> dict[tuple[str, str], attempts.Attempt]:
    with scene.database.connect() as connection:
        return attempts.known(connection)


def test_what_found_no_place_is_planned_anew(threads: Scene) -> None:
    """Two slow models take both places; the third's plan says "delete", then somebody moves it back."""
    say(threads, "c", "Production")
    threads.passes()
    say(threads, "c", "Archived")
    for slow in ("a", "b"):
        say(threads, slow, "Production")
    begun, end = threading.Semaphore(0), threading.Event()

    def apply_slowly(what: str) -> None:
        if what == "before apply":
            begun.release()
            end.wait(30)

    threads.targets["prod"].step = apply_slowly
    world = replace(threads.world, crew=Crew(2, patience_s=0.0))
    assert run_pass(world).left == frozenset(), "no place for it yet"
    assert world.crew.busy == {"a", "b"}
    assert begun.acquire(timeout=20)
    assert begun.acquire(timeout=20)
    say(threads, "c", "Production")
    threads.targets["prod"].step = lambda _: None
    end.set()
    until(lambda: not world.crew.full, "a place gets free")
    for _ in range(4):
        run_pass(world)
        world.crew.join()
    assert sorted(threads.serving("prod")) == ["a", "b", "c"]
    assert not [effect for effect in threads.targets["prod"].effects if effect.startswith("delete")]


@pytest.mark.parametrize("patience_s", [0.05, None])
def test_every_model_gets_its_place_at_once_however_many_wait_or_fail(threads: Scene, patience_s: float | None) -> None:
    for number in range(12):
        say(threads, f"m{number}", "Production")
        say(threads, f"n{number}", "Staging")
    threads.targets["prod"].failing["1"] = Failed("broken")
    controller = Controller(replace(threads.world, crew=Crew(2, patience_s)), Pace(interval_s=600, lease_s=60))
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        until(lambda: len(threads.serving("dev")) == 12, "nobody is kept from a place")
        until(lambda: len(remembered(threads)) == 12, "each is tried")
    finally:
        controller.stop()
        thread.join(30)


def test_once_and_alone_all_are_done(threads: Scene) -> None:
    for number in range(12):
        say(threads, f"m{number}", "Production")
    Controller(replace(threads.world, crew=Crew(2)), Pace(lease_s=60)).once()
    assert len(threads.serving("prod")) == 12


@pytest.mark.parametrize("moment", ["apply of another", "pin"])
def test_intent_that_moved_right_before_the_action_is_not_acted_on(threads: Scene, moment: str) -> None:
    say(threads, "b", "Staging")
    if moment == "pin":
        threads.registry.step = lambda what: _move_once(threads) if what == "pin" else None
    else:
        say(threads, "a", "Staging")
        threads.targets["dev"].step = lambda what: _move_once(threads) if what == "after apply" else None
    first = run_pass(threads.world)
    assert "b" not in threads.serving("dev")
    assert "b" in first.left, "the next pass comes at once"
    threads.passes()
    assert (threads.serving("dev").get("b"), threads.serving("prod")["b"]) == (None, "v1")
    assert (threads.rows("failed"), remembered(threads)) == ([], {}), "that is no failure"


def _move_once(scene: Scene) -> None:
    scene.registry.step = lambda _: None
    scene.targets["dev"].step = lambda _: None
    say(scene, "b", "Production")


def test_a_change_is_made_to_what_its_own_plan_saw(scene: Scene) -> None:
    seen: list[int | None] = []

    class Counting(MemoryTarget):
        generation = 7

        def observe(self) -> list[Running]:
            return [replace(one, generation=self.generation) for one in super().observe()]

        def apply(self, deployment: Deployment, seen_: Running | None) -> None:
            seen.append(seen_.generation if seen_ else None)
            super().apply(deployment, seen_)

        def delete(self, name: str, seen_: Running | None) -> None:
            seen.append(seen_.generation if seen_ else None)
            super().delete(name, seen_)

    target = scene.targets["dev"] = Counting(environment="dev")
    say(scene, "m", "Staging")
    scene.passes()
    scene.registry.stage("m", 2, "Staging")
    say(scene, "m", "Archived")

    def look_again(what: str) -> None:
        if what == "pin":
            target.generation = 9  # somebody changed it, and another pass looks while this one fetches
            target.observe()

    scene.registry.step = look_again
    run_pass(scene.world)
    assert seen == [None, 7]
    scene.registry.step = lambda _: None
    scene.registry.stage("m", 2, "Archived")
    scene.passes()
    assert seen == [None, 7, 9]


@pytest.mark.parametrize("moment", ["pin", "before apply", "after apply"])
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_who_was_overtaken_writes_nothing(scene: Scene, moment: str, *, fails: bool, before: bool) -> None:
    """Whatever verb: no pin, no failure, no row about what runs; and nothing in the memory of failures."""
    say(scene, "a", "Staging")
    if before:
        scene.targets["dev"].failing["1"] = Unavailable("no room")
        run_pass(scene.world)
        scene.clock.forward(1000)
        scene.targets["dev"].failing.clear()
        say(scene, "a", "Staging")
    there = remembered(scene)
    rows: list[int] = []

    def overtake(what: str) -> None:
        if what == moment and not rows:
            scene.acting += 1
            rows.append(len(scene.rows()))
            if fails:
                raise Unavailable("no room")

    scene.registry.step = scene.targets["dev"].step = overtake
    with pytest.raises(Fenced):
        run_pass(scene.world)
    assert rows == [len(scene.rows())], [row.verb for row in scene.rows()]
    assert remembered(scene) == there


def slow_target(scene: Scene, state: State = "launching") -> MemoryTarget:
    """Prod's target gives up waiting, and what it began comes true all the same."""

    class Slow(MemoryTarget):
        def apply(self, deployment: Deployment, seen: Running | None) -> None:
            super().apply(deployment, seen)
            one = self.deployments[deployment.name]
            self.deployments[deployment.name] = replace(one, state=state)
            raise Unavailable("deployment is not ready after 60 s and goes on trying")

    target = scene.targets["prod"] = Slow(environment="prod")
    return target


@pytest.mark.parametrize("state", ["launching", "healthy"])
@pytest.mark.parametrize("passes", [1, 3])
def test_what_became_healthy_after_its_try_is_the_controllers_own_work(scene: Scene, state: State, passes: int) -> None:
    target = slow_target(scene, state)
    say(scene, "m", "Production")
    for _ in range(passes):
        run_pass(scene.world)
    target.deployments["m"] = replace(target.deployments["m"], state="healthy")
    run_pass(scene.world)
    assert [row.actor for row in scene.rows("runs")] == ["hydraulic-controller"]
    run_pass(scene.world)
    assert remembered(scene) == {}, "and then it is forgotten"


def test_what_somebody_else_made_after_a_try_is_not_the_controllers(scene: Scene) -> None:
    target = slow_target(scene)
    say(scene, "m", "Production")
    run_pass(scene.world)
    one = replace(target.deployments["m"], state="healthy")
    other = replace(one.deployment, labels={"hydraulic.model": "m"})
    target.deployments["m"] = replace(one, deployment=other)
    run_pass(scene.world)
    assert [row.actor for row in scene.rows("runs")] == ["unknown"]


def test_an_error_of_one_job_loses_no_others_reason(threads: Scene) -> None:
    for name in ("a", "b"):
        say(threads, name, "Staging")
    world = replace(threads.world, crew=Crew(2))
    lost = [False]

    def lose(what: str) -> None:
        if what == "pin" and threading.current_thread().name.startswith("apply") and not lost[0]:
            lost[0] = True
            raise Fenced("the lease is lost")

    threads.registry.step = lose
    with pytest.raises(Fenced):
        run_pass(world)
    with suppress(Fenced):
        run_pass(world)
    run_pass(world)
    assert {(row.subject, row.actor) for row in threads.rows("runs")} == {
        ("dev/a", "hydraulic-controller"),
        ("dev/b", "hydraulic-controller"),
    }
    assert all(json.loads(row.after) for row in threads.rows("runs"))
