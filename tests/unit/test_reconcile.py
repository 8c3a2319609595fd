"""The pass: it converges whatever is killed wherever, records everything once, and holds what it cannot know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.pool import StaticPool

from mlflow_hydraulic.bindings import Environment, preset
from mlflow_hydraulic.deployment import State, deployment_name
from mlflow_hydraulic.errors import Failed, Unavailable
from mlflow_hydraulic.evidence import ledger, tables
from mlflow_hydraulic.evidence.running import composition, running_events
from mlflow_hydraulic.reconcile import look, run_pass
from mlflow_hydraulic.world import Fenced, Pass, World
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
    environments: tuple[Environment, ...] = STAGES
    acting: int = 0  # which controller holds the lease
    workspace: str = "default"

    def __post_init__(self) -> None:
        self.registry.workspace = self.workspace
        self.database = memory_database()
        sqlalchemy.event.listen(self.database, "commit", lambda _: self.commit())

    @property
    def world(self) -> World:
        """The world of a controller that takes the lease now."""
        self.acting += 1
        mine = self.acting

        def fence() -> None:
            if self.acting != mine:
                raise Fenced("another controller holds the lease")

        return World(
            registry=self.registry,
            environments=self.environments,
            targets=self.targets,
            database=self.database,
            clock=self.clock,
            fence=fence,
            workspace=self.workspace,
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


def test_a_failure_for_good_is_tried_again_after_any_word_about_its_model(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.targets["prod"].failing["1"] = Failed("broken")
    scene.passes()
    assert run_pass(scene.world).outcomes[0].result == "later"
    scene.targets["prod"].failing.clear()
    for stage in ("Archived", "Production"):  # within one pass: no state of the world tells of it, the ledger does
        word = ledger.Event(verb="stage", subject="models:/m/1", actor="ds1", model="m", after=stage)
        with scene.database.begin() as connection:
            ledger.append(connection, [word])
    scene.passes()
    assert scene.serving("prod") == {"m": "v1"}


def test_a_failure_for_good_is_tried_again_when_its_target_is_configured_otherwise(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.targets["prod"].failing["1"] = Failed("ImagePullBackOff")
    scene.passes()
    assert run_pass(scene.world).outcomes[0].result == "later"
    scene.targets["prod"].failing.clear()
    dev, prod = STAGES
    scene.environments = (dev, replace(prod, kubernetes={"image": "the:right"}))
    scene.passes()
    assert scene.serving("prod") == {"m": "v1"}


def test_a_failure_is_forgotten_when_nobody_wants_it_any_more(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.targets["prod"].failing["1"] = Failed("broken")
    scene.passes()
    scene.registry.stage("m", 1, "Archived")
    scene.passes()
    with scene.database.connect() as connection:
        assert connection.execute(text("select count(*) from hydraulic_attempts")).scalar() == 0


def test_a_failure_is_told_once_and_again_when_it_becomes_final(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    for cause in (Unavailable("port 1"), Unavailable("port 2"), Unavailable("port 3"), Failed("its graph is broken")):
        scene.targets["prod"].failing["1"] = cause
        scene.clock.forward(1000)
        run_pass(scene.world)
    assert [row.reason.split(" (")[0] for row in scene.rows("failed")] == ["port 1", "its graph is broken"]


def test_an_unforeseen_error_of_one_model_is_its_own(scene: Scene) -> None:
    scene.registry.stage("a", 1, "Production")
    scene.registry.stage("b", 2, "Production")
    scene.targets["prod"].failing["1"] = ValueError("not one of ours")  # type: ignore[assignment]
    scene.passes()
    assert scene.serving("prod") == {"b": "v2"}
    assert "not one of ours" in scene.rows("failed")[0].reason


def test_a_deployment_that_somebody_ended_or_changed_comes_back_and_is_on_record(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.passes()
    del scene.targets["prod"].deployments["m"]
    scene.passes()
    scene.targets["prod"].deployments["m"] = running("prod", (2, 100))
    scene.passes()
    assert scene.serving("prod") == {"m": "v1"}
    told = [
        (row.actor, json.loads(row.after) and json.loads(row.after)["predictors"][0]["version"]) for row in _runs(scene)
    ]
    assert told == [
        ("hydraulic-controller", "1"),
        ("unknown", None),
        ("hydraulic-controller", "1"),
        ("unknown", "2"),
        ("hydraulic-controller", "1"),
    ]


def _runs(scene: Scene) -> list[ledger.Row]:
    return scene.rows("runs")


def test_a_change_made_while_the_registry_is_read_is_not_taken_for_one_behind_our_back(scene: Scene) -> None:
    scene.registry.stage("m", 1, "None")
    scene.passes()

    def meanwhile(_: str) -> None:
        """After this pass's read: a person moves the version, through the plugin."""
        scene.targets["dev"].step = lambda _: None
        word = ledger.Event(verb="stage", subject="models:/m/1", actor="ds1", model="m", before="None", after="Staging")
        with scene.database.begin() as connection:
            ledger.append(connection, [word])

    scene.targets["dev"].step = meanwhile
    run_pass(scene.world)
    scene.registry.stage("m", 1, "Staging")
    scene.passes()
    assert [row.actor for row in scene.rows("stage")] == ["ds1"]


