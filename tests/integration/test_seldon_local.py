"""`mlflow deployments -t seldon-local` from the command line and Python, with real models, registry and scorers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests

from tests.support.local import kill_leftovers, processes_of, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # MLflow's and scikit-learn's own words while a model is logged; nothing of ours.
    pytest.mark.filterwarnings("ignore"),
]


class World:
    """A registry with two versions of a scikit-learn model, a home for deployments, and shells that come later."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRAULIC_"))},
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "HYDRAULIC_HOME": str(self.home),
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One shell: a process of its own that ends."""
        command = [
            str(Path(sys.executable).with_name("mlflow")),
            "deployments",
            words[0],
            "-t",
            "seldon-local",
            *words[1:],
        ]
        return subprocess.run(
            command, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )

    def hydraulic(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mlflow_hydraulic.cli", *words]
        return subprocess.run(
            command, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    code = """
import sys, mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(100, 3)), columns=["a", "b", "c"])
y = np.where(X.a + X.b > 0, 20.0, 3.0)
mlflow.set_experiment("t")
for c in (1.0, 0.01):
    model = LogisticRegression(C=c).fit(X, y)
    signature = infer_signature(X, model.predict(X))
    mlflow.sklearn.log_model(  # Shapley values of a model without a bundle start from its input example
        model, name="model", registered_model_name="m", signature=signature, input_example=X.head(20),
        pip_requirements=["scikit-learn"],
    )
mlflow.sklearn.save_model(model, sys.argv[1], pip_requirements=["scikit-learn"])
mlflow.MlflowClient().set_registered_model_alias("m", "best", "1")
X[(X.a + X.b).abs() > 1.5].head(3).to_json("rows.json")  # far from the border: no doubt about their class
"""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(made.folder / "unsigned")],
        env=made.environ,
        cwd=made.folder,
        check=True,
        timeout=300,
    )
    yield made
    assert kill_leftovers(made.home) == [], "processes were left over"


def test_the_whole_life_of_a_deployment_by_command_line(world: World) -> None:
    created = world.run("create", "--name", "cooler", "-m", "models:/m@best", "-C", "replicas=1")
    assert "python_function deployment cooler is created" in created.stdout, created.stderr
    got = world.run("get", "--name", "cooler").stdout
    assert "state: healthy" in got
    assert "model_uri: models:/m/1" in got  # pinned: the alias may move
    [url] = [line.split()[1] for line in got.splitlines() if line.startswith("endpoint: ")]
    assert "'name': 'cooler'" in world.run("list").stdout

    rows = pd.read_json(world.folder / "rows.json")
    predicted = json.loads(world.run("predict", "--name", "cooler", "-I", "rows.json").stdout)["predictions"]
    assert predicted == np.where(rows.a + rows.b > 0, 20.0, 3.0).tolist()
    explained = json.loads(world.run("explain", "--name", "cooler", "-I", "rows.json").stdout)
    sums = np.array([np.sum(explained["contributions"][output], axis=1) for output in explained["outputs"]]).T
    scored = requests.post(
        f"{url}/model/score",
        json={"fields": list(rows.columns), "rows": rows.astype(str).to_numpy().tolist()},
        timeout=60,
    ).json()
    np.testing.assert_allclose(sums, np.array(scored["score"], dtype=float), atol=1e-9)

    updated = world.run("update", "--name", "cooler", "-m", "models:/m/2", "-C", "arm.b=models:/m/1:50")
    assert "cooler is updated" in updated.stdout, updated.stderr
    answers = [requests.post(f"{url}/invocations", json={"inputs": [[1.0, 1.0, 1.0]]}, timeout=60) for _ in range(4)]
    assert sorted(a.headers["X-Hydraulic-Version"] for a in answers) == ["1", "1", "2", "2"]
    listed = json.loads(world.hydraulic("local", "list", "--json").stdout)
    assert [(o["name"], o["state"], o["ready"]) for o in listed] == [("cooler", "healthy", {"default": 1, "b": 1})]

    assert "cooler is deleted" in world.run("delete", "--name", "cooler").stdout
    assert processes_of(world.home) == []
    assert world.run("delete", "--name", "cooler").returncode == 0
    missing = world.run("get", "--name", "cooler")
    assert missing.returncode == 1
    assert missing.stderr.startswith("Error: there is no deployment 'cooler'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "--name", "x", "-m", "models:/m/9"), "version=9) not found"),
        (("create", "--name", "x", "-m", "models:/nobody/1"), "not found"),
        (("create", "--name", "x", "-m", "models:/m@nobody"), "nobody not found"),
        (("create", "--name", "x", "-m", "models:/m/Production"), "versions are"),
        (("create", "--name", "x", "-m", "./unsigned"), "has no signature"),
        (("create", "--name", "x", "-m", "./nowhere"), "no file MLmodel"),
        (("create", "--name", "Bad_Name", "-m", "models:/m/1"), "small letters"),
        (("create", "--name", "x", "-m", "models:/m/1", "-C", "nix=1"), "known are replicas"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line_before_anything_starts(
    world: World, words: tuple[str, ...], message: str
) -> None:
    ran = world.run(*words)
    assert ran.returncode == 1
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert processes_of(world.home) == []


def test_help_lists_every_key(world: World) -> None:
    from mlflow_hydraulic.plugin.config import KEYS

    text = world.run("help").stdout
    assert all(f"  {key} " in text for key in KEYS)


def test_run_local_serves_until_ctrl_c_and_leaves_nothing(world: World, free_port: int) -> None:
    command = [str(Path(sys.executable).with_name("mlflow")), "deployments", "run-local", "-t", "seldon-local"]
    running = subprocess.Popen(
        [*command, "--name", "try", "-m", "models:/m/1", "-C", f"port={free_port}"], env=world.environ, cwd=world.folder
    )

    def answers() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{free_port}/ping", timeout=30).status_code == 200
        except requests.ConnectionError:
            return False

    until(answers, "run-local answers", 120)
    running.send_signal(signal.SIGINT)
    running.wait(120)
    assert processes_of(world.home) == []


def test_the_python_client_and_its_endpoints(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.deployments import get_deploy_client
    from mlflow.exceptions import MlflowException

    for name in ("MLFLOW_TRACKING_URI", "HYDRAULIC_HOME"):
        monkeypatch.setenv(name, world.environ[name])
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
        assert client.predict("heater", frame).get_predictions()[0].tolist() == [20.0]
        assert client.predict(endpoint="heater", inputs=[{"a": 1, "b": 1, "c": 1}])["predictions"] == [20.0]
        with pytest.raises(MlflowException, match="a") as raised:
            client.predict("heater", frame.drop(columns="a"))
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    finally:
        client.delete_endpoint("heater")
    assert client.list_deployments() == []
