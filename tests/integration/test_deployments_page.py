"""The pages of deployments on the real thing: states that pass by, requests that run as given, one that is tried."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import mlflow.deployments
import pytest
import requests

from mlflow_hydraulic.deployment import deployment_name
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.rig.model import HydraulicModel
from tests.servers import Server, mlflow_server
from tests.support.controller import Scene
from tests.support.local import kill_leftovers, until

pytestmark = pytest.mark.slow
MODEL = "Kühler's model #1"  # its deployment has a name of its own, its requests need quoting
REASON = {"X-Hydraulic-Reason": "asked by a test"}
Json = Any  # a JSON value


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("servers-home")  # not the deployments': files come through MLflow
    with mlflow_server(tmp_path_factory.mktemp("server"), env={"HYDRAULIC_HOME": str(home)}) as made:
        yield made


@pytest.fixture(scope="module")
def saved(small_model: HydraulicModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    flavor.save_model(small_model, folder)
    return folder


@pytest.fixture
def scene(server: Server, tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("HYDRAULIC_HOME", str(tmp_path))
    mlflow.set_tracking_uri(server.uri)
    yield Scene(server=server, home=tmp_path, saved=saved)
    mlflow.set_tracking_uri(None)
    kill_leftovers(tmp_path)


def ask(scene: Scene, method: str, path: str, body: Json = None, status: int = 200) -> Json:
    where = f"{scene.server.uri}/api/2.0/hydraulic{path}"
    answer = requests.request(method, where, json=body, headers=REASON, timeout=60)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_not_found_to_healthy_asked_and_ended(scene: Scene) -> None:
    name = deployment_name(MODEL)
    at = f"/deployments/dev/{name}"
    scene.register(MODEL)
    states: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            state = ask(scene, "GET", at)["line"]["state"]
            if states[-1:] != [state]:
                states.append(state)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with scene.controller():
        until(lambda: states, "looked at before it is asked for")
        scene.stage(MODEL, 1, "Staging")
        until(lambda: states[-1] == "healthy", "the page tells that it is healthy", 90)
        ended.set()
        watcher.join()
        assert states[0] == "not found"
        assert "preparing" in states or "launching" in states
        assert states == sorted(states, key=["not found", "preparing", "launching", "healthy"].index)
        _look(scene, at, name)
        _ask_in_each_dialect(ask(scene, "GET", f"{at}/samples"))
        _try(scene, at)
        ask(scene, "POST", f"{at}/tags", {"key": "rig", "value": "3 of hall B"}, 204)
        assert ask(scene, "GET", at)["tags"] == {"rig": "3 of hall B"}
        ask(scene, "DELETE", at, None, 204)
        until(lambda: ask(scene, "GET", at)["line"]["state"] == "not found", "it ended", 60)
        until(lambda: len(ask(scene, "GET", at)["history"]) == 2, "its end is on record", 60)
        history = ask(scene, "GET", at)["history"]
        assert [(ran["composition"], ran["now"]) for ran in history] == [("", False), ("v1", False)]
        assert history[1]["by"] == "anonymous"
        assert history[1]["reason"] == "asked by a test"


def _look(scene: Scene, at: str, name: str) -> None:
    found = ask(scene, "GET", at)
    (part,) = found["predictors"]
    assert (part["role"], part["version"], part["ready"], part["replicas"]) == ("champion", "1", 1, 1)
    assert len(part["digest"]) == 64
    line = found["line"]
    assert (line["type"], line["managed"], line["late"], line["deployed_by"]) == ("single", True, "", "anonymous")
    (listed,) = [one for one in ask(scene, "GET", "/deployments")["items"] if one["deployment"] == name]
    assert listed == line
    for path in ("/deployments", at, f"/deployments?text={quote(MODEL)}"):
        page = requests.get(f"{scene.server.uri}/hydraulic{path}", timeout=60)
        assert page.status_code == 200
        assert "healthy" in page.text
        assert "Kühler&#39;s model #1" in page.text


def _ask_in_each_dialect(found: Json) -> None:
    """Pasted into a shell and run as Python, they are answered, with the same numbers in each."""
    assert found["source"] == "the model's input example"
    numbers = []
    for sample in found["samples"]:
        by_curl, by_python = json.loads(run("bash", "-c", sample["curl"])), run(sys.executable, "-c", sample["python"])
        assert by_curl, sample
        assert by_python, sample
        if sample["dialect"] == "seldon":
            numbers.append(by_curl["data"]["ndarray"][0])
        elif sample["dialect"] == "v2":
            numbers.append(next(one["data"] for one in by_curl["outputs"] if one["name"] == "predict_proba"))
        elif sample["dialect"] == "tutorial":
            numbers.append([float(cell) for cell in by_curl["score"][0]])
    assert [sample["dialect"] for sample in found["samples"]] == ["mlflow", "seldon", "v2", "tutorial"]
    assert numbers[0] == numbers[1] == numbers[2]


def _try(scene: Scene, at: str) -> None:
    inputs = ask(scene, "GET", f"{at}/samples")["inputs"]
    values = {one["name"]: one["value"] for one in inputs}
    answer = ask(scene, "POST", f"{at}/try", {"values": values})
    assert sum(share["probability"] for share in answer["shares"]) == pytest.approx(1)
    assert answer["label"] == answer["shares"][0]["name"] in ("3", "20", "100")
    assert answer["prediction_id"]
    assert answer["latency_ms"] > 0
    assert answer["answered_by"] == "1"
    refused = ask(scene, "POST", f"{at}/try", {"values": {**values, "psa_bar": "much"}}, 400)
    assert "'psa_bar'='much': must be a number" in refused["message"]


def test_one_made_by_hand_is_shown_and_ends_where_the_server_reaches_it(scene: Scene, server: Server) -> None:
    client = mlflow.deployments.get_deploy_client("seldon-local:/dev")
    scene.register("by-hand")
    client.create_deployment("mine", "models:/by-hand/1")
    with scene.controller():
        until(lambda: ask(scene, "GET", "/deployments?text=mine")["items"], "it is seen", 60)
        (line,) = ask(scene, "GET", "/deployments?text=mine")["items"]
        assert (line["managed"], line["state"], line["model"]) == (False, "healthy", "by-hand")
        refused = ask(scene, "DELETE", "/deployments/dev/mine", None, 503)
        assert "mlflow deployments delete -t seldon-local:/dev --name mine" in refused["message"]
        assert scene.seen("dev", "mine").state == "healthy", "another machine's, as far as this server can tell"


def test_a_model_that_cannot_start_is_shown_with_its_cause_and_log(scene: Scene) -> None:
    artefact = scene.register("broken")
    (artefact / "bundle" / "bundle.json").write_text("{}", encoding="utf-8")
    with scene.controller():
        scene.stage("broken", 1, "Staging")
        until(lambda: ask(scene, "GET", "/deployments/dev/broken")["line"]["state"] == "failed", "it is told", 90)
        found = ask(scene, "GET", "/deployments/dev/broken")
        assert found["line"]["cause"]
        assert found["predictors"][0]["version"] == "1"
        answer = requests.get(f"{scene.server.uri}/hydraulic/deployments/dev/broken", timeout=60)
        assert answer.status_code == 200, scene.server.said()[-3000:]
        page = answer.text
        assert escape(found["line"]["cause"][:30], quote=True).replace("&#x27;", "&#39;") in page
        assert "Last log lines" in page
