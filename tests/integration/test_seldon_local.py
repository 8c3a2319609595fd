"""`mlflow deployments -t seldon-local` from the command line and Python, with real models, registry and scorers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from click.testing import CliRunner, Result
from mlflow.deployments import get_deploy_client
from mlflow.deployments.cli import commands
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.plugin.config import KEYS
from mlflow_hydraulic.plugin.seldon_local import OWN
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.schema import Field, Schema
from tests.support.local import kill_leftovers, processes_of, until

pytestmark = [
    pytest.mark.slow,
    # MLflow's and scikit-learn's own words while a model is logged; nothing of ours.
    pytest.mark.filterwarnings("ignore"),
]
MLFLOW = str(Path(sys.executable).with_name("mlflow"))
ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 3)), columns=["a", "b", "c"])
LABELS = np.where(ROWS.a + ROWS.b > 0, 20, 3)
CLEAR = ROWS[(ROWS.a + ROWS.b).abs() > 1.5].head(3)  # far from the border: no doubt about their class
RIGHT = np.where(CLEAR.a + CLEAR.b > 0, 20, 3).tolist()


@dataclass(frozen=True)
class World:
    """A registry, a home for deployments, and shells that come and go.

    `m` has two versions, of the hydraulic flavor and with a bundle; `plain` is a scikit-learn model without one.
    """

    folder: Path
    uri: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environ(self) -> dict[str, str]:
        ours = {"MLFLOW_TRACKING_URI": self.uri, "HYDRAULIC_HOME": str(self.home), "MLFLOW_DISABLE_TELEMETRY": "true"}
        return {**os.environ, **ours, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}

    def shell(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A process of its own that ends."""
        return subprocess.run(
            command, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )

    def mlflow(self, verb: str, *words: str) -> Result:
        """`mlflow deployments VERB -t seldon-local ...` in this process, which saves seconds of imports."""
        return CliRunner().invoke(commands, [verb, "-t", "seldon-local", *words])


@contextlib.contextmanager
def _store(uri: str) -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
        mlflow.set_registry_uri(None)


