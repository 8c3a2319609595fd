"""A deployment as a SeldonDeployment v1 of Seldon Core, and back. Pure; called by the target `seldon`.

Nothing that changes with shares or replicas goes into what pods carry: stepping the traffic restarts no pod.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes import identity, pod
from mlflow_hydraulic.deploy_targets.kubernetes.container import Ports, container, pod_spec, storage_uri
from mlflow_hydraulic.deploy_targets.kubernetes.identity import Json
from mlflow_hydraulic.deploy_targets.kubernetes.names import predictor_name
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deploy_targets.kubernetes.shapes import refuse_impossible
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import BadInput

API_VERSION = "machinelearning.seldon.io/v1"
KIND = "SeldonDeployment"
MLFLOW_SERVER = "MLFLOW_SERVER"  # with protocol v2 Seldon runs MLServer for it
NO_ENGINE = "seldon.io/no-engine"


def seldon_manifest(
    deployment: Deployment, options: KubernetesOptions, *, storage: Mapping[str, str] | None = None
) -> Json:
    """The SeldonDeployment. `storage` maps a model's URI to where an init container reads its files.

    Raises `BadInput` for what Seldon cannot do, and for a model that no init container could read.
    """
    refuse_impossible("seldon", deployment, options)
    if deployment.shadow and deployment.shadow.traffic == 0:
        raise BadInput(
            f"shadow of {deployment.name!r} gets 0 %: Seldon mirrors everything then; for nothing use shadow=none"
        )
    labels = json.dumps(deployment.labels, sort_keys=True)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": deployment.name,
            "namespace": deployment.namespace,
            "labels": identity.object_labels(deployment, options),
            "annotations": identity.object_notes(options, **{identity.LABELS_NOTE: labels}),
        },
        "spec": {
            "protocol": options.protocol,
            "annotations": _pod_notes(options),
            "predictors": [_predictor(deployment, one, options, storage or {}) for one in deployment.all],
        },
    }


def read_seldon(manifest: Mapping[str, Any]) -> Deployment:  # Any: JSON
    """The deployment that a SeldonDeployment stands for, as the cluster has it now, changes by hand included.

    Raises `BadInput` for an object that is not ours, or whose annotations were taken away.
    """
    metadata = manifest.get("metadata") or {}
    where = f"{KIND} {metadata.get('namespace')}/{metadata.get('name')}"
    identity.check_ours(where, manifest)
    try:
        read = [(_read_predictor(where, one), bool(one.get("shadow"))) for one in manifest["spec"]["predictors"]]
        return Deployment(
            name=metadata["name"],
            namespace=metadata["namespace"],
            predictors=tuple(one for one, shadow in read if not shadow),
            shadow=next((one for one, shadow in read if shadow), None),
            labels=identity.read_labels(manifest),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise BadInput(f"{where}: cannot be read ({error!r}): apply the deployment again") from error


def _predictor(deployment: Deployment, one: Predictor, options: KubernetesOptions, storage: Mapping[str, str]) -> Json:
    made: Json = {
        "name": predictor_name(deployment.name, one.name),
        "traffic": one.traffic,
        "replicas": one.replicas,
        "annotations": identity.predictor_notes(one),
        # `version` is what Istio's route selects pods by: the predictor's name, which no rollout changes.
        "labels": {
            **identity.pod_labels(deployment, one, options),
            "version": predictor_name(deployment.name, one.name),
        },
        "graph": _graph(one.model, options, storage),
        "componentSpecs": [_component(one, options, first=one is deployment.predictors[0])],
    }
    if one is deployment.shadow:
        made["shadow"] = True
    if options.orchestrator:
        asked = {"cpu": options.orchestrator_cpu, "memory": options.orchestrator_memory}
        made["svcOrchSpec"] = {"resources": {"requests": {k: v for k, v in asked.items() if v}}}
    else:
        made["annotations"] = {**made["annotations"], NO_ENGINE: "true"}
    return made


def _graph(model: ModelVersion, options: KubernetesOptions, storage: Mapping[str, str]) -> Json:
    graph: Json = {"name": pod.NODE, "type": "MODEL"}
    initialized = options.server in ("scorer", "image") and options.delivery == "initializer"
    if options.server in ("prepackaged-mlflow", "mlserver") or initialized:
        graph["implementation"] = MLFLOW_SERVER  # the operator adds its init container, and keeps an image of ours
        graph["modelUri"] = storage_uri(model, options, storage)
        if options.storage_secret:
            graph["envSecretRefName"] = options.storage_secret
        if options.service_account:
            graph["serviceAccountName"] = options.service_account
    if options.logger_url:
        graph["logger"] = {"mode": options.logger_mode, "url": options.logger_url}
    return graph


def _component(one: Predictor, options: KubernetesOptions, *, first: bool) -> Json:
    made: Json = {"spec": pod_spec(container(one, options, name=pod.NODE, ports=Ports()), options)}
    if options.autoscale_max:
        target = {"type": "Utilization", "averageUtilization": options.autoscale_cpu}
        made["hpaSpec"] = {
            "minReplicas": options.autoscale_min,
            "maxReplicas": options.autoscale_max,
            "metricsv2": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        }
    if options.max_unavailable and first:
        # The operator's budget selects the pods of the whole SeldonDeployment, and a pod under two budgets can never
        # be evicted: so there is one, for all predictors together.
        budget = options.max_unavailable
        made["pdbSpec"] = {"maxUnavailable": int(budget) if budget.isdigit() else budget}
    return made


def _pod_notes(options: KubernetesOptions) -> dict[str, str]:
    """Annotations that the operator reads and copies to pods."""
    timeout = str(options.timeout_ms)
    timeouts = {"seldon.io/rest-timeout": timeout, "seldon.io/grpc-timeout": timeout} if options.timeout_ms else {}
    return {**options.annotations, **timeouts}


def _read_predictor(where: str, one: Mapping[str, Any]) -> Predictor:  # Any: JSON
    notes = one.get("annotations") or {}
    model = identity.model_of(f"{where}, predictor {one['name']!r}", notes)
    return Predictor(
        name=notes.get(identity.PREDICTOR_NOTE, one["name"]),
        model=_as_told_to_the_pod(one, model),
        traffic=one.get("traffic", 0),
        replicas=one.get("replicas", 1),
    )


def _as_told_to_the_pod(one: Mapping[str, Any], noted: ModelVersion) -> ModelVersion:  # Any: JSON
    """What the container's variables say wins over the annotations: it is what the pod serves."""
    containers = [c for spec in one.get("componentSpecs") or [] for c in spec["spec"].get("containers") or []]
    told = {e["name"]: e.get("value") for c in containers if c["name"] == pod.NODE for e in c.get("env") or []}
    uri = told.get(pod.MODEL_URI)
    return ModelVersion(
        uri=noted.uri if uri in (None, "", pod.INITIALIZED_FOLDER) else str(uri),
        name=told.get(pod.MODEL_NAME) or noted.name,
        version=told.get(pod.MODEL_VERSION) or noted.version,
        digest=told.get(pod.MODEL_DIGEST) or noted.digest,
    )
