"""`mlflow deployments -t seldon` against the fake cluster: verbs, keys, refusals. Real scorers answer in the story."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner
from mlflow.deployments import get_deploy_client
from mlflow.deployments.cli import commands
from mlflow.exceptions import MlflowException

from mlflow_hydraulic.deploy_targets.kubernetes.rights import deployment_rights
from mlflow_hydraulic.plugin import seldon
from mlflow_hydraulic.plugin.config import KEYS
from tests.fakekube.cluster import SeldonCluster, seldon_cluster
from tests.integration.conftest import Registry

Json = dict[str, Any]  # Any: the value is JSON
MLFLOW = "tracking_uri=http://mlflow.mlflow.svc:5000"


@dataclass(frozen=True)
class World:
    """A cluster with the namespaces dev and prod, and a registry with two versions of `cooler`."""

    cluster: SeldonCluster

    def run(self, verb: str, *words: str, target: str = "seldon:/dev") -> str:
        """What the command prints; fails the test where it fails."""
        done = CliRunner().invoke(commands, [verb, "-t", target, *words])
        assert done.exit_code == 0, done.output
        return done.output

    def refused(self, verb: str, *words: str, target: str = "seldon:/dev") -> str:
        """The one line that a refusal prints."""
        done = CliRunner().invoke(commands, [verb, "-t", target, *words])
        assert done.exit_code == 1 and "Traceback" not in done.output, done.output
        [line] = [line for line in done.output.splitlines() if line.startswith("Error: ")]
        return line

    def create(self, *words: str, name: str = "cooler", model: str = "models:/cooler/1") -> str:
        return self.run("create", "--name", name, "-m", model, "-C", MLFLOW, *words)

    def object(self, name: str = "cooler") -> Json:
        return self.cluster.kube["seldondeployments", "dev", name]

    def variables(self, predictor: int = 0) -> Json:
        container = self.object()["spec"]["predictors"][predictor]["componentSpecs"][0]["spec"]["containers"][0]
        return {one["name"]: one.get("value") for one in container["env"]}


@pytest.fixture
def world(registry: Registry, small_saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    client = mlflow.MlflowClient()
    client.create_registered_model("cooler")
    for _ in range(2):
        client.create_model_version("cooler", small_saved.as_uri())
    client.set_registered_model_alias("cooler", "best", "2")
    monkeypatch.setenv("HYDRAULIC_HOME", str(tmp_path / "home"))
    with seldon_cluster("dev", "prod") as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kube.kubeconfig(tmp_path / "kubeconfig", namespace="prod")))
        yield World(cluster)
    assert registry.uri == mlflow.get_tracking_uri()


def test_the_whole_life_of_a_deployment_by_command_line(world: World) -> None:
    assert "python_function deployment cooler is created" in world.create("-C", "cpu_limit=2", "-C", "env.LEVEL=INFO")
    got = world.run("get", "--name", "cooler")
    for line in ("state: healthy", "model_uri: models:/cooler/1", "endpoint: http://cooler-default.dev.svc:8000"):
        assert line in got
    assert "pid" not in got
    assert world.variables()["HYDRAULIC_MODEL_VERSION"] == "1"
    world.run("update", "--name", "cooler", "-m", "models:/cooler@best", "-C", "replicas=2", "-C", "env.LEVEL=")
    assert world.variables()["HYDRAULIC_MODEL_VERSION"] == "2", "the alias is resolved"
    options = json.loads(world.object()["metadata"]["annotations"]["hydraulic.options"])
    assert options == {"cpu_limit": "2", "tracking_uri": "http://mlflow.mlflow.svc:5000"}, "what is not named stays"
    world.run("update", "--name", "cooler", "-C", "arm.b=models:/cooler/1:20", "-C", "shadow=models:/cooler/1")
    shares = [(one["name"], one["traffic"], one.get("shadow", False)) for one in world.object()["spec"]["predictors"]]
    assert shares == [("default", 80, False), ("b", 20, False), ("shadow", 100, True)]
    assert "'ready': 2" in world.run("list")
    assert "[]" in world.run("list", target="seldon"), "the context's namespace is prod"
    for _ in range(2):
        assert "cooler is deleted" in world.run("delete", "--name", "cooler")
    assert ("seldondeployments", "dev", "cooler") not in world.cluster.kube
    assert "there is no deployment 'cooler' in namespace 'dev'" in world.refused("get", "--name", "cooler")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-C", "cpu_limits=2"), "known are replicas, traffic, arm.NAME"),
        (("-C", "port=8080"), "there is no such key"),
        (("-C", "cpu_limit=lots"), "must be a Kubernetes quantity"),
        (("-C", "force=perhaps"), "force=perhaps: must be true or false"),
        (("-C", "env.API_TOKEN=x"), "looks like a secret"),
        (("-C", "shape=plain", "-C", "shadow=models:/cooler/2"), "asks for shadow, which the shape 'plain' cannot do"),
        (("-C", "delivery=initializer"), "Seldon's init container reads s3"),
        (("-m", "models:/cooler/9"), "not found"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_nothing_is_sent(
    world: World, words: tuple[str, ...], message: str
) -> None:
    said = world.refused("create", "--name", "cooler", "-m", "models:/cooler/1", "-C", MLFLOW, *words)
    assert message in said
    assert not [path for method, path, _ in world.cluster.kube.requests if method == "PATCH"]


def _as_role(world: World, shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the caller may in dev what deployments of this shape need, and no more."""
    kube = world.cluster.kube
    token = kube.access.token(shape)
    for right in deployment_rights(shape, proxy=False):
        kube.access.grant(shape, right.verbs, right.group, right.resource, namespace="dev")
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig(tmp_path / shape, token=token, namespace="dev")))


