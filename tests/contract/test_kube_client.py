"""Calls to the API server: who is asked as whom, what is repeated, what is never sent twice or said."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mlflow_hydraulic.deploy_targets.kubernetes.backoff import Patience
from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster, Json
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.resources import DEPLOYMENT, POD, SELDON, SERVICE
from mlflow_hydraulic.deploy_targets.kubernetes.seldon_manifest import seldon_manifest
from mlflow_hydraulic.deploy_targets.kubernetes.watch import changes
from mlflow_hydraulic.errors import BadInput, NotFound, Refused, Unavailable, Untrusted
from tests.fakekube.cluster import seldon_crd
from tests.fakekube.faults import Fault
from tests.fakekube.kube import FakeKube
from tests.support.kube_target import QUICK
from tests.support.kube_values import deployment

KINDS = ("refused", "reset before", "reset after")


@pytest.fixture
def kube() -> Iterator[FakeKube]:
    with FakeKube([seldon_crd()]) as made:
        made.namespace("prod")
        yield made


@pytest.fixture
def cluster(kube: FakeKube, tmp_path: Path) -> Iterator[Cluster]:
    path = kube.kubeconfig(tmp_path / "kubeconfig", namespace="prod")
    with open_cluster(kubeconfig=str(path), patience=QUICK) as opened:
        yield opened


def pod(kube: FakeKube, name: str) -> Json:
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return kube.objects.create(kube.kind("v1", "pods"), "prod", body)


def test_kubeconfig_comes_by_argument_or_variable_and_names_the_namespace(
    kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kube.kubeconfig(tmp_path / "kubeconfig", namespace="prod", context="here")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'not-there'}:{path}")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")  # a kubeconfig goes before the pod that we are in
    for context in ("", "here"):
        with open_cluster(context) as opened:
            assert (opened.name, opened.namespace, opened.server) == ("here", "prod", kube.url)
            assert opened.list(POD, "prod").items == []
    with pytest.raises(BadInput, match=r"context 'there' is not in kubeconfig .* it has here"):
        open_cluster("there")


def test_no_cluster_a_missing_file_and_a_broken_one_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match=r"no cluster is configured: .*set KUBECONFIG"):
        open_cluster()
    with pytest.raises(BadInput, match="no such file"):
        open_cluster(kubeconfig=str(tmp_path / "nothing"))
    for text in ("", "[1, 2", "contexts: 3"):
        (tmp_path / "broken").write_text(text)
        with pytest.raises(BadInput, match="broken"):
            open_cluster(kubeconfig=str(tmp_path / "broken"))


def test_two_clusters_do_not_share_a_configuration(cluster: Cluster, tmp_path: Path) -> None:
    with FakeKube() as other:
        path = other.kubeconfig(tmp_path / "other")
        with open_cluster(kubeconfig=str(path)) as second:
            assert second.server != cluster.server
            assert not second.serves(SELDON)
            assert cluster.serves(SELDON)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_every_call_is_repeated_until_it_is_answered(cluster: Cluster, kube: FakeKube, method: str, kind: str) -> None:
    manifest = seldon_manifest(deployment(), KubernetesOptions())
    made = cluster.apply(SELDON, manifest, manager="us")
    kube.fail(Fault(kind=kind, code=503), method=method, times=3)  # type: ignore[arg-type]
    if method == "GET":
        assert cluster.get(SELDON, "prod", "cooler")["metadata"]["uid"] == made["metadata"]["uid"]
    elif method == "PATCH":
        assert cluster.apply(SELDON, manifest, manager="us")["metadata"]["generation"] == 1
    else:
        cluster.delete(SELDON, "prod", "cooler", uid=made["metadata"]["uid"])
        assert cluster.find(SELDON, "prod", "cooler") is None
    assert kube.faults_left == 0


def test_retry_after_is_honoured_and_nothing_is_repeated_behind_our_back(cluster: Cluster, kube: FakeKube) -> None:
    slept: list[float] = []
    cluster.sleep = slept.append
    for method in ("GET", "DELETE"):
        kube.requests.clear()
        slept.clear()
        kube.fail(Fault(kind="refused", code=429, retry_after_s=3), method=method, times=2)
        if method == "GET":
            cluster.list(POD, "prod")
        else:
            with pytest.raises(NotFound):
                cluster.get(POD, "prod", "x")
            cluster.delete(POD, "prod", "x", uid="u")
        assert slept == [3.0, 3.0]
        assert len(kube.requests) == (3 if method == "GET" else 4)


def test_patience_has_an_end_and_says_how_long_it_was(cluster: Cluster, kube: FakeKube) -> None:
    now = [0.0]
    cluster.now, cluster.sleep = lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds)
    cluster.patience = Patience(first_s=1.0, longest_s=8.0, total_s=60.0)
    kube.fail(Fault(kind="refused", code=503), times=1000)
    with pytest.raises(Unavailable, match=r"list pods of prod: .* given up after \d+ tries in 60 s"):
        cluster.list(POD, "prod")
    assert 40 < now[0] <= 60
    assert 7 <= len(kube.requests) <= 20


def test_a_server_that_is_away_is_told_by_its_name(cluster: Cluster, kube: FakeKube) -> None:
    cluster.patience = replace(QUICK, total_s=0.1)
    kube.__exit__(None, None, None)
    with pytest.raises(Unavailable, match="no answer from the API server of fake"):
        cluster.list(POD, "prod")


def test_an_unknown_token_is_refused_and_no_token_is_ever_logged(
    kube: FakeKube, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = kube.kubeconfig(tmp_path / "kubeconfig", token="not-known-abc")
    with open_cluster(kubeconfig=str(path), patience=QUICK) as opened, pytest.raises(Refused, match="renew the token"):
        opened.list(POD, "prod")
    path = kube.kubeconfig(tmp_path / "kubeconfig")
    kube.fail(Fault(kind="refused", code=500), times=2)
    with open_cluster(kubeconfig=str(path), patience=QUICK) as opened:
        opened.list(POD, "prod")
    assert "again in" in caplog.text
    assert kube.admin_token not in caplog.text
    assert "not-known-abc" not in caplog.text


def self_signed(folder: Path) -> Path:
    """A file with a key and a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "served.pem").write_bytes(secret + made)
    return folder / "served.pem"


