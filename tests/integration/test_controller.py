"""The registry drives the deployments: a real server, real controllers, real scorers on this machine."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import mlflow.deployments
import pytest

from tests.servers import Server, mlflow_server
from tests.support.controller import Scene
from tests.support.local import kill_leftovers, processes_of, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture
def scene(server: Server, tmp_path: Path, small_saved: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A home of its own for each test, with the server and its ledger shared; nothing outlives it."""
    monkeypatch.setenv("HYDRAULIC_HOME", str(tmp_path))
    mlflow.set_tracking_uri(server.uri)
    made = Scene(server=server, home=tmp_path, saved=small_saved)
    yield made
    mlflow.set_tracking_uri(None)
    kill_leftovers(tmp_path)
    names = [model["name"] for model in _models(made)]
    for name in names:
        made.call("DELETE", "registered-models/delete", name=name)


def _models(scene: Scene) -> list[dict[str, str]]:
    found = scene.call("GET", "registered-models/search")
    return found.get("registered_models", [])  # type: ignore[return-value]  # JSON


def test_stages_weights_and_aliases_are_what_runs(scene: Scene) -> None:
    scene.register("cooler", 3)
    with scene.controller():
        scene.stage("cooler", 1, "Staging")
        scene.until_serves("dev", "cooler", "v1")
        assert scene.score("dev", "cooler") == "1"
        scene.stage("cooler", 1, "Production")
        scene.until_serves("prod", "cooler", "v1")
        until(lambda: scene.seen("dev", "cooler").state == "not found", "DEV ends once PROD serves it")
        shown = {"prod.state": "healthy", "prod.endpoint": scene.seen("prod", "cooler").url}
        until(lambda: scene.facts("cooler", 1) == shown, "the version shows what runs, and DEV's facts are gone")
        scene.tag("cooler", 1, "hydraulic.weight", "30")
        scene.tag("cooler", 2, "hydraulic.weight", "70")
        scene.stage("cooler", 2, "Production")
        scene.until_serves("prod", "cooler", "v1 30%/v2 70%")
        scene.alias("cooler", "challenger", 3)
        scene.until_serves("prod", "cooler", "v1 30%/v2 70% + challenger v3")
        scene.stage("cooler", 2, "Production", archive=True)
        scene.until_serves("prod", "cooler", "v2 + challenger v3")
        scene.tag("cooler", 2, "hydraulic.replicas", "2")
        scene.until_serves("prod", "cooler", "v2 x2 + challenger v3")
        assert scene.score("prod", "cooler") == "2"
        scene.stage("cooler", 2, "Archived")
        until(lambda: scene.seen("prod", "cooler").state == "not found", "archived ends it")
        until(lambda: not any(scene.facts("cooler", n).get("prod.state") for n in (1, 2, 3)), "no fact is left")
    scene.check_ledger()
    assert processes_of(scene.home) == []
    assert {row.actor for row in scene.rows("cooler", "runs")} == {"hydraulic-controller"}
    assert {row.actor for row in scene.rows("cooler", "stage")} == {"anonymous"}


def test_plan_and_apply(scene: Scene) -> None:
    scene.register("valve", 2)
    assert scene.run("plan").returncode == 0
    scene.stage("valve", 1, "Staging")
    shown = scene.run("plan", "--out", "one.plan", "--json")
    assert (shown.returncode, [a["kind"] for a in json.loads(shown.stdout)["actions"]]) == (2, ["create"]), shown
    assert scene.run("plan", "--no-such-option").returncode == 1
    assert scene.run("plan", MLFLOW_TRACKING_URI="http://127.0.0.1:1").returncode == 1
    scene.stage("valve", 2, "Production")
    moved = scene.run("apply", "one.plan")
    assert moved.returncode == 5, moved
    assert "the registry says something else" in moved.stderr
    assert scene.serves("dev", "valve") == ""
    assert scene.run("plan", "--out", "two.plan").returncode == 2
    done = scene.run("apply", "two.plan")
    assert done.returncode == 0, done
    assert (scene.serves("dev", "valve"), scene.serves("prod", "valve")) == ("v1", "v2")
    assert scene.run("plan").returncode == 0
    before = len(scene.rows("valve"))
    assert scene.run("controller", "--once").returncode == 0
    assert len(scene.rows("valve")) == before, "a pass with nothing to do writes nothing"
    scene.check_ledger()


