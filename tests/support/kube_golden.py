"""Manifests as they must be, written out part by part: what the tests compare whole. Knows none of our own code."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]  # Any: JSON

DIGESTS = {"1": "a1" * 32, "2": "b2" * 32, "3": "c3" * 32}


def probe(path: str, port: str, period: int, times: int) -> Json:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": times,
        "successThreshold": 1,
    }


def probes(ready: str = "/ready", live: str = "/live", port: str = "http") -> Json:
    return {
        "startupProbe": probe(ready, port, 2, 150),
        "readinessProbe": probe(ready, port, 5, 3),
        "livenessProbe": probe(live, port, 5, 6),
    }


RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
PORTS = [
    {"name": "http", "containerPort": 9000, "protocol": "TCP"},
    {"name": "grpc", "containerPort": 9500, "protocol": "TCP"},
]


def model_env(
    version: str, predictor: str, *, uri: str | None = None, http: str = "9000", grpc: str = "9500"
) -> list[Json]:
    values = {
        "HYDRAULIC_MODEL_URI": uri or f"models:/cooler/{version}",
        "HYDRAULIC_MODEL_DIGEST": DIGESTS[version],
        "HYDRAULIC_MODEL_NAME": "cooler",
        "HYDRAULIC_MODEL_VERSION": version,
        "HYDRAULIC_PREDICTOR": predictor,
        "HYDRAULIC_HTTP_PORT": http,
        "HYDRAULIC_GRPC_PORT": grpc,
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def scorer_env(version: str, predictor: str, *, drain: str = "55", **more: str) -> list[Json]:
    own = {
        "HYDRAULIC_ENGINE": "auto",
        "HYDRAULIC_HOST": "0.0.0.0",  # noqa: S104
        "HYDRAULIC_HOME": "/var/lib/hydraulic",
        "HYDRAULIC_DRAIN_TIMEOUT_S": drain,
    }
    return [*model_env(version, predictor, **more), *({"name": k, "value": v} for k, v in own.items())]


def scorer(version: str = "1", predictor: str = "default", **changes: Any) -> Json:  # Any: JSON
    return {
        "name": "model",
        "image": "mlflow-hydraulic:0.1.0",
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve-pod"],
        "ports": PORTS,
        "env": scorer_env(version, predictor),
        "resources": RESOURCES,
        **probes(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "home", "mountPath": "/var/lib/hydraulic"},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108
        ],
        **changes,
    }


def pod(container: Json, *, volumes: bool = True, **changes: Any) -> Json:  # Any: JSON
    made: Json = {"containers": [container], "terminationGracePeriodSeconds": 60}
    if volumes:
        made["volumes"] = [{"name": "home", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}]
    return {**made, **changes}


def notes(version: str, predictor: str) -> Json:
    return {
        "hydraulic.predictor": predictor,
        "hydraulic.model-uri": f"models:/cooler/{version}",
        "hydraulic.model-name": "cooler",
        "hydraulic.model-version": version,
        "hydraulic.model-digest": DIGESTS[version],
    }


def pod_labels(version: str) -> Json:
    return {
        "app.kubernetes.io/name": "model",
        "app.kubernetes.io/instance": "cooler",
        "app.kubernetes.io/version": version,
    }


LABELS = {
    "app.kubernetes.io/managed-by": "mlflow-hydraulic",
    "app.kubernetes.io/name": "model",
    "app.kubernetes.io/instance": "cooler",
    "app.kubernetes.io/part-of": "cooler",
}


def predictor(version: str = "1", name: str = "default", traffic: int = 100, **changes: Any) -> Json:  # Any: JSON
    return {
        "name": name,
        "traffic": traffic,
        "replicas": 1,
        "annotations": notes(version, name),
        "labels": {**pod_labels(version), "version": name},
        "graph": {"name": "model", "type": "MODEL"},
        "componentSpecs": [{"spec": pod(scorer(version, name))}],
        "svcOrchSpec": {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}},
        **changes,
    }


def seldon(*predictors: Json, options: str = "{}", labels: str = "{}", **spec: Any) -> Json:  # Any: JSON
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {
            "name": "cooler",
            "namespace": "prod",
            "labels": LABELS,
            "annotations": {"hydraulic.format": "1", "hydraulic.options": options, "hydraulic.labels": labels},
        },
        "spec": {"protocol": "seldon", "annotations": {}, "predictors": list(predictors), **spec},
    }


def noted(api_version: str, kind: str, deployment: str, spec: Json, *, options: str = "{}") -> Json:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": "cooler",
            "namespace": "prod",
            "labels": LABELS,
            "annotations": {"hydraulic.format": "1", "hydraulic.options": options, "hydraulic.deployment": deployment},
        },
        "spec": spec,
    }
