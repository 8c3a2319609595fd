"""A pod's scorer sends its record to an intake while it serves, and the rest of it when it is told to end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import requests

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.deploy_targets.kubernetes.container import RECORD_INTAKE, Ports, container
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import ModelVersion, Predictor
from mlflow_hydraulic.record.recorder import SERVED, read_place
from mlflow_hydraulic.record.store import Store
from tests.integration.conftest import make_rows
from tests.integration.test_record_intake import TOKEN, answers, environ, intake, stored
from tests.services import free_port
from tests.support.local import until

__all__ = ["environ"]  # the fixture
ROWS = make_rows(2, seed=3).to_numpy().tolist()


def told(model: Path, url: str) -> dict[str, str]:
    """The variables of the manifest's container, with what a cluster would fill in."""
    version = ModelVersion(uri="models:/m/1", name="m", version="1", digest=digest_folder(model))
    options = KubernetesOptions(env={RECORD_INTAKE: url}, secret_env={"HYDRAULIC_INTAKE_TOKEN": "intake/token"})
    made = container(Predictor(name="default", model=version), options, name="model", ports=Ports())
    assert [one["name"] for one in made["env"]].index(pod.POD) < [one["name"] for one in made["env"]].index(SERVED)
    fields = {"metadata.namespace": "prod", "metadata.labels['app.kubernetes.io/instance']": "cooler"}
    known: dict[str, str] = {}
    for one in made["env"]:
        if "fieldRef" in one.get("valueFrom", {}):
            known[one["name"]] = fields.get(one["valueFrom"]["fieldRef"]["fieldPath"], "pod-1")
        elif "value" in one:
            value = one["value"]
            for name, found in known.items():
                value = value.replace(f"$({name})", found)
            known[one["name"]] = value
    return known


def test_what_a_pod_answered_reaches_the_intake(environ: dict[str, str], small_saved: Path, tmp_path: Path) -> None:
    port, http = free_port(), free_port()
    mine = {**told(small_saved, f"http://127.0.0.1:{port}"), "HYDRAULIC_INTAKE_TOKEN": TOKEN}
    assert read_place(mine[SERVED]).replica == "pod-1"
    mine |= {pod.MODEL_URI: str(small_saved), pod.HTTP_PORT_VARIABLE: str(http), pod.GRPC_PORT_VARIABLE: "0"}
    mine |= {pod.HOME: str(tmp_path / "pod"), pod.HOST: "127.0.0.1"}
    kept = {name: value for name, value in environ.items() if not name.startswith("HYDRAULIC_")}
    with intake(environ, tmp_path / "home", port):
        command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve-pod", "--linger", "0"]
        with (tmp_path / "pod.log").open("wb") as log:
            process = subprocess.Popen(command, env={**kept, **mine}, stderr=log)
        try:
            url = f"http://127.0.0.1:{http}"
            until(lambda: process.poll() is not None or ready(url), f"the pod: {tmp_path / 'pod.log'}")
            ask(url, "first")
            until(lambda: stored(tmp_path / "home") == ["first"], "the shipper, by itself")
            ask(url, "last")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (tmp_path / "pod.log").read_text()
        finally:
            process.kill()
            process.wait()
        assert answers(port)
    with Store(tmp_path / "home" / "record" / "record.db") as store:
        window = store.window(namespace="prod", deployment="cooler", predictor="default", target="seldon")
        assert window.ids.tolist() == ["first", "first", "last", "last"]
        (recorded,) = store.recorded()
        assert (recorded.source.replica, recorded.source.served.version) == ("pod-1", "1")
    assert not list((tmp_path / "pod" / "record" / "journal").iterdir())


def ready(url: str) -> bool:
    try:
        return requests.get(url + pod.READY_PATH, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def ask(url: str, prediction_id: str) -> None:
    answer = requests.post(
        f"{url}/invocations", json={"inputs": ROWS}, headers={"X-Prediction-Id": prediction_id}, timeout=60
    )
    assert answer.status_code == 200