def test_what_serves_goes_on_whatever_the_registry_loses(scene: Scene) -> None:
    folder = scene.register("pump", 3)
    (scene.home / "both.toml").write_text('bindings = "both"\n')
    with scene.controller(HYDRAULIC_CONFIG=str(scene.home / "both.toml")) as controller:
        scene.alias("pump", "champion", 1)
        scene.until_serves("prod", "pump", "v1")
        os.killpg(scene.server.process.pid, signal.SIGSTOP)
        try:
            until(lambda: "this pass ended early" in controller.said(), "the controller sees that the registry is away")
            assert scene.score("prod", "pump") == "1"
        finally:
            os.killpg(scene.server.process.pid, signal.SIGCONT)
        scene.call("DELETE", "registered-models/alias", name="pump", alias="champion")
        until(lambda: "no alias of alias:champion" in controller.said(), "the lost alias is told")
        assert scene.score("prod", "pump") == "1"
        scene.alias("pump", "champion", 2)
        scene.until_serves("prod", "pump", "v2")
        for file in folder.glob("MLmodel"):
            file.unlink()
        scene.alias("pump", "champion", 3)
        until(lambda: scene.facts("pump", 3).get("prod.problem"), "the missing artefact is shown on the version")
        assert scene.score("prod", "pump") == "2"
        scene.alias("pump", "champion", 2)
        until(lambda: not scene.facts("pump", 3).get("prod.problem"), "the problem is gone with its cause")
        scene.call("DELETE", "model-versions/delete", name="pump", version="2")
        until(lambda: "was deleted while it serves" in controller.said(), "the deleted version is told")
        assert scene.score("prod", "pump") == "2"
        assert scene.rows("pump", "failed")
    scene.check_ledger()


def test_an_artefact_that_changed_after_registration_is_not_served(scene: Scene) -> None:
    folder = scene.register("filter")
    scene.stage("filter", 1, "Staging")
    assert scene.run("controller", "--once").returncode == 0
    (folder / "more.txt").write_text("slipped in")
    (scene.home / "models" / "index").rename(scene.home / "models" / "index-of-another-machine")
    scene.stage("filter", 1, "Production")
    refused = scene.run("controller", "--once")
    assert refused.returncode == 1
    assert "was changed after registration" in refused.stderr
    assert (scene.serves("dev", "filter"), scene.serves("prod", "filter")) == ("v1", "")
    assert scene.run("controller", "--once").returncode == 1
    assert len(scene.rows("filter", "failed")) == 1, "told once"


def test_what_is_done_by_hand_is_seen_recorded_and_put_right(scene: Scene) -> None:
    scene.register("hand", 2)
    scene.stage("hand", 1, "Production")
    assert scene.run("controller", "--once").returncode == 0
    client = mlflow.deployments.get_deploy_client("seldon-local:/prod")
    client.update_deployment("hand", "models:/hand/2", config={"arm.v1.traffic": "0"})
    assert scene.score("prod", "hand") == "2"
    assert scene.run("controller", "--once").returncode == 0
    assert scene.serves("prod", "hand") == "v1"
    told = [(row.actor, "found by" in row.reason) for row in scene.rows("hand", "runs")]
    assert told == [("hydraulic-controller", False), ("unknown", True), ("hydraulic-controller", False)]
    client.delete_deployment("hand")
    assert scene.run("controller", "--once").returncode == 0
    assert scene.serves("prod", "hand") == "v1", "the registry says Production: it comes back"
    ended, back = scene.rows("hand", "runs")[3:]
    assert (json.loads(ended.after), ended.actor, back.actor) == (None, "unknown", "hydraulic-controller")
    scene.stage("hand", 1, "Archived")
    assert scene.run("controller", "--once").returncode == 0
    client.create_deployment("hand", "models:/hand/2")
    scene.stage("hand", 1, "Production")
    held = scene.run("plan")
    assert (held.returncode, "made by hand and is not touched" in held.stdout) == (0, True), held
    assert scene.run("controller", "--once").returncode == 0
    assert scene.score("prod", "hand") == "2"
    scene.check_ledger()