def test_what_other_workspaces_hold_is_not_taken_for_gone(scene: Scene) -> None:
    word = ledger.Event(verb="stage", subject="models:/x/1", actor="ds1", model="x", after="Staging", workspace="other")
    with scene.database.begin() as connection:
        ledger.append(connection, [word])
    scene.passes()
    assert len(scene.rows("stage")) == 1


def test_a_problem_is_shown_on_the_versions_that_it_concerns(scene: Scene) -> None:
    scene.registry.stage("m", 1, "Production")
    scene.registry.stage("m", 2, "Production")
    scene.registry.stage("m", 3, "Archived")
    scene.passes()
    shown = [version.tags.get("hydraulic.prod.problem", "") for version in scene.registry.models["m"].versions]
    assert ["all but one" in text for text in shown] == [True, True, False]
    scene.registry.stage("m", 1, "Archived")
    scene.targets["prod"].failing["2"] = Failed("does not load")
    scene.passes()
    shown = [version.tags.get("hydraulic.prod.problem", "") for version in scene.registry.models["m"].versions]
    assert shown == ["", "does not load", ""]


def test_intent_that_was_lost_is_shown_on_what_serves(scene: Scene) -> None:
    scene.environments = preset("aliases")
    scene.registry.stage("m", 1, "None")
    scene.registry.stage("m", 2, "None")
    scene.registry.stage("m", 3, "None")
    scene.registry.alias("m", "champion", 1)
    scene.registry.alias("m", "challenger", 2)
    scene.passes()
    scene.registry.alias("m", "champion", None)
    scene.registry.alias("m", "challenger", None)
    scene.passes()
    tags = [version.tags for version in scene.registry.models["m"].versions]
    assert [tag.get("hydraulic.prod.state") for tag in tags] == ["healthy", "healthy", None]
    shown = ["no alias of alias:champion is set" in tag.get("hydraulic.prod.problem", "") for tag in tags]
    assert shown == [True, True, False]
    scene.registry.alias("m", "champion", 1)
    scene.passes()
    assert "hydraulic.prod.problem" not in scene.registry.models["m"].versions[0].tags


def test_nothing_ends_in_a_pass_in_which_another_change_of_its_model_failed(scene: Scene) -> None:
    dev, prod = STAGES
    scene.environments = (dev, replace(prod, promotes_from=""))
    scene.registry.stage("m", 1, "Staging")
    scene.passes()
    scene.registry.stage("m", 1, "Archived")
    scene.registry.stage("m", 2, "Production")
    scene.targets["prod"].failing["2"] = Failed("does not load")
    assert [outcome.result for outcome in run_pass(scene.world).outcomes] == ["failed", "later"]
    assert scene.serving("dev") == {"m": "v1"}
    tags = [version.tags.get("hydraulic.prod.problem", "") for version in scene.registry.models["m"].versions]
    assert tags == ["", "does not load"], "the failure is shown all the same"
    scene.passes()
    assert scene.serving("dev") == {}, "an archived version ends, whatever waits elsewhere"


def test_two_workspaces_on_one_target_leave_each_other_alone(scene: Scene) -> None:
    team = Scene(targets=scene.targets, workspace="team")
    scene.registry.stage("cooler", 1, "Production")
    team.registry.stage("cooler", 1, "Archived")
    scene.passes()
    team.passes()
    assert scene.serving("prod") == {"cooler": "v1"}, "team's pass ends what is another workspace's"
    team.registry.stage("cooler", 2, "Production")
    name = deployment_name("cooler", "team")
    for _ in range(2):
        scene.passes()
        team.passes()
        assert scene.serving("prod") == {"cooler": "v1", name: "v2"}
    effects = ["apply cooler ['1']", f"apply {name} ['2']"]
    assert scene.targets["prod"].effects == effects, "neither flips what the other serves"
    told = [row.subject for rows in (scene.rows("runs"), team.rows("runs")) for row in rows]
    assert told == ["prod/cooler", f"prod/{name}"], "each records its own"
    shown = team.registry.models["cooler"].versions
    assert [version.tags.get("hydraulic.prod.state") for version in shown] == [None, "healthy"]
    team.registry.stage("cooler", 2, "Archived")
    team.passes()
    assert scene.serving("prod") == {"cooler": "v1"}
    team.database.dispose()


def test_a_name_that_another_workspace_took_is_held(scene: Scene) -> None:
    team = Scene(targets=scene.targets, workspace="team")
    name = deployment_name("cooler", "team")
    scene.registry.stage(name, 1, "Production")
    scene.passes()
    team.registry.stage("cooler", 2, "Production")
    team.passes()
    assert scene.serving("prod") == {name: "v1"}
    problem = team.registry.models["cooler"].versions[0].tags["hydraulic.prod.problem"]
    assert "in workspace 'default' and is not touched" in problem
    team.database.dispose()