def test_a_certificate_that_does_not_hold_is_said_at_once(tmp_path: Path) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(self_signed(tmp_path))
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = served.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        document = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
        with (
            open_cluster(kubeconfig=str(tmp_path / "kubeconfig"), patience=QUICK) as opened,
            pytest.raises(Untrusted, match="certificate of c does not hold"),
        ):
            opened.list(POD, "prod")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_proxy_gives_back_what_the_service_answers_and_asks_once(cluster: Cluster, kube: FakeKube) -> None:
    kube.objects.create(
        kube.kind("v1", "services"), "prod", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    )
    answer = cluster.proxy("POST", ("prod", "s", 80), "/invocations", body={"inputs": [[1]]})
    assert (answer.status, b"no endpoints" in answer.body) == (503, True)
    assert len([path for method, path, _ in kube.requests if "/proxy/" in path]) == 1
    kube.fail(Fault(kind="reset after"), path="/proxy/")
    with pytest.raises(Unavailable):
        cluster.proxy("POST", ("prod", "s", 80), "/invocations", body={})
    assert cluster.get(SERVICE, "prod", "s")["metadata"]["name"] == "s"


def test_a_watch_outlives_resets_cuts_and_410_and_misses_nothing(cluster: Cluster, kube: FakeKube) -> None:
    kind = kube.kind("v1", "pods")
    pod(kube, "one")
    pod(kube, "other")
    for fault in ("gone", "cut", "reset before", "refused"):
        kube.fail(Fault(kind=fault), path="/pods")
    seen: list[str] = []
    with closing(changes(cluster, POD, "prod", "one", until=cluster.now() + 30, look_s=1)) as found:
        for value in found:
            mark = (value or {"metadata": {"labels": {"step": "gone"}}})["metadata"].get("labels", {}).get("step", "")
            if seen and seen[-1] == mark:
                continue  # a look in between
            seen.append(mark)
            if value is None:
                break
            if mark == "3":
                kube.objects.drop(kind, "prod", kube.objects.read(kind, "prod", "one"))
                continue
            held = kube.objects.read(kind, "prod", "one")
            held["metadata"]["labels"] = {"step": str(len(seen))}
            kube.objects.update(kind, "prod", "one", held)
            other = {**kube.objects.read(kind, "prod", "other")}
            kube.objects.update(kind, "prod", "other", {**other, "status": {"phase": mark}})
    assert seen == ["", "1", "2", "3", "gone"]
    assert kube.faults_left == 0


def test_a_watch_ends_at_its_deadline_and_looks_in_between(cluster: Cluster, kube: FakeKube) -> None:
    pod(kube, "one")
    looks = list(changes(cluster, POD, "prod", "one", until=cluster.now() + 1.2, look_s=0.5))
    assert len(looks) >= 2
    assert list(changes(cluster, DEPLOYMENT, "prod", "none", until=cluster.now())) == [None]
