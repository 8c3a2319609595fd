"""The pass: it converges whatever is killed wherever, records everything once, and holds what it cannot know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.pool import StaticPool

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.deployment import State
from mlflow_hydraulic.errors import Failed, Unavailable
from mlflow_hydraulic.evidence import ledger, tables
from mlflow_hydraulic.evidence.running import composition, running_events
from mlflow_hydraulic.reconcile import look, run_pass
from mlflow_hydraulic.world import Pass, World
from tests.unit.worlds import Clock, MemoryRegistry, MemoryTarget, running

STAGES = preset("stages")


class Killed(BaseException):
    """Ends a pass as a kill would: nothing catches it, the database's transaction is rolled back."""


@dataclass
class Scene:
    """A world in memory, and what tests ask of it."""

    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    targets: dict[str, MemoryTarget] = field(
        default_factory=lambda: {env.name: MemoryTarget(environment=env.name) for env in STAGES}
    )
    clock: Clock = field(default_factory=Clock)
    database: Engine = field(init=False)
    commit: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.database = memory_database()
        sqlalchemy.event.listen(self.database, "commit", lambda _: self.commit())

    @property
    def world(self) -> World:
        return World(
            registry=self.registry,
            environments=STAGES,
            targets=self.targets,
            database=self.database,
            clock=self.clock,
        )

    def passes(self, most: int = 8) -> list[Pass]:
        """Passes until one does nothing."""
        done: list[Pass] = []
        for _ in range(most):
            self.clock.forward(1000)
            done.append(run_pass(self.world))
            if not done[-1].progressed:
                return done
        raise AssertionError(f"no rest after {most} passes: {done[-1].outcomes}")

    def serving(self, environment: str) -> dict[str, str]:
        return {name: str(one.wanted) for name, one in self.targets[environment].deployments.items()}

    def rows(self, *verbs: str) -> list[ledger.Row]:
        with self.database.connect() as connection:
            return [row for row in ledger.rows(connection) if not verbs or row.verb in verbs]


def memory_database() -> Engine:
    engine = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(tables.ledger_head.insert().values(id=1, seq=0, hash=ledger.GENESIS))
    return engine


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.database.dispose()


