"""What the suite of every target runs on: each target with models that it can serve, and models that it cannot.

For Kubernetes the fake API server with its simulated operator, or the cluster that TEST_KUBECONFIG names, in two fresh
namespaces. TEST_IMAGE is the image of the pods there, any with Python in it; no scorer of ours is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.deploy_targets.kubernetes.client import open_cluster
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import DEFAULTS, options_from_table
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.target import KubernetesTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Observed, Predictor
from tests.fakekube.cluster import seldon_cluster
from tests.fakekube.troubles import Trouble
from tests.support.local import ROOT, fake_model, kill_leftovers, local_target

KUBECONFIG = os.environ.get("TEST_KUBECONFIG", "")
IMAGE = os.environ.get("TEST_IMAGE", "python:3.12-alpine")
BAD = "bad"
# A server that answers everything, or ends at once with a word in its log.
PROGRAM = (
    "import http.server as h, os, sys; "
    f"os.environ['{pod.MODEL_NAME}'] == '{BAD}' and sys.exit('Traceback: the model is broken'); "
    "f = lambda s: (s.send_response(200), s.end_headers(), s.wfile.write(b'{}')); "
    "H = type('H', (h.BaseHTTPRequestHandler,), {'do_GET': f, 'do_POST': f}); "
    f"h.ThreadingHTTPServer(('', int(os.environ['{pod.HTTP_PORT_VARIABLE}'])), H).serve_forever()"
)


class Target(Protocol):
    """The operations that the plugin and the controller call."""

    def apply(self, deployment: Deployment, **how: Any) -> Observed: ...

    def observe(self, namespace: str | None = None) -> list[Observed]: ...

    def get(self, namespace: str, name: str) -> Observed: ...

    def delete(
        self, namespace: str, name: str, *, expected: int | None = None, timeout_s: float | None = None
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A target, two namespaces that are empty, and makers of models. how: what `apply` is given beside the rest."""

    target: Target
    good: Callable[[str], ModelVersion]
    bad: Callable[[str], ModelVersion]
    dev: str = "dev"
    prod: str = "prod"
    how: dict[str, Any] = field(default_factory=dict)

    def apply(self, deployment: Deployment, **how: Any) -> Observed:
        return self.target.apply(deployment, **{**self.how, **how})

    def get(self, name: str = "cooler") -> Observed:
        return self.target.get(self.dev, name)

    def everything(self) -> list[Observed]:
        """What runs in both namespaces, by one look at all."""
        return [one for one in self.target.observe() if one.namespace in (self.dev, self.prod)]

    def one(self, model: ModelVersion, name: str = "cooler", namespace: str = "", replicas: int = 1) -> Deployment:
        main = Predictor(name="default", model=model, replicas=replicas)
        return Deployment(name=name, namespace=namespace or self.dev, predictors=(main,))

    def clean(self) -> None:
        for observed in self.everything():
            self.target.delete(observed.namespace, observed.name)


@contextlib.contextmanager
def local_subject(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    """Processes of this machine; none may be left over."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subject = Subject(
        target=local_target(folder),  # type: ignore[arg-type]  # its options are of its own kind
        good=lambda version: fake_model(folder, version),
        bad=lambda version: fake_model(folder, version, crash=True),
    )
    yield subject
    subject.clean()
    assert kill_leftovers(folder) == [], "processes were left over"


@contextlib.contextmanager
def kubernetes_subject(folder: Path) -> Iterator[Subject]:
    """A cluster; what was deployed there is gone afterwards, and so are the namespaces."""
    with _real() if KUBECONFIG else _fake(folder) as subject:
        yield subject
        subject.clean()


def pinned(version: str, name: str = "m") -> ModelVersion:
    digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    return ModelVersion(uri=f"models:/{name}/{version}", name=name, version=version, digest=digest)


@contextlib.contextmanager
def _fake(folder: Path) -> Iterator[Subject]:
    with seldon_cluster("dev", "prod", befalls=_befalls) as cluster:
        kubeconfig = cluster.kube.kubeconfig(folder / "kubeconfig", namespace="dev")
        with open_cluster(kubeconfig=str(kubeconfig)) as opened:
            target = KubernetesTarget(opened, look_s=0.05, fatal_s=0.1)
            yield _subject(target, "dev", "prod", DEFAULTS)


def _befalls(deployment: dict[str, Any]) -> Trouble | None:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in containers[0].get("env", [])}
    return "CrashLoopBackOff" if told.get(pod.MODEL_NAME) == BAD else None


@contextlib.contextmanager
def _real() -> Iterator[Subject]:
    from kubernetes import client, config

    api = config.new_client_from_config(KUBECONFIG)
    core, mark = client.CoreV1Api(api), uuid.uuid4().hex[:8]
    dev, prod = (f"contract-{mark}-{what}" for what in ("dev", "prod"))
    options = options_from_table(
        "the suite",
        {
            "server": "image",
            "image": IMAGE,
            "args": ["python3", "-c", PROGRAM],
            "orchestrator": False,
            "cpu_request": "10m",
            "memory_request": "32Mi",
            "start_timeout_s": 120,
            "grace_s": 5,
            "probe_period_s": 1,
        },
    )
    try:
        for name in (dev, prod):
            core.create_namespace({"metadata": {"name": name}})
        with open_cluster(kubeconfig=KUBECONFIG) as opened:
            yield _subject(KubernetesTarget(opened), dev, prod, options)
    finally:
        for name in (dev, prod):
            core.delete_namespace(name)
        api.close()


def _subject(target: KubernetesTarget, dev: str, prod: str, options: KubernetesOptions) -> Subject:
    return Subject(
        target=target,  # type: ignore[arg-type]  # its options are of its own kind
        good=pinned,
        bad=lambda version: pinned(version, BAD),
        dev=dev,
        prod=prod,
        how={"options": options},
    )