def test_nothing_to_do_is_two_looks_and_not_one_write(scene: Scene) -> None:
    for number in range(30):
        scene.registry.stage(f"m{number}", 1, "Production")
    scene.passes()
    statements: list[str] = []
    sqlalchemy.event.listen(scene.database, "before_cursor_execute", lambda *args: statements.append(args[2]))
    reads = scene.registry.reads
    run_pass(scene.world)
    assert scene.registry.reads == reads + 1
    assert all(statement.lstrip().upper().startswith("SELECT") for statement in statements), statements
    assert len(statements) < 10, "however many models there are"


NAMES, NUMBERS = st.sampled_from(["a", "b"]), st.integers(1, 3)
STAGE_MOVES = st.tuples(
    st.just("stage"),
    NAMES,
    NUMBERS,
    st.sampled_from(["None", "Staging", "Production", "Archived"]),
    st.sampled_from(["", "40", "60"]),
)
ALIAS_MOVES = st.tuples(
    st.just("alias"),
    NAMES,
    st.one_of(st.none(), NUMBERS),
    st.sampled_from(["champion", "challenger", "dev"]),
    st.just(""),
)
FAULTS = st.tuples(
    st.just("fault"), st.sampled_from(["dev", "prod"]), NUMBERS, st.sampled_from(["apply", "away"]), st.just("")
)
MOVES = st.lists(st.one_of(STAGE_MOVES, STAGE_MOVES, ALIAS_MOVES, FAULTS), min_size=1, max_size=4)
Moves = list[tuple[str, str, "int | None", str, str]]
TROUBLE = st.lists(st.tuples(st.sampled_from(["killed", "overtaken"]), st.integers(0, 20)), max_size=4)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_who_was_overtaken_acts_no_more(scene: Scene, step: int) -> None:
    scene.registry.stage("a", 1, "Staging")
    effects: list[int] = []
    _overtake_at(scene, step, effects)
    with pytest.raises(Unavailable, match="another controller"):
        run_pass(scene.world)
    assert effects == [_effects(scene)]
    _kill_at(scene, None)
    scene.passes()
    assert scene.serving("dev") == {}


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rounds=st.lists(st.tuples(MOVES, TROUBLE), min_size=1, max_size=3),
    bindings=st.sampled_from(["stages", "both"]),
    promotes=st.booleans(),
)
def test_killed_or_overtaken_anywhere_the_next_pass_converges(
    rounds: list[tuple[Moves, list[tuple[str, int]]]], bindings: str, *, promotes: bool
) -> None:
    """Kill passes at random steps, let another controller run in the middle of them: nothing is lost or doubled."""
    dev, prod = preset(bindings)
    scene = Scene(environments=(dev, prod if promotes else replace(prod, promotes_from="")))
    try:
        for moves, troubles in rounds:
            for move in moves:
                _make(scene, *move)
            for kind, step in troubles:
                scene.clock.forward(1000)
                effects: list[int] = []  # of all controllers, when another had taken over
                _kill_at(scene, step) if kind == "killed" else _overtake_at(scene, step, effects)
                with suppress(Killed, Unavailable):
                    run_pass(scene.world)
                assert effects in ([], [_effects(scene)]), "who was overtaken still acted"
            _kill_at(scene, None)
            for target in scene.targets.values():
                target.failing.clear()
                target.away = None
            scene.passes()
            _check_converged(scene)
    finally:
        scene.database.dispose()


def _make(scene: Scene, kind: str, name: str, number: int | None, what: str, weight: str) -> None:
    if kind == "alias":
        known = scene.registry.models.get(name)
        scene.registry.alias(name, what, number if known and number and known.version(number) else None)
    elif kind == "stage" and number:
        scene.registry.stage(name, number, what, **({"weight": weight} if weight else {}))
    elif what == "apply":
        scene.targets[name].failing[str(number)] = Unavailable("no room")
    else:
        scene.targets[name].away = Unavailable("no answer")


def _overtake_at(scene: Scene, step: int, effects: list[int]) -> None:
    """Let a person move something, and another controller take over, at the `step`th thing that the next pass does.

    Not between the fence and the target's own change: there the target's generation decides, see `LocalEnvironment`.
    """
    left = [step]

    def count(what: str) -> None:
        if what in ("before apply", "before delete"):
            return
        left[0] -= 1
        if left[0] == -1:
            scene.registry.stage("a", 1, "Production" if step % 2 else "Archived")
            with suppress(Unavailable):
                run_pass(scene.world)
            effects.append(_effects(scene))

    scene.registry.step = count
    scene.commit = lambda: None
    for target in scene.targets.values():
        target.step = count


def _effects(scene: Scene) -> int:
    return sum(len(target.effects) for target in scene.targets.values())


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
    said = {row.subject: json.loads(row.after) for row in scene.rows("alias")}
    aliases = {f"models:/{m.name}@{alias}": n for m in scene.registry.models.values() for alias, n in m.aliases.items()}
    assert {subject: number for subject, number in said.items() if number is not None} == aliases
    told = {row.subject: json.loads(row.after) for row in scene.rows("stage")}
    stages = {v.uri: v.stage for model in scene.registry.models.values() for v in model.versions}
    assert {uri: told.get(uri, "None") for uri in stages} == stages