@pytest.fixture(scope="module")
def made(_empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The registry with its models; made once, and no test changes it."""
    folder = tmp_path_factory.mktemp("world")
    file = folder / "mlflow.db"
    file.write_bytes(_empty_store.read_bytes())
    world = World(folder, f"sqlite:///{file}")
    with _store(world.uri):
        mlflow.set_experiment(experiment_id=mlflow.create_experiment("t", artifact_location=(folder / "a").as_uri()))
        for strength in (1.0, 0.01):
            model = HydraulicModel(
                estimator=LogisticRegression(C=strength).fit(ROWS, LABELS),
                schema=Schema(inputs=tuple(Field(name=name) for name in ROWS.columns), target="y", labels=(3, 20)),
                features="means",
                origin="simulated",
                background=ROWS,
            )
            flavor.log_model(model, name="model", registered_model_name="m")
        plain = LogisticRegression().fit(ROWS, LABELS)
        mlflow.sklearn.log_model(  # Shapley values of a model without a bundle start from its input example
            plain,
            name="model",
            registered_model_name="plain",
            signature=infer_signature(ROWS, LABELS),
            input_example=ROWS.head(20),
            pip_requirements=["scikit-learn"],
        )
        mlflow.sklearn.save_model(plain, folder / "unsigned", pip_requirements=["scikit-learn"])
        mlflow.MlflowClient().set_registered_model_alias("m", "best", "1")
    CLEAR.to_json(folder / "rows.json")
    return world


@pytest.fixture
def world(made: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """`made` for one test: nothing of another test is there before it, and nothing of it stays."""
    for name in ("MLFLOW_TRACKING_URI", "HYDRAULIC_HOME"):
        monkeypatch.setenv(name, made.environ[name])
    monkeypatch.chdir(made.folder)
    with _store(made.uri):
        yield made
    left = kill_leftovers(made.home)
    shutil.rmtree(made.home / "local", ignore_errors=True)
    assert left == [], "processes were left over"


def endpoint(text: str) -> str:
    [url] = [line.split()[1] for line in text.splitlines() if line.startswith("endpoint: ")]
    return url


def add_up(url: str, explained: dict[str, Any]) -> None:
    """The Shapley values of CLEAR's rows and the bias add up to what the deployment scores."""
    sums = np.array([np.sum(explained["contributions"][output], axis=1) for output in explained["outputs"]]).T
    rows = CLEAR.map(repr).to_numpy().tolist()
    scored = requests.post(f"{url}/model/score", json={"fields": list(CLEAR.columns), "rows": rows}, timeout=60)
    np.testing.assert_allclose(sums, np.array(scored.json()["score"], dtype=float), atol=1e-9)


def test_the_whole_life_of_a_deployment_by_command_line(world: World) -> None:
    create = (MLFLOW, "deployments", "create", "-t", "seldon-local", "--name", "cooler", "-m", "models:/m@best")
    created = world.shell(*create)
    assert "python_function deployment cooler is created" in created.stdout, created.stderr
    got = world.mlflow("get", "--name", "cooler").output
    assert "state: healthy" in got
    assert "model_uri: models:/m/1" in got  # pinned: the alias may move
    assert "'name': 'cooler'" in world.mlflow("list").output

    url = endpoint(got)
    predicted = json.loads(world.mlflow("predict", "--name", "cooler", "-I", "rows.json").output)["predictions"]
    assert predicted == RIGHT
    add_up(url, json.loads(world.mlflow("explain", "--name", "cooler", "-I", "rows.json").output))

    updated = world.mlflow("update", "--name", "cooler", "-m", "models:/m/2", "-C", "arm.b=models:/m/1:50")
    assert "cooler is updated" in updated.output
    answers = [requests.post(f"{url}/invocations", json={"inputs": [[1.0, 1.0, 1.0]]}, timeout=60) for _ in range(4)]
    assert sorted(a.headers["X-Hydraulic-Version"] for a in answers) == ["1", "1", "2", "2"]
    listed = world.shell(sys.executable, "-m", "mlflow_hydraulic.cli", "local", "list", "--json")
    found = [(o["name"], o["state"], o["ready"]) for o in json.loads(listed.stdout)]
    assert found == [("cooler", "healthy", {"default": 1, "b": 1})]

    deleted = world.shell(MLFLOW, "deployments", "delete", "-t", "seldon-local", "--name", "cooler")
    assert "cooler is deleted" in deleted.stdout, deleted.stderr
    assert processes_of(world.home) == []
    assert world.mlflow("delete", "--name", "cooler").exit_code == 0
    missing = world.shell(MLFLOW, "deployments", "get", "-t", "seldon-local", "--name", "cooler")
    assert missing.returncode == 1
    assert missing.stderr.startswith("Error: there is no deployment 'cooler'")


def test_a_model_of_mlflows_own_flavor_is_served_without_a_bundle(world: World) -> None:
    created = world.mlflow("create", "--name", "plain", "-m", "models:/plain/1", "-C", "engine=pyfunc")
    try:
        assert created.exit_code == 0, created.output
        url = endpoint(world.mlflow("get", "--name", "plain").output)
        predicted = world.mlflow("predict", "--name", "plain", "-I", "rows.json").output
        assert json.loads(predicted)["predictions"] == RIGHT
        add_up(url, json.loads(world.mlflow("explain", "--name", "plain", "-I", "rows.json").output))
    finally:
        assert world.mlflow("delete", "--name", "plain").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--name", "x", "-m", "models:/m/9"), "version=9) not found"),
        (("--name", "x", "-m", "models:/nobody/1"), "not found"),
        (("--name", "x", "-m", "models:/m@nobody"), "nobody not found"),
        (("--name", "x", "-m", "models:/m/Production"), "versions are"),
        (("--name", "x", "-m", "./unsigned"), "has no signature"),
        (("--name", "x", "-m", "./nowhere"), "no file MLmodel"),
        (("--name", "Bad_Name", "-m", "models:/m/1"), "small letters"),
        (("--name", "x", "-m", "models:/m/1", "-C", "nix=1"), "known are replicas"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line_before_anything_starts(
    world: World, words: tuple[str, ...], message: str
) -> None:
    ran = world.mlflow("create", *words)
    assert ran.exit_code == 1
    [line] = [line for line in ran.output.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert "Traceback" not in ran.output
    assert world.mlflow("list").output.strip() == "List of all deployments:\n[]"
    assert processes_of(world.home) == []


def test_help_lists_every_key(world: World) -> None:
    text = world.mlflow("help").output
    assert all(f"  {key} " in text for key in (*KEYS, *OWN.keys))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_local_serves_until_it_is_told_to_end_and_leaves_nothing(
    world: World, free_port: int, number: signal.Signals
) -> None:
    with _run_local(world, free_port) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        assert said == f"try serves models:/m/1 at http://127.0.0.1:{free_port}/seldon/run-local/try until Ctrl-C\n"
        assert requests.get(f"http://127.0.0.1:{free_port}/ping", timeout=30).status_code == 200
        running.send_signal(number)
        assert running.wait(60) == 0
    assert processes_of(world.home) == []


def test_run_local_that_is_interrupted_while_it_starts_leaves_nothing(world: World, free_port: int) -> None:
    with _run_local(world, free_port) as running:
        until(lambda: processes_of(world.home), "a supervisor")
        running.send_signal(signal.SIGINT)
        running.wait(60)
    assert processes_of(world.home) == []
    assert list(world.home.glob("local/*/*/spec.json")) == []


@contextlib.contextmanager
def _run_local(world: World, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [MLFLOW, "deployments", "run-local", "-t", "seldon-local", "--name", "try", "-m", "models:/m/1"]
    with subprocess.Popen(
        [*command, "-C", f"port={port}"], env=world.environ, cwd=world.folder, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_the_python_client_and_its_endpoints(world: World) -> None:
    client = get_deploy_client("seldon-local:/dev")
    assert client.create_endpoint("heater")["name"] == "heater"
    made = client.create_deployment("heater", "models:/m/1", endpoint="heater")
    try:
        assert (made["name"], made["flavor"], made["namespace"]) == ("heater", "python_function", "dev")
        assert client.get_endpoint("heater")["url"] == made["endpoint"]
        assert [e["name"] for e in client.list_endpoints()] == ["heater"]
        with pytest.raises(MlflowException) as raised:
            client.create_deployment("heater", "models:/m/1")
        assert raised.value.error_code == "RESOURCE_ALREADY_EXISTS"
        frame = pd.DataFrame({"a": [1.0], "b": [1.0], "c": [0.1]})
        assert client.predict("heater", frame).get_predictions()[0].tolist() == [20]
        assert client.predict(endpoint="heater", inputs=[{"a": 1, "b": 1, "c": 1}])["predictions"] == [20]
        with pytest.raises(MlflowException, match="a") as raised:
            client.predict("heater", frame.drop(columns="a"))
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    finally:
        client.delete_endpoint("heater")
    assert client.list_deployments() == []
    assert processes_of(world.home) == []
