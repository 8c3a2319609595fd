"""A deployment as a KServe InferenceService v1beta1, and back, for clusters without Seldon. Pure.

KServe knows one predictor and its successor: an InferenceService describes the successor, and what serves already keeps
the rest of the traffic. So two versions are two manifests in order, the first to be ready before the second is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlflow_hydraulic.deploy_targets.codec import from_json, to_json
from mlflow_hydraulic.deploy_targets.kubernetes import identity
from mlflow_hydraulic.deploy_targets.kubernetes.container import Ports, container, pod_spec, storage_uri
from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.names import kserve_name
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.shapes import refuse_impossible
from mlflow_hydraulic.deployment import Deployment, Predictor
from mlflow_hydraulic.errors import BadInput

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
CONTAINER = "kserve-container"  # the name that KServe looks for
PORTS = Ports(http=8080, grpc=0, http_name="http1")  # Knative takes one port, and reads its protocol from the name


def kserve_manifests(
    deployment: Deployment, options: KubernetesOptions, *, storage: Mapping[str, str] | None = None
) -> tuple[Json, ...]:
    """The InferenceServices to apply in this order, each to be ready before the next: one, or two for an A/B."""
    refuse_impossible("kserve", deployment, options)
    kserve_name(deployment.name, deployment.namespace)
    if options.server == "mlserver" and options.protocol != "v2":
        raise BadInput(f"server=mlserver with protocol={options.protocol}: MLServer speaks v2: give protocol=v2")
    first = replace(deployment.predictors[0], traffic=100)
    alone = replace(deployment, predictors=(first,))
    made = [_service(alone, first, options, storage or {})]
    if len(deployment.predictors) == 2:
        successor = deployment.predictors[1]
        second = _service(deployment, successor, options, storage or {})
        second["spec"]["predictor"]["canaryTrafficPercent"] = successor.traffic
        made.append(second)
    return tuple(made)


def read_kserve(manifest: Mapping[str, Any]) -> Deployment:  # Any: JSON
    """The deployment that an InferenceService stands for; shares are read from the object, changes by hand included."""
    deployment = read_noted(KIND, manifest)
    share = (manifest.get("spec") or {}).get("predictor", {}).get("canaryTrafficPercent")
    if len(deployment.predictors) == 2 and isinstance(share, int):
        first, second = deployment.predictors
        shares = (replace(first, traffic=100 - share), replace(second, traffic=share))
        return replace(deployment, predictors=shares)
    return deployment


def read_noted(kind: str, manifest: Mapping[str, Any]) -> Deployment:  # Any: JSON
    """The deployment that the object's annotation holds; `BadInput` where the object is not ours or it is gone."""
    metadata = manifest.get("metadata") or {}
    where = f"{kind} {metadata.get('namespace')}/{metadata.get('name')}"
    identity.check_ours(where, manifest)
    text = identity.notes_of(manifest).get(identity.DEPLOYMENT_NOTE)
    if text is None:
        raise BadInput(f"{where}: annotation {identity.DEPLOYMENT_NOTE} is missing: apply the deployment again")
    return from_json(text)


def _service(deployment: Deployment, one: Predictor, options: KubernetesOptions, storage: Mapping[str, str]) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": deployment.name,
            "namespace": deployment.namespace,
            "labels": identity.object_labels(deployment, options),
            "annotations": identity.object_notes(options, **{identity.DEPLOYMENT_NOTE: to_json(deployment)}),
        },
        "spec": {"predictor": _predictor(deployment, one, options, storage)},
    }


def _predictor(deployment: Deployment, one: Predictor, options: KubernetesOptions, storage: Mapping[str, str]) -> Json:
    made = pod_spec(container(one, options, name=CONTAINER, ports=PORTS), options)
    if options.server == "mlserver":
        model = made.pop("containers")[0]
        # KServe's own runtime for MLServer has the image, the ports and the probes.
        made["model"] = {
            **{key: model[key] for key in ("env", "envFrom", "resources") if key in model},
            "modelFormat": {"name": "mlflow"},
            "protocolVersion": "v2",
            "storageUri": storage_uri(one.model, options, storage),
        }
    made |= {
        "labels": identity.pod_labels(deployment, one, options),
        "annotations": {**options.annotations, **identity.predictor_notes(one)},
        "minReplicas": options.autoscale_min if options.autoscale_max else one.replicas,
        "maxReplicas": options.autoscale_max or one.replicas,
    }
    if options.autoscale_max:
        made |= {"scaleMetric": "cpu", "scaleTarget": options.autoscale_cpu}
    if options.logger_url:
        made["logger"] = {"mode": options.logger_mode, "url": options.logger_url}
    if options.timeout_ms:
        made["timeout"] = -(-options.timeout_ms // 1000)
    return made