def test_staging_serves_in_dev_production_in_prod_and_archived_ends(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Staging")
    scene.passes()
    assert (scene.serving("dev"), scene.serving("prod")) == ({"m": "v1"}, {})
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    assert (scene.serving("dev"), scene.serving("prod")) == ({}, {"m": "v1"})
    scene.registry.stage("m", 1, "Archived")
    scene.passes()
    assert (scene.serving("dev"), scene.serving("prod")) == ({}, {})
    runs = [(row.environment, json.loads(row.after) is not None) for row in scene.rows("runs")]
    assert runs == [("dev", True), ("prod", True), ("dev", False), ("prod", False)]


def test_a_second_pass_does_nothing_and_writes_nothing(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    rows, effects = len(scene.rows()), list(scene.targets["prod"].effects)
    assert not run_pass(scene.world).outcomes
    assert (len(scene.rows()), scene.targets["prod"].effects) == (rows, effects)


def test_one_model_that_fails_does_not_stop_the_others(scene: Scene) -> None:
    scene.registry.stage("a", 1, "Production")
    scene.registry.stage("b", 2, "Production")
    scene.targets["prod"].failing["1"] = Failed("its graph is broken")
    scene.passes()
    assert scene.serving("prod") == {"b": "v2"}
    assert "its graph is broken (waits for a change)" in scene.rows("failed")[0].reason


def test_a_permanent_failure_waits_for_a_change(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.targets["prod"].failing["1"] = Failed("broken")
    assert run_pass(scene.world).outcomes[0].result == "failed"
    scene.clock.forward(10**6)
    assert run_pass(scene.world).outcomes[0].result == "later"
    assert len(scene.rows("failed")) == 1
    scene.registry.stage("m", 1, "Archived")
    scene.registry.stage("m", 2, "Production")
    scene.passes()
    assert scene.serving("prod") == {"m": "v2"}


def test_a_passing_failure_is_tried_again_after_a_while(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.targets["prod"].failing["1"] = Unavailable("no room")
    assert run_pass(scene.world).outcomes[0].result == "failed"
    assert run_pass(scene.world).outcomes[0].result == "later"
    scene.targets["prod"].failing.clear()
    scene.clock.forward(3)
    assert run_pass(scene.world).outcomes[0].result == "done"


def test_a_bad_new_version_leaves_the_good_one_and_its_dev_deployment(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.registry.stage("m", 2, "Staging")
    scene.passes()
    scene.targets["prod"].failing["2"] = Failed("does not load")
    scene.registry.stage("m", 1, "Archived")
    scene.registry.stage("m", 2, "Production")
    scene.passes()
    assert (scene.serving("dev"), scene.serving("prod")) == ({"m": "v2"}, {"m": "v1"})


def test_what_serves_goes_on_when_the_registry_is_away(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    scene.registry.away = Unavailable("connection refused")
    with pytest.raises(Unavailable):
        run_pass(scene.world)
    assert scene.serving("prod") == {"m": "v1"}
    assert scene.targets["prod"].effects == ["apply m ['1']"]


def test_what_serves_goes_on_when_its_version_is_deleted(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    scene.registry.delete("m", 1)
    (held,) = scene.passes()
    assert scene.serving("prod") == {"m": "v1"}
    assert "deleted while it serves" in held.plan.actions[0].reason


def test_a_missing_artefact_keeps_what_serves(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    scene.registry.stage("m", 1, "Archived")
    scene.registry.stage("m", 2, "Production")
    scene.registry.missing.add("models:/m/2")
    scene.passes()
    assert scene.serving("prod") == {"m": "v1"}
    assert "artefact is missing" in scene.rows("failed")[0].reason


def test_an_artefact_that_is_not_what_it_was_is_never_served(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Staging")
    scene.passes()
    scene.registry.digests["models:/m/1"] = "f" * 64
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    assert (scene.serving("dev"), scene.serving("prod")) == ({"m": "v1"}, {})
    assert "was changed after registration" in scene.rows("failed")[0].reason


def test_a_target_that_is_away_is_seen_again_later_and_hinders_no_other(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    shown = dict(scene.registry.models["m"].versions[0].tags)
    scene.targets["prod"].away = Unavailable("no answer")
    scene.registry.stage("m", 1, "Archived")
    scene.registry.stage("m", 2, "Production")
    scene.registry.stage("n", 1, "Staging")
    scene.passes()
    assert (scene.serving("dev"), scene.serving("prod")) == ({"n": "v1"}, {"m": "v1"})
    assert scene.registry.models["m"].versions[0].tags == shown, "nobody knows what runs there: the tags stay"
    assert len(scene.rows("runs")) == 2, "and nothing is recorded as ended"
    with pytest.raises(Unavailable, match="no answer"):
        look(scene.world)
    scene.targets["prod"].away = None
    scene.passes()
    assert scene.serving("prod") == {"m": "v2"}


def test_changes_behind_our_back_are_written_down_as_unknown(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Staging")
    scene.registry.stage("m", 1, "Staging", weight="5")
    scene.passes()
    told = [(row.verb, row.actor, json.loads(row.before), json.loads(row.after)) for row in scene.rows("stage", "tag")]
    assert told == [("stage", "unknown", "None", "Staging"), ("tag", "unknown", None, "5")]
    scene.registry.delete("m", 1)
    scene.passes()
    gone = [(row.subject, json.loads(row.after)) for row in scene.rows("stage", "tag")[2:]]
    assert sorted(gone) == [("models:/m/1", None), ("models:/m/1#hydraulic.weight", None)]
    scene.passes()
    assert len(scene.rows("stage", "tag")) == 4


def test_only_what_was_seen_healthy_has_run() -> None:
    states: tuple[State, ...] = ("failed", "launching", "unhealthy", "healthy")
    shown = {state: running("prod", (2, 100), state=state) for state in states}
    before = {"prod/m": composition(running("prod", (1, 100)))}
    for state, one in shown.items():
        told = [event.after for event in running_events([one], before, {})]
        assert told == ([composition(one)] if state == "healthy" else [])
    assert running_events([shown["failed"]], {}, {}) == []


def test_the_version_shows_what_runs_and_nothing_once_it_ended(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    shown = scene.registry.models["m"].versions[0].tags
    assert shown == {"hydraulic.prod.state": "healthy", "hydraulic.prod.endpoint": "http://prod"}
    scene.registry.stage("m", 1, "Archived")
    scene.passes()
    assert scene.registry.models["m"].versions[0].tags == {}


def test_looking_changes_nothing(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    assert [action.kind for action in look(scene.world).changes] == ["create"]
    assert (scene.serving("prod"), scene.rows()) == ({}, [])


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(1, 3),
        st.sampled_from(["None", "Staging", "Production", "Archived"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rounds=st.lists(st.tuples(MOVES, st.lists(st.integers(0, 30), max_size=3)), min_size=1, max_size=3))
def test_killed_anywhere_the_next_pass_converges(
    rounds: list[tuple[list[tuple[str, int, str]], list[int]]],
) -> None:
    """Kill at random steps of random passes, then let it run: nothing lost, nothing doubled."""
    scene = Scene()
    try:
        for moves, kills in rounds:
            for name, number, stage in moves:
                scene.registry.stage(name, number, stage)
            for kill in kills:
                _kill_at(scene, kill)
                scene.clock.forward(1000)
                with suppress(Killed):
                    run_pass(scene.world)
            _kill_at(scene, None)
            scene.passes()
            _check_converged(scene)
    finally:
        scene.database.dispose()


def _kill_at(scene: Scene, step: int | None) -> None:
    """Let the `step`th thing that the next passes do be their last; None lets them live."""
    left = [step]

    def count(_: str) -> None:
        if left[0] is not None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1

    scene.registry.step = count
    scene.commit = lambda: count("commit")
    for target in scene.targets.values():
        target.step = count


def _check_converged(scene: Scene) -> None:
    with scene.database.connect() as connection:
        assert ledger.verify(connection).holds
        assert connection.execute(text("select count(*) from hydraulic_attempts")).scalar() == 0
    last: dict[str, object] = {}
    for row in scene.rows("runs"):
        before, after = json.loads(row.before), json.loads(row.after)
        assert before == last.get(row.subject), "a row was lost"
        assert before != after, "a row was doubled"
        last[row.subject] = after
    now = {
        f"{env}/{name}": composition(one)
        for env, target in scene.targets.items()
        for name, one in target.deployments.items()
    }
    assert {subject: after for subject, after in last.items() if after is not None} == now
    told = {row.subject: json.loads(row.after) for row in scene.rows("stage")}
    stages = {v.uri: v.stage for model in scene.registry.models.values() for v in model.versions}
    assert {uri: told.get(uri, "None") for uri in stages} == stages