def test_a_role_for_plain_deployments_is_enough_for_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_role(world, "plain", tmp_path, monkeypatch)
    world.create("-C", "shape=plain")
    assert "state: healthy" in world.run("get", "--name", "cooler")
    world.run("update", "--name", "cooler", "-C", "replicas=2")
    assert "'ready': 2" in world.run("list")
    for _ in range(2):
        world.run("delete", "--name", "cooler")
    assert "[]" in world.run("list")
    said = world.refused("create", "--name", "cooler", "-m", "models:/cooler/1", "-C", MLFLOW)
    assert "these rights are missing: get seldondeployments.machinelearning.seldon.io" in said


def test_who_may_make_nothing_is_told_so_and_sees_no_empty_list(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create()
    kube = world.cluster.kube
    kube.access.grant("viewer", ["get", "list", "watch"], "apps", "deployments", namespace="dev")
    token = kube.access.token("viewer")
    monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig(tmp_path / "viewer", token=token, namespace="dev")))
    assert "seldondeployments" in world.refused("list")
    assert "seldondeployments" in world.refused("get", "--name", "cooler")


def test_a_folder_of_this_machine_is_no_model_for_pods(world: World, small_saved: Path) -> None:
    said = world.refused("create", "--name", "cooler", "-m", str(small_saved), "-C", MLFLOW)
    assert "register it and give models:/NAME/VERSION" in said


def test_a_name_that_is_taken_and_an_object_of_others(world: World) -> None:
    world.create()
    assert "exists already" in world.refused("create", "--name", "cooler", "-m", "models:/cooler/1", "-C", MLFLOW)
    client = get_deploy_client("seldon://fake/dev")
    with pytest.raises(MlflowException) as raised:
        client.create_deployment("cooler", "models:/cooler/1", config={"tracking_uri": "http://mlflow.svc:5000"})
    assert raised.value.error_code == "RESOURCE_ALREADY_EXISTS"
    theirs = {**world.object(), "metadata": {"name": "theirs", "namespace": "dev"}}
    world.cluster.kube.load({key: value for key, value in theirs.items() if key != "status"})
    said = world.refused("create", "--name", "theirs", "-m", "models:/cooler/1", "-C", MLFLOW)
    assert "is not ours" in said
    assert "theirs" not in world.run("list")


def test_a_field_of_somebody_else_is_taken_over_by_force_only(world: World) -> None:
    from mlflow_hydraulic.deploy_targets.kubernetes import resources
    from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster

    world.create()
    held = world.object()
    wanted = {key: held[key] for key in ("apiVersion", "kind", "spec")}
    wanted["spec"]["predictors"][0]["replicas"] = 3
    metadata = {"name": "cooler", "namespace": "dev"}
    with open_cluster() as cluster:
        cluster.apply(resources.SELDON, {**wanted, "metadata": metadata}, manager="kubectl-scaler", force=True)
    said = world.refused("update", "--name", "cooler", "-C", "replicas=2")
    assert "'kubectl-scaler'" in said and "force=true" in said
    world.run("update", "--name", "cooler", "-C", "replicas=2", "-C", "force=true")
    assert world.object()["spec"]["predictors"][0]["replicas"] == 2


def test_without_waiting_it_comes_back_at_once(world: World) -> None:
    world.cluster.operator.hold("notice")
    world.create("-C", "wait=false")
    with pytest.raises(MlflowException, match="does not answer"):
        get_deploy_client("seldon:/dev").predict("cooler", [[1.0]])
    world.cluster.operator.release()


@pytest.mark.usefixtures("world")
def test_an_init_container_is_told_the_storage_that_mlflow_knows(small_saved: Path) -> None:
    client = get_deploy_client("seldon:/dev")
    target = client._target
    seen: Json = {}
    target.apply = lambda deployment, **how: seen.update(how) or target.get(deployment.namespace, deployment.name)
    client.create_deployment("cooler", "models:/cooler/1", config={"delivery": "initializer", "service_account": "s3"})
    assert seen["storage"] == {"models:/cooler/1": small_saved.as_uri()}
    assert seen["options"].service_account == "s3"


def test_mlflow_that_only_this_machine_reaches_is_no_mlflow_for_pods(world: World) -> None:
    said = world.refused("create", "--name", "cooler", "-m", "models:/cooler/1")
    assert "which only this machine reaches: say how pods reach it, tracking_uri=http://" in said


def test_help_lists_every_key_with_examples(world: World) -> None:
    text = world.run("help", target="seldon")
    keys = set(re.findall(r"^  ([a-z_]+(?:\.[A-Za-z]+)*) +\S", text, flags=re.MULTILINE))
    assert {*KEYS, *seldon.OWN.keys} <= keys
    assert text.count("mlflow deployments") >= 8


@pytest.mark.usefixtures("world")
def test_without_the_kubernetes_client_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)  # as where it is not installed
    done = CliRunner().invoke(commands, ["list", "-t", "seldon"])
    assert done.exit_code == 1 and 'pip install "mlflow-hydraulic[kubernetes]"' in done.output
    for target in ("seldon", "seldon-local"):
        assert CliRunner().invoke(commands, ["help", "-t", target]).exit_code == 0
    assert CliRunner().invoke(commands, ["list", "-t", "seldon-local"]).exit_code == 0


def test_run_local_leaves_out_what_only_a_cluster_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow_hydraulic.plugin import seldon_local

    given: list[object] = []
    monkeypatch.setattr(seldon_local, "run_local", lambda *call: given.extend(call))
    seldon.run_local("try", "models:/cooler/1", None, {"cpu_limit": "2", "engine": "onnx", "env.A": "1"})
    assert given == ["try", "models:/cooler/1", None, {"engine": "onnx"}]
    assert "cpu_limit, env.A" in capsys.readouterr().err
