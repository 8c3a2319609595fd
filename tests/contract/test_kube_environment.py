"""An environment of the controller on Kubernetes: what it sees, what it leaves alone, what it refuses to be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_hydraulic.bindings import Environment, preset
from mlflow_hydraulic.deploy_targets.environment import Mlflow, Opened, open_environment, open_environments
from mlflow_hydraulic.deployment import Deployment, Predictor
from mlflow_hydraulic.errors import BadInput, Failed, Unavailable
from mlflow_hydraulic.plan import CONTROLLER, MANAGED
from mlflow_hydraulic.reconcile import observe
from mlflow_hydraulic.settings import Settings
from mlflow_hydraulic.world import Sources
from tests.contract.subjects import pinned
from tests.fakekube.cluster import SeldonCluster, seldon_cluster
from tests.support.local import until
from tests.unit.worlds import MemoryRegistry

DEV, PROD = (replace(one, target="seldon") for one in preset("stages"))
MLFLOW = Mlflow(tracking_uri="http://mlflow.example:5000", storage=lambda model: f"s3://models/{model.version}")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SeldonCluster]:
    with seldon_cluster("dev", "prod") as made:
        monkeypatch.setenv("KUBECONFIG", str(made.kube.kubeconfig(tmp_path / "kubeconfig")))
        yield made


def opened(environment: Environment = PROD, **options: Any) -> Opened:
    return open_environment(replace(environment, kubernetes=options), Settings(), MLFLOW)


def deployment(version: str = "1", **labels: str) -> Deployment:
    main = Predictor(name=f"v{version}", model=pinned(version))
    return Deployment(name="m", namespace="prod", predictors=(main,), labels={MANAGED: CONTROLLER, **labels})


@pytest.mark.usefixtures("cluster")
def test_what_it_applies_it_sees_and_ends() -> None:
    prod = opened()
    assert prod.observe() == []
    prod.apply(deployment(), None)
    [seen] = prod.observe()
    assert (seen.state, seen.deployment, seen.managed, seen.stale) == ("healthy", deployment(), True, "")
    prod.apply(deployment("2"), seen)
    [second] = prod.observe()
    assert second.deployment == deployment("2")
    with pytest.raises(Unavailable, match="somebody else was quicker"):
        prod.delete("m", seen)
    with pytest.raises(Unavailable, match="somebody else was quicker"):
        prod.apply(deployment("3"), seen)
    prod.delete("m", second)
    assert prod.observe() == []


def test_pods_are_told_of_mlflow_as_this_process_knows_it(cluster: SeldonCluster) -> None:
    opened().apply(deployment(), None)
    [held] = cluster.kube.objects.find(cluster.kube.kind("apps/v1", "deployments"), "prod")
    told = {one["name"]: one.get("value") for one in held["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert told["MLFLOW_TRACKING_URI"] == "http://mlflow.example:5000"


def test_an_init_container_is_told_where_the_files_lie(cluster: SeldonCluster) -> None:
    opened(delivery="initializer").apply(deployment(), None)
    sdep = cluster.kube["seldondeployments", "prod", "m"]
    assert sdep["spec"]["predictors"][0]["graph"]["modelUri"] == "s3://models/1"


@pytest.mark.usefixtures("cluster")
def test_other_options_make_it_stale_until_it_is_applied_again() -> None:
    opened(cpu_limit="1").apply(deployment(), None)
    other = opened(image="registry.example/scorer:2")
    [seen] = other.observe()
    assert seen.stale == 'environments.prod.kubernetes says cpu_limit=its default, image="registry.example/scorer:2"'
    other.apply(deployment(), seen)
    assert [(one.state, one.stale) for one in other.observe()] == [("healthy", "")]


def test_a_change_that_fails_is_told_and_what_served_goes_on(cluster: SeldonCluster) -> None:
    prod = opened()
    prod.apply(deployment(), None)
    cluster.workloads.befalls = lambda held: "ImagePullBackOff" if held["metadata"]["name"].startswith("m-v2") else None
    with pytest.raises(Failed, match="image"):
        prod.apply(deployment("2"), prod.observe()[0])
    until(lambda: [one.state for one in prod.observe()] == ["healthy"], "what served is as it was")
    assert [one.deployment for one in prod.observe()] == [deployment()]


def test_objects_of_others_are_not_seen(cluster: SeldonCluster) -> None:
    opened().apply(deployment(), None)
    ours = cluster.kube["seldondeployments", "prod", "m"]
    metadata = {"name": "theirs", "namespace": "prod"}
    cluster.kube.load({**{key: ours[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata})
    assert [one.deployment.name for one in opened().observe()] == ["m"]


def test_a_cluster_that_is_away_blinds_its_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with seldon_cluster("prod") as cluster:
        path = cluster.kube.kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(path))
        prod = opened()
    monkeypatch.setattr("mlflow_hydraulic.deploy_targets.kubernetes.backoff.Patience.total_s", 0.2, raising=False)
    local = open_environment(replace(DEV, target="seldon-local"), Settings(home=tmp_path), MLFLOW)
    sight = observe(Sources(registry=MemoryRegistry(), environments=(DEV, PROD), targets={"dev": local, "prod": prod}))
    assert (sight.running, list(sight.blind)) == ((), ["prod"])
    assert isinstance(sight.blind["prod"], Unavailable)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (replace(PROD, target="seldon-lokal"), "known targets are seldon-local, seldon, seldon://CONTEXT"),
        (replace(PROD, target="seldon:/live"), 'say environments.prod.namespace = "live" instead'),
        (replace(PROD, target="seldon://nowhere"), "context 'nowhere' is not in kubeconfig"),
        (replace(PROD, target="seldon-local", kubernetes={"image": "x"}), "seldon-local takes no such options"),
        (replace(PROD, kubernetes={"imag": "x"}), "environments.prod.kubernetes.imag: no such option; known are shape"),
        (replace(PROD, kubernetes={"cpu_limit": 1.5, "autoscale_max": "many"}), "autoscale_max='many'"),
        (replace(PROD, kubernetes={"env": {"TOKEN": "abc"}}), "looks like a secret"),
    ],
)
def test_what_is_wrongly_configured_is_told_before_any_request(environment: Environment, words: str) -> None:
    with pytest.raises(BadInput) as raised:
        open_environment(environment, Settings(), MLFLOW)
    assert words in str(raised.value)


@pytest.mark.usefixtures("cluster")
def test_two_environments_in_one_place_are_refused() -> None:
    other = replace(DEV, target="seldon://fake", namespace="prod")
    with pytest.raises(BadInput, match="same place as dev"):
        open_environments((other, PROD), Settings(), MLFLOW)
    assert set(open_environments((DEV, PROD), Settings(), MLFLOW)) == {"dev", "prod"}


def test_without_the_kubernetes_client_only_who_needs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)  # as where it is not installed
    with pytest.raises(BadInput, match=r'pip install "mlflow-hydraulic\[kubernetes\]"'):
        opened()
    local = replace(DEV, target="seldon-local")
    assert open_environments((local,), Settings(home=tmp_path), MLFLOW)["dev"].observe() == []


@pytest.mark.usefixtures("cluster")
def test_a_model_that_no_pod_reaches_is_refused() -> None:
    folder = Predictor(name="v1", model=replace(pinned("1"), uri="/models/a folder"))
    with pytest.raises(BadInput, match="register it"):
        opened().apply(replace(deployment(), predictors=(folder,)), None)
    here = Mlflow(tracking_uri="sqlite:////home/me/mlflow.db", storage=MLFLOW.storage)
    with pytest.raises(BadInput, match="tracking_uri=http"):
        open_environment(PROD, Settings(), here).apply(deployment(), None)
