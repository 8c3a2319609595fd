"""What Seldon's operator makes of a SeldonDeployment: Deployments, Services, budgets, autoscalers. Pure.

Called by `operator`. Names and labels are those that the real operator 1.18 was seen to give.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.fakekube.workloads import owner_of

Json = dict[str, Any]
NO_ENGINE = "seldon.io/no-engine"
SERVER_IMAGES = {"MLFLOW_SERVER": "seldonio/mlflowserver:1.18.2", "SKLEARN_SERVER": "seldonio/sklearnserver:1.18.2"}
ENGINE = {
    "name": "seldon-container-engine",
    "image": "seldonio/seldon-core-executor:1.18.2",
    "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}},
}
INITIALIZER = "seldonio/rclone-storage-initializer:1.18.2"
ID = "seldon-deployment-id"


def service_name(sdep: Json, predictor: Json) -> str:
    """The Service of one predictor."""
    return f"{sdep['metadata']['name']}-{predictor['name']}"


def deployments_of(sdep: Json, predictor: Json) -> list[Json]:
    """One Deployment for each componentSpec, or one for a prepackaged server without any."""
    components = predictor.get("componentSpecs") or [{"spec": {"containers": []}}]
    return [_deployment(sdep, predictor, component, at) for at, component in enumerate(components)]


def _deployment(sdep: Json, predictor: Json, component: Json, at: int) -> Json:
    spec = copy.deepcopy(component.get("spec") or {})
    units = _units(predictor["graph"])
    containers: list[Json] = spec.setdefault("containers", [])
    if at == 0:
        present = {container["name"] for container in containers}
        containers += [
            {"name": unit["name"]} for unit in units if "implementation" in unit and unit["name"] not in present
        ]
    for container in containers:
        _complete(container, units, spec)
    name = "-".join([service_name(sdep, predictor), str(at), *(container["name"] for container in containers)])
    if at == 0 and NO_ENGINE not in (predictor.get("annotations") or {}):
        containers.append({**ENGINE, **(predictor.get("svcOrchSpec") or {})})
        containers[-1] = {key: copy.deepcopy(item) for key, item in containers[-1].items() if key in ("env", *ENGINE)}
    # The security context of the real operator: a user that is not root.
    spec.setdefault("securityContext", {"runAsUser": 8888})
    own = {ID: sdep["metadata"]["name"], "app": name, "seldon-app": service_name(sdep, predictor)}
    pod_labels = {**(predictor.get("labels") or {}), **(component.get("metadata") or {}).get("labels", {}), **own}
    notes = {**(sdep["spec"].get("annotations") or {}), **(predictor.get("annotations") or {})}
    replicas = component.get("replicas", predictor.get("replicas", sdep["spec"].get("replicas", 1)))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**_metadata(sdep, name), "labels": {**_metadata(sdep, name)["labels"], **own}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name, ID: sdep["metadata"]["name"]}},
            "progressDeadlineSeconds": predictor.get("progressDeadlineSeconds", 600),
            "template": {"metadata": {"labels": pod_labels, "annotations": notes}, "spec": spec},
        },
    }


def _complete(container: Json, units: list[Json], spec: Json) -> None:
    """Image, variables and the download of the model for the graph's unit of this name."""
    unit = next((unit for unit in units if unit["name"] == container["name"]), None)
    if unit is None or "implementation" not in unit:
        return
    container.setdefault(
        "image", SERVER_IMAGES.get(unit["implementation"], f"seldonio/{unit['implementation'].lower()}")
    )
    arguments = [unit.get("modelUri", ""), "/mnt/models"]
    name = f"{container['name']}-model-initializer"
    spec.setdefault("initContainers", []).append({"name": name, "image": INITIALIZER, "args": arguments})
    mount = {"name": f"{container['name']}-provision-location", "mountPath": "/mnt/models"}
    spec.setdefault("volumes", []).append({"name": mount["name"], "emptyDir": {}})
    container.setdefault("volumeMounts", []).append({**mount, "readOnly": True})


