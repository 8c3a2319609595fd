"""The controller's loop: woken by people, not by itself; awake when a failure is due; still once its lease is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, text

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.controller import Controller, Pace
from mlflow_hydraulic.crew import Crew
from mlflow_hydraulic.errors import Conflict, Failed, Unavailable
from mlflow_hydraulic.evidence import attempts, database, lease, ledger, tables
from mlflow_hydraulic.world import World
from tests.support.local import until
from tests.unit.worlds import MemoryRegistry, MemoryTarget

SLOW = Pace(interval_s=600.0, lease_s=30.0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = database.open_database(f"sqlite:///{tmp_path / 'evidence.db'}")
    tables.metadata.create_all(made)
    with made.begin() as connection:
        connection.execute(tables.ledger_head.insert().values(id=1, seq=0, hash=ledger.GENESIS))
    yield made
    made.dispose()


@pytest.fixture
def world(engine: Engine) -> World:
    environments = preset("stages")
    targets = {env.name: MemoryTarget(environment=env.name) for env in environments}
    return World(registry=MemoryRegistry(), environments=environments, targets=targets, database=engine)


def say(world: World, model: str, stage: str) -> None:
    """Move version 1 through the plugin: the registry and its ledger row."""
    assert isinstance(world.registry, MemoryRegistry)
    world.registry.stage(model, 1, stage)
    word = ledger.Event(verb="stage", subject=f"models:/{model}/1", actor="ds1", model=model, after=stage)
    with world.database.begin() as connection:
        ledger.append(connection, [word])


def reads(world: World) -> int:
    assert isinstance(world.registry, MemoryRegistry)
    return world.registry.reads


def target(world: World, environment: str) -> MemoryTarget:
    found = world.targets[environment]
    assert isinstance(found, MemoryTarget)
    return found


@contextmanager
def acting(world: World, pace: Pace = SLOW) -> Iterator[Controller]:
    controller = Controller(world, pace)
    thread = threading.Thread(target=controller.run)
    thread.start()
    try:
        yield controller
    finally:
        controller.stop()
        thread.join(30)
        assert not thread.is_alive()


def test_a_change_wakes_it_at_once_and_its_own_rows_do_not(world: World) -> None:
    with acting(world):
        until(lambda: reads(world) >= 1, "the first pass")
        say(world, "m", "Staging")
        until(lambda: target(world, "dev").deployments, "woken")
        until(lambda: reads(world) >= 3, "the pass that acts, and the one that finds no more")
        settled = reads(world)
        with world.database.connect() as connection:
            assert ledger.verify(connection).rows >= 3, "it wrote rows of its own"
        waited = threading.Event()
        assert not waited.wait(0.5)  # five looks at the ledger
        assert reads(world) == settled


def test_a_change_in_the_middle_of_a_pass_is_not_missed(world: World) -> None:
    def meanwhile(what: str) -> None:
        if what == "observe":
            target(world, "prod").step = lambda _: None
            say(world, "m", "Staging")

    target(world, "prod").step = meanwhile
    with acting(world):
        until(lambda: target(world, "dev").deployments, "long before the interval is over", 20)


def test_a_failure_that_may_pass_is_tried_again_when_it_is_due(world: World) -> None:
    target(world, "dev").failing["1"] = Unavailable("no room")
    with acting(world):
        say(world, "m", "Staging")
        until(lambda: _failures(world), "it fails")
        target(world, "dev").failing.clear()
        until(lambda: target(world, "dev").deployments, "tried again by itself", 20)


def _failures(world: World) -> int:
    with world.database.connect() as connection:
        return len(attempts.known(connection))


def test_a_slow_model_keeps_no_other_waiting(world: World) -> None:
    end = threading.Event()

    def slow(what: str) -> None:
        if what == "before apply" and threading.current_thread().name.startswith("apply"):
            target(world, "dev").step = lambda _: None
            end.wait(30)

    target(world, "dev").step = slow
    with acting(replace(world, crew=Crew(2, patience_s=0.1))):
        say(world, "slow", "Staging")
        until(lambda: target(world, "dev").step != slow, "the slow one is under way")
        say(world, "quick", "Staging")
        until(lambda: "quick" in target(world, "dev").deployments, "the quick one serves meanwhile", 20)
        assert "slow" not in target(world, "dev").deployments
        end.set()
        until(lambda: "slow" in target(world, "dev").deployments, "and the slow one in its time", 20)


def test_stopping_records_what_was_under_way_and_begins_nothing_new(world: World) -> None:
    begun, end = threading.Event(), threading.Event()

    def slow(what: str) -> None:
        if what == "before apply":
            begun.set()
            end.wait(30)

    target(world, "dev").step = slow
    with acting(replace(world, crew=Crew(2, patience_s=0.1))) as controller:
        say(world, "m", "Staging")
        assert begun.wait(20)
        controller.stop()
        end.set()
    with world.database.connect() as connection:
        runs = [row for row in ledger.rows(connection) if row.verb == "runs"]
    assert [(row.subject, row.actor) for row in runs] == [("dev/m", "hydraulic-controller")]
    assert lease.current(world.database, name=lease.CONTROLLER_LEASE) is None, "given back"


def test_a_lease_that_was_taken_away_stops_the_pass_before_its_next_action(world: World) -> None:
    for name in ("a", "b"):
        say(world, name, "Staging")

    def robbed(what: str) -> None:
        if what == "after apply":
            with world.database.begin() as connection:
                connection.execute(text("update hydraulic_lease set holder = 'another', until = '9'"))

    target(world, "dev").step = robbed
    controller = Controller(world, Pace(interval_s=600, lease_s=0.3))

    def late(what: str) -> None:
        robbed(what)
        if what == "after apply":
            until(lambda: controller._over() or controller._lost.is_set(), "the lease is over")

    target(world, "dev").step = late
    with pytest.raises(Unavailable, match="lease was lost"):
        controller.once()
    assert list(target(world, "dev").deployments) == ["a"]
    with world.database.connect() as connection:
        assert [row.verb for row in ledger.rows(connection) if row.verb == "runs"] == []


def test_another_that_holds_the_lease_is_named(world: World) -> None:
    lease.take(world.database, name="controller", holder="that one", now=utc_now(), length=timedelta(seconds=60))
    with pytest.raises(Conflict, match="that one"):
        Controller(world, SLOW).once()


def test_without_the_database_it_says_so_and_waits(world: World, caplog: pytest.LogCaptureFixture) -> None:
    away = replace(world, database=sqlalchemy.create_engine("sqlite:////no/such/folder/x.db"))
    with pytest.raises(Unavailable, match="database does not answer"):
        Controller(away, SLOW).once()
    with acting(away):
        until(lambda: "no lease while the database is away" in caplog.text, "it says so")
    assert caplog.text.count("no lease while") == 1


def test_what_waits_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    target(world, "dev").failing["1"] = Failed("its graph is broken")
    say(world, "m", "Staging")
    with acting(world, Pace(interval_s=0.1, lease_s=30)):
        until(lambda: reads(world) > 6, "some passes")
    assert caplog.text.count("its graph is broken") == 1


def test_a_standby_says_once_who_acts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "hydraulic.controller")
    asked = []
    waits = Controller(world, Pace(interval_s=600, lease_s=0.3))
    held_by = waits._held_by_another
    waits._held_by_another = lambda: asked.append(1) or held_by()  # type: ignore[method-assign,func-returns-value]

    def renew(length_s: float) -> None:
        length = timedelta(seconds=length_s)
        lease.take(world.database, name="controller", holder="that one", now=utc_now(), length=length)

    renew(60)
    thread = threading.Thread(target=waits.run)
    thread.start()
    try:
        for renewal in range(1, 4):
            until(lambda least=renewal: len(asked) > 2 * least, "another look")  # type: ignore[misc]
            renew(60 * (renewal + 1))
    finally:
        waits.stop()
        thread.join(30)
    assert caplog.text.count("that one; waiting") == 1


def test_what_ended_does_not_shorten_the_wait_after_an_error(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The registry is away, and the result of a job lies ready to be handed back."""
    begun, end = threading.Event(), threading.Event()

    def slow(what: str) -> None:
        if what == "before apply":
            begun.set()
            end.wait(30)

    target(world, "dev").step = slow
    crewed = replace(world, crew=Crew(2, patience_s=0.0))
    with acting(crewed, Pace(interval_s=600, lease_s=30)):
        say(world, "m", "Staging")
        assert begun.wait(20)
        assert isinstance(world.registry, MemoryRegistry)
        world.registry.away = Unavailable("no answer")
        end.set()
        until(lambda: crewed.crew.waits_for_us and "ended early" in caplog.text, "an error with a result at hand")
        waited = threading.Event()
        assert not waited.wait(1.0)  # ten looks
        assert caplog.text.count("ended early") == 1
        world.registry.away = None