def test_a_home_that_cannot_be_written_is_tried_again(scene: Scene) -> None:
    scene.register("disk")
    (scene.home / "local").mkdir()
    with scene.controller() as controller:
        until(lambda: "acts" in controller.said() and (scene.home / "local" / "prod").is_dir(), "the first pass")
        (scene.home / "local" / "prod").rename(scene.home / "local" / "away")
        scene.stage("disk", 1, "Staging")
        scene.until_serves("dev", "disk", "v1")
        scene.stage("disk", 1, "Production")
        until(lambda: "prod *: its target does not answer" in controller.said(), "the lost folder is told")
        assert scene.score("dev", "disk") == "1"
        (scene.home / "local" / "away").rename(scene.home / "local" / "prod")
        scene.until_serves("prod", "disk", "v1")
    scene.check_ledger()


def test_killed_at_any_time_the_next_controller_converges(scene: Scene) -> None:
    scene.register("killed", 2)
    dice = random.Random(3)
    moves = [(1, "Staging"), (1, "Production"), (2, "Staging"), (2, "Production"), (1, "Archived"), (2, "Staging")]
    scene.tag("killed", 1, "hydraulic.weight", "40")
    scene.tag("killed", 2, "hydraulic.weight", "60")
    for version, stage in moves:
        with scene.controller() as controller:
            until(lambda c=controller: "acts" in c.said(), "the lease is over and this one acts")  # type: ignore[misc]
            scene.stage("killed", version, stage)
            due = time.monotonic() + dice.uniform(0.0, 3.0)
            until(lambda due=due: time.monotonic() >= due, "a random moment")  # type: ignore[misc]
            controller.send(signal.SIGKILL)
            controller.popen.wait()
            controller.log.rename(scene.home / f"killed-{version}-{stage}.txt")
    with scene.controller():
        scene.until_serves("dev", "killed", "v2")
        until(lambda: scene.seen("prod", "killed").state == "not found", "nothing is in Production")
        until(lambda: scene.facts("killed", 2).get("dev.state") == "healthy", "the facts follow")
    scene.check_ledger()
    supervisors = [p for p in processes_of(scene.home) if any("local.daemon" in word for word in p.cmdline())]
    assert len(supervisors) == 1, "nothing is doubled"


def test_of_two_controllers_the_other_goes_on_and_a_paused_one_does_nothing(scene: Scene) -> None:
    scene.register("pair", 3)
    with scene.controller("first") as first:
        until(lambda: "acts" in first.said(), "the first acts")
        with scene.controller("second") as second:
            until(lambda: "waiting" in second.said(), "the second waits")
            scene.stage("pair", 1, "Staging")
            first.send(signal.SIGSTOP)
            try:
                until(lambda: "acts" in second.said(), "the second takes over after the lease")
                scene.stage("pair", 2, "Staging", archive=True)
                scene.until_serves("dev", "pair", "v2")
            finally:
                first.send(signal.SIGCONT)
            until(lambda: "lease was lost" in first.said() or "waiting" in first.said(), "the first sees that it lost")
            with scene.controller("third") as third:
                until(lambda: "waiting" in third.said(), "the third waits")
                second.send(signal.SIGKILL)
                second.popen.wait()
                scene.stage("pair", 3, "Staging", archive=True)
                scene.until_serves("dev", "pair", "v3")
    scene.check_ledger()
    assert {row.actor for row in scene.rows("pair", "runs")} <= {"hydraulic-controller", "unknown"}
