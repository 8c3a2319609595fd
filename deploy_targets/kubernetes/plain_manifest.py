"""A deployment as a plain Deployment with its Service, and back, for clusters with neither Seldon nor KServe. Pure.

One champion only: shares by the number of replicas would be no shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_hydraulic.deploy_targets.codec import to_json
from mlflow_hydraulic.deploy_targets.kubernetes import identity, pod
from mlflow_hydraulic.deploy_targets.kubernetes.container import Ports, container, pod_spec
from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.kserve_manifest import read_noted
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.shapes import refuse_impossible
from mlflow_hydraulic.deployment import Deployment

KIND = "Deployment"


def plain_manifests(deployment: Deployment, options: KubernetesOptions) -> tuple[Json, ...]:
    """Deployment and Service, then autoscaler and disruption budget where they are asked for; all of one name."""
    refuse_impossible("plain", deployment, options)
    made = [_deployment(deployment, options), _service(deployment, options)]
    if options.autoscale_max:
        made.append(_autoscaler(deployment, options))
    if options.max_unavailable:
        made.append(_budget(deployment, options))
    return tuple(made)


def read_plain(manifest: Mapping[str, Any]) -> Deployment:  # Any: JSON
    """The deployment that a Deployment stands for."""
    return read_noted(KIND, manifest)


def _object(api_version: str, kind: str, deployment: Deployment, options: KubernetesOptions, spec: Json) -> Json:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": deployment.name,
            "namespace": deployment.namespace,
            "labels": identity.object_labels(deployment, options),
            "annotations": identity.object_notes(options, **{identity.DEPLOYMENT_NOTE: to_json(deployment)}),
        },
        "spec": spec,
    }


def _selected(deployment: Deployment) -> dict[str, str]:
    return {identity.MANAGED_BY: identity.MANAGER, identity.INSTANCE: deployment.name}


def _deployment(deployment: Deployment, options: KubernetesOptions) -> Json:
    one = deployment.predictors[0]
    spec = pod_spec(container(one, options, name=pod.NODE, ports=Ports()), options)
    spec["automountServiceAccountToken"] = bool(options.service_account)
    made: Json = {
        "selector": {"matchLabels": _selected(deployment)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {
                "labels": {**identity.pod_labels(deployment, one, options), **_selected(deployment)},
                "annotations": {**options.annotations, **identity.predictor_notes(one)},
            },
            "spec": spec,
        },
    }
    if not options.autoscale_max:
        made["replicas"] = one.replicas  # with an autoscaler the number is its own
    return _object("apps/v1", KIND, deployment, options, made)


def _service(deployment: Deployment, options: KubernetesOptions) -> Json:
    ports = [
        {"name": "http", "port": pod.HTTP_PORT, "targetPort": "http", "protocol": "TCP"},
        {"name": "grpc", "port": pod.GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"},
    ]
    return _object("v1", "Service", deployment, options, {"selector": _selected(deployment), "ports": ports})


def _autoscaler(deployment: Deployment, options: KubernetesOptions) -> Json:
    target = {"type": "Utilization", "averageUtilization": options.autoscale_cpu}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": KIND, "name": deployment.name},
        "minReplicas": options.autoscale_min,
        "maxReplicas": options.autoscale_max,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", deployment, options, spec)


def _budget(deployment: Deployment, options: KubernetesOptions) -> Json:
    budget = options.max_unavailable
    spec = {
        "maxUnavailable": int(budget) if budget.isdigit() else budget,
        "selector": {"matchLabels": _selected(deployment)},
    }
    return _object("policy/v1", "PodDisruptionBudget", deployment, options, spec)
