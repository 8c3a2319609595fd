"""What stands behind a Service: its ready pods, in turn, and Seldon's orchestrator before those that have one.

Called by the service proxy and by the gateway, in clusters whose pods are real processes.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakekube.refusal import Refusal
from tests.fakekube.seldon_objects import ENGINE, ID

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube
    from tests.fakekube.kubelet import Kubelet

Json = dict[str, Any]
ENGINE_PORT = 8000
# What the orchestrator of Seldon 1.18 serves, and as what the model's container then sees it.
SELDON_PATHS = {
    "api/v1.0/predictions": "predict",
    "api/v1.0/feedback": "send-feedback",
    "api/v1.0/health/status": "health/status",
    "api/v1.0/metadata": "metadata",
}


@dataclass(frozen=True)
class Way:
    """Where a call goes on this machine: `base`/`path`, with `headers` beside the caller's."""

    base: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)


class Endpoints:
    """Finds a way for each call."""

    def __init__(self, kube: FakeKube, kubelet: Kubelet) -> None:
        self._kube, self._kubelet = kube, kubelet
        self._turn = itertools.count()
        self._pods = kube.kind("v1", "pods")

    def pod(self, namespace: str, name: str) -> str:
        """Where a pod's container listens; "" where it is not ready."""
        return self._kubelet.address(self._kube["pods", namespace, name]["metadata"]["uid"])

    def way(self, namespace: str, service: str, port: int, path: str) -> Way:
        """`Refusal` 503 where no pod is ready, 404 for a path that the orchestrator does not have."""
        wanted = self._kube["services", namespace, service]["spec"]["selector"]
        selector = ",".join(f"{key}={value}" for key, value in wanted.items())
        pods = self._kube.objects.find(self._pods, namespace, labelSelector=selector)
        ready = [(pod, base) for pod in pods if (base := self._kubelet.address(pod["metadata"]["uid"]))]
        if not ready:
            raise Refusal(503, f'no endpoints available for service "{service}"')
        pod, base = ready[next(self._turn) % len(ready)]
        engine = any(container["name"] == ENGINE["name"] for container in pod["spec"]["containers"])
        if not engine or port != ENGINE_PORT:
            return Way(base, path)
        sdep = self._kube["seldondeployments", namespace, pod["metadata"]["labels"][ID]]
        return Way(base, _orchestrated(sdep, path.strip("/")), {"seldon-puid": str(uuid.uuid4())})


def _orchestrated(sdep: Json, path: str) -> str:
    if sdep["spec"].get("protocol", "seldon") == "v2":
        if path.startswith("v2/"):
            return path
    elif path in SELDON_PATHS:
        return SELDON_PATHS[path]
    raise Refusal(404, f"404 page not found: /{path}")
