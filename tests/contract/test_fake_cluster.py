"""What only the fake can do: faults, the simulated Seldon operator, pods in trouble, logs and the service proxy."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

from tests.fakekube.cluster import SeldonCluster, seldon_cluster
from tests.fakekube.faults import Call, Fault, Schedule
from tests.fakekube.kube import FakeKube
from tests.fakekube.objects import Options
from tests.fakekube.refusal import Refusal
from tests.fakekube.troubles import TROUBLES, Trouble
from tests.fakekube.workloads import rolled_out

Json = dict[str, Any]
OURS = Options(manager="ours", validation="Strict")


def sdep(image: str = "scorer:1", **predictor: Any) -> Json:
    container = {"name": "model", "image": image}
    one = {"name": "default", "graph": {"name": "model", "type": "MODEL"}, "traffic": 100, "replicas": 2}
    one |= {"componentSpecs": [{"spec": {"containers": [container]}}], **predictor}
    return {"metadata": {"name": "pump"}, "spec": {"predictors": [one]}}


def apply(cluster: SeldonCluster, body: Json) -> Json:
    kind = cluster.kube.kind("machinelearning.seldon.io/v1", "seldondeployments")
    return cluster.kube.objects.apply(kind, "ml", "pump", body, OURS)[0]


def state(cluster: SeldonCluster) -> str:
    return str(cluster.kube["seldondeployments", "ml", "pump"].get("status", {}).get("state", ""))


def become(cluster: SeldonCluster, wanted: str) -> None:
    cluster.kube.wait(lambda: state(cluster) == wanted)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[FakeKube, Any]]:
    with FakeKube() as kube:
        client_ = config.new_client_from_config(str(kube.kubeconfig(tmp_path / "kubeconfig")))
        client_.configuration.retries = False
        yield kube, client.CoreV1Api(client.ApiClient(client_.configuration))
        client_.close()


# Faults


@pytest.mark.parametrize(("code", "wait"), [(429, 1), (500, None), (503, 2)])
def test_refusals(api: tuple[FakeKube, Any], code: int, wait: int | None) -> None:
    kube, core = api
    kube.fail(Fault(kind="refused", code=code, retry_after_s=wait), method="POST")
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_config_map("default", {"metadata": {"name": "a"}})
    assert caught.value.status == code
    assert caught.value.headers.get("Retry-After") == (None if wait is None else str(wait))
    assert ("configmaps", "default", "a") not in kube
    core.create_namespaced_config_map("default", {"metadata": {"name": "a"}})
    assert kube.faults_left == 0


@pytest.mark.parametrize("kind", ["reset before", "reset after"])
def test_resets(api: tuple[FakeKube, Any], kind: Any) -> None:
    kube, core = api
    kube.fail(Fault(kind=kind), method="POST")
    with pytest.raises(urllib3.exceptions.HTTPError):
        core.create_namespaced_config_map("default", {"metadata": {"name": "a"}})
    assert (("configmaps", "default", "a") in kube) == (kind == "reset after")


def test_watch_faults(api: tuple[FakeKube, Any]) -> None:
    kube, core = api
    core.create_namespaced_config_map("default", {"metadata": {"name": "a"}})
    kube.fail(Fault(kind="gone"))
    assert core.list_namespaced_config_map("default").items, "a list meets no watch fault"
    with pytest.raises(ApiException) as caught:
        list(watch.Watch().stream(core.list_namespaced_config_map, "default", timeout_seconds=2))
    assert caught.value.status == 410
    kube.fail(Fault(kind="cut"))
    with pytest.raises((urllib3.exceptions.HTTPError, ValueError)):
        list(watch.Watch().stream(core.list_namespaced_config_map, "default", timeout_seconds=2))


def test_a_seed_gives_its_faults_again() -> None:
    calls = [Call(method="PATCH", path="/x", watch=at % 3 == 0) for at in range(200)]
    first, again, other = (list(map(Schedule(seed, most=50).meets, calls)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert sum(fault is not None for fault in first) == 50, "and then the network is well"
    assert {fault.kind for fault in first if fault} == {"refused", "reset before", "reset after", "slow", "gone", "cut"}


# The operator


def test_from_nothing_to_available() -> None:
    with seldon_cluster("ml") as cluster:
        apply(cluster, sdep())
        become(cluster, "Available")
        kube = cluster.kube
        made = kube["deployments", "ml", "pump-default-0-model"]
        assert made["metadata"]["labels"]["seldon-deployment-id"] == "pump"
        assert made["status"]["updatedReplicas"] == 2
        assert ("services", "ml", "pump-default") in kube
        assert "observedGeneration" not in kube["seldondeployments", "ml", "pump"]["status"]
        kind = kube.kind("machinelearning.seldon.io/v1", "seldondeployments")
        kube.objects.delete(kind, "ml", "pump", None)
        kube.wait(lambda: not [key for key in kube.store.objects if key.namespace == "ml"])


def test_an_update_says_available_of_the_old_model() -> None:
    with seldon_cluster("ml") as cluster:
        apply(cluster, sdep())
        become(cluster, "Available")
        cluster.operator.hold("notice")
        answer = apply(cluster, sdep("scorer:2"))
        assert answer["status"]["state"] == "Available"
        assert answer["metadata"]["generation"] == 2
        with pytest.raises(TimeoutError):
            cluster.kube.wait(lambda: state(cluster) != "Available", timeout_s=0.3)
        assert rolled_out(cluster.kube["deployments", "ml", "pump-default-0-model"]), "it looks settled, and is old"
        cluster.operator.release()
        become(cluster, "Creating")
        become(cluster, "Available")
        assert {image(pod) for pod in pods(cluster)} == {"scorer:2"}


def test_traffic_alone_restarts_nothing() -> None:
    two = sdep()
    other = copy.deepcopy(two["spec"]["predictors"][0]) | {"name": "other", "traffic": 0}
    two["spec"]["predictors"].append(other)
    with seldon_cluster("ml") as cluster:
        apply(cluster, two)
        become(cluster, "Available")
        before = {pod["metadata"]["uid"] for pod in pods(cluster)}
        for one in two["spec"]["predictors"]:
            one["traffic"] = 50
        seen = cluster.kube.store.version
        apply(cluster, two)
        cluster.kube.wait(lambda: not cluster.operator.behind())
        states = {
            e.after["status"]["state"] for e in cluster.kube.store.since(seen) if e.key.plural == "seldondeployments"
        }
        assert states == {"Available"}, "Creating is not seen at all"
        assert {pod["metadata"]["uid"] for pod in pods(cluster)} == before


@pytest.mark.parametrize("trouble", [one for one in TROUBLES if one != "Slow"])
def test_trouble_leaves_the_last_good_one_serving(trouble: Trouble) -> None:
    def befalls(deployment: Json) -> Trouble | None:
        return trouble if image(deployment["spec"]["template"]) == "bad:1" else None

    with seldon_cluster("ml", befalls=befalls) as cluster:
        apply(cluster, sdep())
        become(cluster, "Available")
        apply(cluster, sdep("bad:1"))
        become(cluster, "Failed")
        ready = [pod for pod in pods(cluster) if pod["status"]["phase"] == "Running" and image(pod) == "scorer:1"]
        assert len(ready) == 2
        events = cluster.kube.objects.find(cluster.kube.kind("v1", "events"), "ml")
        assert events
        assert all(event["type"] == "Warning" for event in events)
        apply(cluster, sdep("scorer:1"))
        become(cluster, "Available")
        assert {image(pod) for pod in pods(cluster)} == {"scorer:1"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"graph": {"name": "model", "implementation": "MLFLOW_SERVER"}}, "Predictive unit modelUri required"),
        ({"graph": {"name": "m", "implementation": "X", "modelUri": "s3://a"}}, "No entry in predictors map for X"),
        ({"graph": {"name": "other", "type": "MODEL"}}, "Can't find container for Predictive Unit"),
        ({"shadow": True}, "Shadow can not exist as only predictor"),
        ({"traffic": 40}, "Traffic must sum be 100"),
    ],
)
def test_webhook_refuses(change: Json, words: str) -> None:
    with seldon_cluster("ml") as cluster, pytest.raises(Refusal) as caught:
        apply(cluster, sdep(**change))
    assert caught.value.code == 422
    assert words in caught.value.message
    assert 'admission webhook "v1.vseldondeployment.kb.io" denied the request' in caught.value.message


# Logs and the proxy


def test_logs_of_a_crash(tmp_path: Path) -> None:
    with seldon_cluster("ml", befalls=lambda deployment: "CrashLoopBackOff") as cluster:
        apply(cluster, sdep())
        become(cluster, "Failed")
        api_client = config.new_client_from_config(str(cluster.kube.kubeconfig(tmp_path / "kubeconfig")))
        core = client.CoreV1Api(api_client)
        name = pods(cluster)[0]["metadata"]["name"]
        # Not preloaded: some versions of the client give the text of a bytes object.
        asked = {"container": "model", "previous": True, "tail_lines": 1, "_preload_content": False}
        text = core.read_namespaced_pod_log(name, "ml", **asked).data
        assert text == b"ValueError: digest of the model does not match\n"
        with pytest.raises(ApiException) as caught:
            core.read_namespaced_pod_log(name, "ml")
        assert "a container name must be specified" in caught.value.body
        api_client.close()


def test_proxy_reaches_a_real_scorer(tmp_path: Path) -> None:
    with echo() as url, seldon_cluster("ml", backend=lambda whole, predictor: url) as cluster:
        apply(cluster, sdep())
        become(cluster, "Available")
        token = cluster.kube.access.token("caller")
        base = f"{cluster.kube.url}/api/v1/namespaces/ml/services/pump-default:8000/proxy"
        http = urllib3.PoolManager()

        def call() -> Any:
            return http.request(
                "POST", f"{base}/api/v1.0/predictions?a=b", body=b"{}", headers={"Authorization": f"Bearer {token}"}
            )

        assert call().status == 403
        cluster.kube.access.grant("caller", ["create"], "", "services/proxy", namespace="ml")
        answer = call()
        assert answer.status == 201
        seen = json.loads(answer.data)
        assert seen["path"] == "/api/v1.0/predictions?a=b"
        assert "authorization" not in {name.lower() for name in seen["headers"]}, "the token stays with the API server"
        cluster.kube.backends.clear()
        assert call().status == 503
        http.clear()


class echo:  # noqa: N801 - used like a function
    """A server that answers 201 with what it was asked."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                text = json.dumps({"path": self.path, "headers": dict(self.headers.items())}).encode()
                self.send_response(201)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def pods(cluster: SeldonCluster) -> list[Json]:
    return cluster.kube.objects.find(cluster.kube.kind("v1", "pods"), "ml")


def image(holder: Json) -> str:
    return str(holder["spec"]["containers"][0]["image"])
