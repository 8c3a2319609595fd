"""Canaries in passes of the controller: steps, checks, people's words, and what the ledger tells."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.evidence import ledger, queries
from mlflow_hydraulic.reconcile import look
from tests.unit.canaries import Callers, begin, environments, go, move, phases
from tests.unit.test_reconcile import Scene

PROD = "hydraulic.prod"


@pytest.fixture
def scene() -> Iterator[Scene]:
    """v1 serves in prod, v2 has taken its stage."""
    made = Scene(environments=environments())
    begin(made)
    yield made
    made.database.dispose()


def say(scene: Scene, word: str, version: int = 2) -> None:
    scene.registry.stage("m", version, scene.registry.models["m"].version(version).stage, canary=word)  # type: ignore[union-attr]  # it is there


def tags(scene: Scene, version: int) -> dict[str, str]:
    found = scene.registry.models["m"].version(version)
    assert found
    return {key.removeprefix("hydraulic.prod."): tag for key, tag in found.tags.items() if key.startswith(PROD)}


def test_a_good_version_walks_to_all_callers(scene: Scene) -> None:
    callers = Callers(scene)
    seen = []
    for _ in range(5):
        go(scene, callers)
        seen.append(scene.serving("prod")["m"])
    assert seen == ["v1 95%/v2 5%", "v1 75%/v2 25%", "v1 50%/v2 50%", "v2", "v2"]
    assert phases(scene) == [
        ("begin", 5),
        ("mark", 5),
        ("step", 25),
        ("mark", 25),
        ("step", 50),
        ("mark", 50),
        ("done", 100),
    ]
    assert all(row.actor == "hydraulic-controller" for row in scene.rows("canary"))
    told = [row.reason for row in scene.rows("runs")]
    assert "25 % was good: 250 requests, error rate 0 %, p99 99 ms" in told[-2]
    assert tags(scene, 2) == {"state": "healthy", "endpoint": "http://prod"}
    with scene.database.connect() as connection:
        assert [str(one) for one in queries.ran(connection, "m", "prod")] == ["v1", "v2"], "no step is gone back to"


def test_what_it_waits_for_is_told_and_nothing_is_written_meanwhile(scene: Scene) -> None:
    callers = Callers(scene)
    go(scene, callers)
    rows = len(scene.rows())
    done = go(scene, callers, requests=100, seconds=10)
    (line,) = done.plan.actions
    assert (line.kind, line.concerns, done.stepping) == ("wait", 2, True)
    assert "canary step 1 of 4: v2 5 % (v1 95 %), 5 requests, error rate 0 %" in line.reason
    assert "waits for 50 s more and 5 requests more" in line.reason
    assert look(scene.world, lambda: scene.database).actions[0].kind in {"wait", "update"}, "by the real clock"
    assert len(scene.rows()) == rows
    assert tags(scene, 2)["canary"] == "step 1 of 4: 5 %"
    assert "problem" not in tags(scene, 1)


def test_a_bad_version_goes_back_and_is_not_tried_again_until_somebody_says_so(scene: Scene) -> None:
    callers = Callers(scene, bad={2})
    go(scene, callers)
    go(scene, callers, requests=100, seconds=1)
    assert scene.serving("prod") == {"m": "v1"}
    assert "5 of 5 requests failed" in scene.rows("canary")[-1].reason
    for _ in range(3):
        (held,) = go(scene, callers).plan.actions
        assert (held.kind, "hydraulic canary retry" in held.reason) == ("hold", True)
    assert tags(scene, 2)["canary"].startswith("rolled back: 5 of 5 requests failed")
    assert "was rolled back to v1" in tags(scene, 2)["problem"]
    assert tags(scene, 1) == {"state": "healthy", "endpoint": "http://prod"}
    scene.targets["prod"].deployments.clear()
    go(scene, callers)
    assert scene.serving("prod") == {"m": "v1"}, "lost, it comes back as what is good"
    callers.bad.clear()
    say(scene, "retry in prod (1)")
    go(scene, callers, requests=0)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}
    callers.bad.add(2)
    go(scene, callers)
    assert scene.serving("prod") == {"m": "v1"}
    go(scene, callers)
    scene.registry.stage("m", 2, "Staging")
    go(scene)
    assert scene.serving("prod") == {"m": "v1"}, "v1 was archived for v2: no word to end it"
    move(scene, 2)
    go(scene)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}, "a new transition is a new try"


def test_a_version_that_does_not_start_goes_back_when_patience_ends(scene: Scene) -> None:
    callers = Callers(scene)
    scene.targets["prod"].failing["2"] = Unavailable("no room for it\n" + "log " * 1000)
    go(scene, callers)
    for _ in range(9):
        go(scene, callers)
    assert phases(scene) == [("begin", 5)], "600 s of patience are not over"
    assert scene.serving("prod") == {"m": "v1"}
    go(scene, callers)
    (held,) = go(scene, callers).plan.actions
    assert phases(scene)[1:] == [("back", 0)]
    assert (held.kind, "does not come to 5 %" in held.reason, "no room for it" in held.reason) == ("hold", True, True)
    assert len(scene.rows("canary")[-1].reason) < 600
    assert scene.serving("prod") == {"m": "v1"}
    say(scene, "retry in prod (1)")
    scene.targets["prod"].failing.clear()
    go(scene, callers)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}


def test_people_end_it_at_any_step(scene: Scene) -> None:
    callers = Callers(scene)
    go(scene, callers)
    say(scene, "abort in dev")
    go(scene)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}, "not this environment"
    say(scene, "abort")
    go(scene)
    assert scene.serving("prod") == {"m": "v1"}
    assert scene.rows("canary")[-1].reason.startswith("aborted by unknown")
    say(scene, "retry")
    go(scene)
    say(scene, "promote")
    go(scene)
    assert scene.serving("prod") == {"m": "v2"}


def test_a_move_back_and_an_archived_version_win_at_once(scene: Scene) -> None:
    callers = Callers(scene)
    go(scene, callers)
    move(scene, 1)
    go(scene)
    assert scene.serving("prod") == {"m": "v1"}
    move(scene, 2)
    go(scene)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}
    scene.registry.stage("m", 2, "Archived")
    go(scene)
    go(scene)
    assert scene.serving("prod") == {"m": "v1"}
    scene.registry.stage("m", 1, "Production")
    go(scene)
    scene.registry.stage("m", 1, "Archived")
    go(scene)
    assert scene.serving("prod") == {}, "a word about v1 itself ends it"


def test_the_old_version_archived_during_the_canary_leaves_at_once() -> None:
    scene = Scene(environments=environments(bindings="aliases"))
    scene.registry.stage("m", 1, "None")
    scene.registry.stage("m", 2, "None")
    scene.registry.alias("m", "champion", 1)
    scene.passes()
    scene.registry.alias("m", "champion", 2)
    go(scene)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}
    scene.registry.alias("m", "champion", None)
    go(scene)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}, "a lost alias is no word"
    scene.registry.alias("m", "champion", 2)
    go(scene)
    scene.registry.stage("m", 1, "Archived")
    go(scene)
    assert scene.serving("prod") == {"m": "v2"}
    scene.database.dispose()


def test_a_third_version_begins_from_the_one_that_served(scene: Scene) -> None:
    callers = Callers(scene)
    go(scene, callers)
    go(scene, callers)
    move(scene, 3)
    go(scene, callers)
    assert scene.serving("prod") == {"m": "v1 95%/v3 5%"}


def test_a_split_and_a_challenger_are_no_canary(scene: Scene) -> None:
    go(scene)
    scene.registry.alias("m", "challenger", 1)
    go(scene)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}, "v1 answers: it is no shadow as well"
    assert scene.rows("failed") == []
    scene.registry.stage("m", 1, "Production", weight="40")
    scene.registry.stage("m", 2, "Production", weight="60")
    scene.registry.alias("m", "challenger", None)
    go(scene)
    assert scene.serving("prod") == {"m": "v1 40%/v2 60%"}
    assert phases(scene)[-1] == ("over", 5)
    scene.registry.stage("m", 1, "Archived")
    go(scene)
    assert scene.serving("prod") == {"m": "v2"}, "it has had its callers"


def test_dev_keeps_a_version_until_its_canary_is_through() -> None:
    scene = Scene(environments=environments())
    scene.registry.stage("m", 1, "Production")
    scene.registry.stage("m", 2, "Staging")
    scene.passes()
    callers = Callers(scene)
    move(scene, 2)
    for _ in range(3):
        go(scene, callers)
        assert scene.serving("dev") == {"m": "v2"}
    for _ in range(3):
        go(scene, callers)
    assert (scene.serving("dev"), scene.serving("prod")) == ({}, {"m": "v2"})
    scene.database.dispose()


def test_a_namesake_made_after_the_model_was_deleted_has_no_past(scene: Scene) -> None:
    callers = Callers(scene, bad={2})
    go(scene, callers)
    go(scene, callers)
    assert phases(scene)[-1][0] == "back"
    gone = ledger.Event(verb="delete model", subject="models:/m", actor="ds1", model="m", before="m")
    with scene.database.begin() as connection:
        ledger.append(connection, [gone])
    go(scene)
    assert scene.serving("prod") == {"m": "v1 95%/v2 5%"}


def test_a_word_that_comes_while_a_pass_decides_is_heard_before_anything_is_done(scene: Scene) -> None:
    callers = Callers(scene)
    go(scene, callers)
    callers.ask(1000)
    scene.clock.forward(60)
    said: list[bool] = []

    def meanwhile(what: str) -> None:
        if what == "service" and not said:
            said.append(True)
            word = ledger.Event(
                verb="tag", subject="models:/m/2#hydraulic.canary", actor="ds1", model="m", after="abort", reason="no"
            )
            with scene.database.begin() as connection:
                ledger.append(connection, [word])
            say(scene, "abort")

    scene.targets["prod"].step = meanwhile
    go(scene)
    assert scene.serving("prod") == {"m": "v1"}
    assert [phase for phase, _ in phases(scene)] == ["begin", "mark", "back"]
    assert scene.rows("canary")[-1].reason == "aborted by ds1: no"
