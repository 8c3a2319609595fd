"""DEV to PROD on Kubernetes: `examples/kubernetes_story.py` with a real server, controller, and scorers in pods.

The API server, the operator and the gateway are the fakes of tests/fakekube; a pod is a process with the pod's command.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.deployments import get_deploy_client

from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
from mlflow_hydraulic.rig.model import HydraulicModel
from tests.fakekube.node import RealCluster, real_cluster
from tests.integration.conftest import make_rows
from tests.servers import ROOT, mlflow_server
from tests.support.controller import Process, Scene
from tests.support.local import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROWS = make_rows(3)
CONFIG = """
[environments.dev]
target = "seldon"
[environments.dev.kubernetes]
tracking_uri = "{tracking}"
[environments.prod]
target = "seldon://fake"
[environments.prod.kubernetes]
tracking_uri = "{tracking}"
gateway_url = "{gateway}"
"""


@dataclass(frozen=True, kw_only=True)
class KubernetesScene(Scene):
    """One server, and one cluster whose pods are processes."""

    cluster: RealCluster

    @property
    def environment(self) -> dict[str, str]:
        kubeconfig = {"KUBECONFIG": str(self.home / "kubeconfig"), "HYDRAULIC_CONFIG": str(self.home / "h.toml")}
        return {**super().environment, **kubeconfig}

    @property
    def target(self) -> Any:  # Any: the same operations as LocalTarget
        return KubernetesTarget(open_cluster(kubeconfig=str(self.home / "kubeconfig")))

    def ran(self, model: str, environment: str) -> list[str]:
        """What the ledger says that ran there, in its order: "1 30%/2 70% + 3"; "" for nothing."""
        rows = [row for row in self.rows(model, "runs") if row.subject == f"{environment}/{model}"]
        return [_told(json.loads(row.after)) for row in rows]

    def break_version(self, model: str) -> int:
        """A new version whose model no scorer can load; its number."""
        client = mlflow.MlflowClient(self.server.uri)
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, str(self.saved), "model")
        [graph] = self.server.folder.glob(f"artifacts/**/{run.info.run_id}/artifacts/model/bundle/*.onnx")
        graph.write_bytes(b"no graph")
        return int(client.create_model_version(model, f"{run.info.artifact_uri}/model", run.info.run_id).version)


def _told(after: dict[str, Any] | None) -> str:
    if after is None:
        return ""
    shares = "/".join(f"{one['version']} {one['traffic']}%" for one in after["predictors"])
    return shares + (f" + {after['shadow']['version']}" if after.get("shadow") else "")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, small_saved: Path) -> Iterator[KubernetesScene]:
    home = tmp_path_factory.mktemp("kubernetes")
    with mlflow_server(home / "server") as server, real_cluster(home, "dev", "prod") as cluster:
        cluster.kube.kubeconfig(home / "kubeconfig")
        (home / "h.toml").write_text(CONFIG.format(tracking=server.uri, gateway=cluster.gateway.url))
        ROWS.to_json(home / "rows.json")
        yield KubernetesScene(server=server, home=home, saved=small_saved, cluster=cluster)


@pytest.fixture(scope="module")
def controller(scene: KubernetesScene) -> Iterator[Process]:
    with scene.controller() as process:
        yield process
    scene.check_ledger()


@pytest.fixture
def here(scene: KubernetesScene, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow and kubeconfig of this process."""
    for name in ("KUBECONFIG", "HYDRAULIC_HOME"):
        monkeypatch.setenv(name, scene.environment[name])
    mlflow.set_tracking_uri(scene.server.uri)
    yield
    mlflow.set_tracking_uri(None)


def test_the_story(scene: KubernetesScene, controller: Process, small_model: HydraulicModel) -> None:
    scene.register("cooler", 3)
    script = [sys.executable, str(ROOT / "examples" / "kubernetes_story.py"), "--rows", "rows.json", "--gateway"]
    told = subprocess.run(
        script, cwd=scene.home, env=scene.environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert told.returncode == 0, f"{told.stdout}\n{told.stderr}\n{controller.said()}"
    predicted = [json.loads(line) for line in re.findall(r"^  (\[.*\])$", told.stdout, flags=re.MULTILINE)]
    expected = small_model.predict(ROWS).tolist()
    assert predicted == [expected] * 3, "by the service proxy in DEV and by the gateway in PROD, before and after"
    assert re.findall(r"answered by: (.*)", told.stdout) == ["version 1 50", "version 1 30, version 2 70"]
    shadow = [status for service, status in scene.cluster.gateway.mirrored if service == "cooler-v3"]
    assert len(shadow) >= 150 and set(shadow) == {200}, "the challenger got a copy of each and disturbed none"
    assert scene.ran("cooler", "dev") == ["1 100%", ""]
    both = "1 30%/2 70% + 3"
    assert scene.ran("cooler", "prod") == ["1 100%", "1 100% + 3", both, "2 100% + 3", both, "1 100% + 3"]
    assert scene.seen("dev", "cooler").state == "not found"


@pytest.mark.usefixtures("here")
def test_a_version_that_no_pod_can_load_leaves_the_one_that_serves(scene: KubernetesScene, controller: Process) -> None:
    scene.register("valve")
    scene.stage("valve", 1, "Production")
    scene.until_serves("prod", "valve", "v1")
    bad = scene.break_version("valve")
    scene.stage("valve", bad, "Production", archive=True)
    until(lambda: scene.rows("valve", "failed"), f"the failure is recorded\n{controller.said()[-3000:]}", 120)
    [row] = scene.rows("valve", "failed")
    for words in ("container model crashed", "the manifest says", "version 1 goes on serving", "waits for a change"):
        assert words in row.reason
    until(lambda: scene.serves("prod", "valve") == "v1", "version 1 serves as before")
    assert get_deploy_client("seldon:/prod").predict("valve", ROWS)["predictions"]
    until(lambda: "crashed" in scene.facts("valve", bad).get("prod.problem", ""), "the page shows why")
    scene.stage("valve", bad, "Archived")
    scene.stage("valve", 1, "Production")
    until(lambda: not scene.facts("valve", bad).get("prod.problem"), "back to version 1: no problem any more")


@pytest.mark.usefixtures("here", "controller")
def test_what_a_person_deploys_the_controller_leaves_alone_and_a_killed_pod_comes_back(scene: KubernetesScene) -> None:
    scene.register("pump")
    client = get_deploy_client("seldon://fake/dev")
    config = {"tracking_uri": scene.server.uri, "orchestrator": "false", "replicas": "2"}
    made = client.create_deployment("by-hand", "models:/pump/1", config=config)
    assert (made["state"], made["predictors"][0]["ready"]) == ("healthy", 2)
    frame = pd.DataFrame(ROWS)
    assert len(client.predict("by-hand", frame)["predictions"]) == 3
    [pod, *_] = [one for one in scene.cluster.pods("dev") if one["metadata"]["name"].startswith("by-hand")]
    os.kill(scene.cluster.kubelet.pid(pod["metadata"]["uid"]), signal.SIGKILL)
    until(lambda: client.get_deployment("by-hand")["state"] == "unhealthy", "one of two is away, and that is shown")
    assert len(client.predict("by-hand", frame)["predictions"]) == 3, "the other answers"
    until(lambda: client.get_deployment("by-hand")["state"] == "healthy", "its pod was started again")
    shown = scene.run("plan", "--json")
    assert not [one for one in json.loads(shown.stdout)["actions"] if one["environment"] == "dev"], shown
    client.delete_deployment("by-hand")
    assert client.list_deployments() == []
    assert scene.cluster.pods("dev") == []
