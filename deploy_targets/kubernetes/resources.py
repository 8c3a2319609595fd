"""The kinds of objects that a deployment on Kubernetes meets, and where the API server has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes import kserve_manifest, seldon_manifest


@dataclass(frozen=True, slots=True)
class Resource:
    """One namespaced kind in one version."""

    api_version: str
    plural: str
    kind: str

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def home(self) -> str:
        """Where the API server tells whether it serves the kind's group and version."""
        return f"/{'apis' if self.group else 'api'}/{self.api_version}"

    def path(self, namespace: str | None, name: str = "", sub: str = "") -> str:
        """Of one object, of all in a namespace, or (None) of all in the cluster."""
        place = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(filter(None, (f"{self.home}{place}/{self.plural}", name, sub)))


SELDON = Resource(seldon_manifest.API_VERSION, "seldondeployments", seldon_manifest.KIND)
KSERVE = Resource(kserve_manifest.API_VERSION, "inferenceservices", kserve_manifest.KIND)
DEPLOYMENT = Resource("apps/v1", "deployments", "Deployment")
SERVICE = Resource("v1", "services", "Service")
AUTOSCALER = Resource("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
BUDGET = Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
POD = Resource("v1", "pods", "Pod")
EVENT = Resource("v1", "events", "Event")
ALL = (SELDON, KSERVE, DEPLOYMENT, SERVICE, AUTOSCALER, BUDGET, POD, EVENT)


def resource_of(manifest: Mapping[str, Any]) -> Resource:  # Any: JSON
    """The kind of an object; KeyError for one that no shape makes."""
    return {one.kind: one for one in ALL}[manifest["kind"]]