def _units(graph: Json) -> list[Json]:
    return [graph, *(unit for child in graph.get("children") or [] for unit in _units(child))]


def services_of(sdep: Json, predictor: Json) -> list[Json]:
    """The predictor's Service, and one for each unit of its graph."""
    name = service_name(sdep, predictor)
    ports = [{"name": "http", "port": 8000, "protocol": "TCP"}, {"name": "grpc", "port": 5001, "protocol": "TCP"}]
    found = [_service(sdep, name, {"seldon-app": name}, ports)]
    for unit in _units(predictor["graph"]):
        unit_ports = [
            {"name": "http", "port": 9000, "protocol": "TCP"},
            {"name": "grpc", "port": 9500, "protocol": "TCP"},
        ]
        found.append(_service(sdep, f"{name}-{unit['name']}", {"seldon-app": name}, unit_ports))
    return found


def _service(sdep: Json, name: str, selector: dict[str, str], ports: list[Json]) -> Json:
    spec = {"type": "ClusterIP", "selector": {ID: sdep["metadata"]["name"], **selector}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(sdep, name), "spec": spec}


def extras_of(sdep: Json, predictor: Json) -> list[Json]:
    """HorizontalPodAutoscalers and PodDisruptionBudgets that the componentSpecs ask for."""
    found: list[Json] = []
    for component, deployment in zip(
        predictor.get("componentSpecs") or [], deployments_of(sdep, predictor), strict=False
    ):
        name = deployment["metadata"]["name"]
        if scale := component.get("hpaSpec"):
            target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
            spec = {
                "scaleTargetRef": target,
                "minReplicas": scale.get("minReplicas", 1),
                "maxReplicas": scale["maxReplicas"],
                "metrics": scale.get("metricsv2") or [],
            }
            kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
            found.append({**kind, "metadata": _metadata(sdep, name), "spec": spec})
        if budget := component.get("pdbSpec"):
            spec = {**budget, "selector": {"matchLabels": {ID: sdep["metadata"]["name"]}}}
            kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
            found.append({**kind, "metadata": _metadata(sdep, name), "spec": spec})
    return found


def _metadata(sdep: Json, name: str) -> Json:
    return {
        "name": name,
        "namespace": sdep["metadata"]["namespace"],
        "labels": {ID: sdep["metadata"]["name"], "app.kubernetes.io/managed-by": "seldon-core"},
        "ownerReferences": [owner_of(sdep)],
    }


def status_of(sdep: Json, deployments: list[Json], state: str, description: str = "") -> Json:
    """status of a SeldonDeployment. As the real one: no observedGeneration, ever."""
    name, namespace = sdep["metadata"]["name"], sdep["metadata"]["namespace"]
    ready = "True" if state == "Available" else "False"
    made = {
        one["metadata"]["name"]: {
            "replicas": one.get("status", {}).get("replicas", 0),
            "availableReplicas": one.get("status", {}).get("availableReplicas", 0),
        }
        for one in deployments
    }
    first = service_name(sdep, sdep["spec"]["predictors"][0])
    host = f"{first}.{namespace}.svc.cluster.local"
    services = {
        one: {"svcName": one, "httpEndpoint": f"{one}.{namespace}:8000", "grpcEndpoint": f"{one}.{namespace}:5001"}
        for one in (service_name(sdep, predictor) for predictor in sdep["spec"]["predictors"])
    }
    kinds = ("DeploymentsReady", "HpasReady", "KedaReady", "PdbsReady", "Ready", "ServicesReady")
    status: Json = {
        "state": state,
        "replicas": sum(int(one["replicas"]) for one in made.values()),
        "deploymentStatus": made,
        "serviceStatus": services,
        "address": {"url": f"http://{host}:8000/seldon/{namespace}/{name}/api/v1.0/predictions"},
        "conditions": [
            {"type": kind, "status": ready if kind in ("DeploymentsReady", "Ready") else "True"} for kind in kinds
        ],
    }
    return {**status, "description": description} if description else status
