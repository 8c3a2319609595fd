"""The model's container and what its pod needs, the same for every shape; called by the manifests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.deploy_targets.kubernetes.identity import INSTANCE, Json
from mlflow_hydraulic.deploy_targets.kubernetes.option_kinds import Toleration
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import ModelVersion, Predictor
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.recorder import Place

READABLE = ("s3", "gs", "abfs", "abfss", "wasb", "wasbs", "http", "https", "pvc", "rclone")
PROXIED = "mlflow-artifacts"
SIGNED = re.compile(r"(sig|signature|token|secret|password|credential)=", re.IGNORECASE)  # as in a presigned URL
RECORD_INTAKE = "HYDRAULIC_RECORD_INTAKE"  # env.HYDRAULIC_RECORD_INTAKE: where the scorer sends its record
STARTUP_PERIOD_S = 2
MARGIN_S = 5  # of the pod's grace, for the process to end after its last answer


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the container listens and how the shape names it; grpc 0 where the shape has room for one port only."""

    http: int = pod.HTTP_PORT
    grpc: int = pod.GRPC_PORT
    http_name: str = "http"


def storage_uri(model: ModelVersion, options: KubernetesOptions, storage: Mapping[str, str]) -> str:
    """Where an init container finds the model's files: `storage[model.uri]`, or its own URI when that is storage.

    `mlflow-artifacts:/...` is MLflow's own way; `options.artifact_root` says where it really is. `BadInput` where no
    init container could read it, or where the URI holds a password.
    """
    uri = storage.get(model.uri, model.uri)
    parts = _parts(uri)
    if parts.scheme == PROXIED:
        if not options.artifact_root:
            raise BadInput(
                f"model {model.uri!r} lies at {uri!r}, which only MLflow reads: say where that is, "
                f"artifact_root=s3://BUCKET/PATH, or let the pod ask MLflow (server=scorer, delivery=mlflow)"
            )
        uri = f"{options.artifact_root.rstrip('/')}/{parts.path.lstrip('/')}"
    elif parts.scheme not in READABLE:
        raise BadInput(
            f"model {model.uri!r} lies at {uri!r}: Seldon's init container reads {', '.join(READABLE)} only; "
            f"keep artifacts in such storage or let the pod ask MLflow (server=scorer, delivery=mlflow)"
        )
    _without_password(uri)
    return uri


def container(predictor: Predictor, options: KubernetesOptions, *, name: str, ports: Ports) -> Json:
    """The model's container: image, variables, probes, resources. `name` is the graph node's on Seldon."""
    _without_password(predictor.model.uri)  # it stands in an annotation, whatever the server
    own = options.server in ("scorer", "image")
    made: Json = {"name": name}
    if own:
        made["image"] = options.image
        made["imagePullPolicy"] = "IfNotPresent"
        if args := list(pod.ARGS if options.server == "scorer" else options.args):
            made["args"] = args
        made["ports"] = [{"name": ports.http_name, "containerPort": ports.http, "protocol": "TCP"}]
        if ports.grpc:
            made["ports"].append({"name": "grpc", "containerPort": ports.grpc, "protocol": "TCP"})
    if env := _env(predictor, options, ports):
        made["env"] = env
    if options.env_from_secrets:
        made["envFrom"] = [{"secretRef": {"name": secret}} for secret in options.env_from_secrets]
    if resources := _resources(options):
        made["resources"] = resources
    made |= _probes(options, ports)
    if options.server == "scorer":
        made["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        made["volumeMounts"] = [
            {"name": "home", "mountPath": pod.HOME_FOLDER},
            {"name": "scratch", "mountPath": pod.SCRATCH_FOLDER},
        ]
    return made


def pod_spec(made: Json, options: KubernetesOptions) -> Json:
    """The pod around `made`: what the scheduler and the kubelet are told."""
    spec: Json = {"containers": [made], "terminationGracePeriodSeconds": options.grace_s}
    if options.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": secret} for secret in options.image_pull_secrets]
    if options.service_account:
        spec["serviceAccountName"] = options.service_account
    if options.node_selector:
        spec["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        spec["tolerations"] = [_toleration(one) for one in options.tolerations]
    if options.server == "scorer":
        spec["volumes"] = [{"name": "home", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}]
    return spec


def _env(predictor: Predictor, options: KubernetesOptions, ports: Ports) -> list[Json]:
    values: dict[str, str] = {}
    if options.server in ("scorer", "image"):
        model = predictor.model
        initialized = options.delivery == "initializer"
        values = {
            pod.MODEL_URI: pod.INITIALIZED_FOLDER if initialized else model.uri,
            pod.MODEL_DIGEST: model.digest,
            pod.MODEL_NAME: model.name,
            pod.MODEL_VERSION: model.version,
            pod.PREDICTOR: predictor.name,
            pod.HTTP_PORT_VARIABLE: str(ports.http),
            pod.GRPC_PORT_VARIABLE: str(ports.grpc),
        }
    if options.server == "scorer":
        values |= {
            pod.ENGINE: options.engine,
            pod.HOST: "0.0.0.0",  # noqa: S104  # in the pod's own network
            pod.HOME: pod.HOME_FOLDER,
            pod.DRAIN: str(max(1, options.grace_s - MARGIN_S)),
        }
    if options.tracking_uri:
        values[pod.TRACKING_URI] = options.tracking_uri
    values |= options.env
    secrets = [(name, *where.split("/", 1)) for name, where in options.secret_env.items()]
    return [
        *_recorded(predictor, options),
        *({"name": name, "value": value} for name, value in values.items()),
        *({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}} for name, secret, key in secrets),
    ]


def _recorded(predictor: Predictor, options: KubernetesOptions) -> list[Json]:
    """Whose scorer it is, where it sends its prediction record somewhere; the cluster fills in what it alone knows."""
    if options.server != "scorer" or RECORD_INTAKE not in options.env:
        return []
    fields = {
        pod.NAMESPACE: "metadata.namespace",
        pod.DEPLOYMENT: f"metadata.labels['{INSTANCE}']",
        pod.POD: "metadata.name",
    }
    place = Place(
        target="seldon",
        namespace=f"$({pod.NAMESPACE})",
        deployment=f"$({pod.DEPLOYMENT})",
        predictor=predictor.name,
        replica=f"$({pod.POD})",
    )
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
        {"name": pod.SERVED, "value": place.written()},
    ]


def _resources(options: KubernetesOptions) -> Json:
    asked = {"cpu": options.cpu_request, "memory": options.memory_request}
    most = {"cpu": options.cpu_limit, "memory": options.memory_limit}
    both = {"requests": {k: v for k, v in asked.items() if v}, "limits": {k: v for k, v in most.items() if v}}
    return {key: value for key, value in both.items() if value}


def _probes(options: KubernetesOptions, ports: Ports) -> Json:
    """HTTP probes of our own: the operator's default TCP probe says ready while the model still loads."""
    ready, live = {
        "scorer": (pod.READY_PATH, pod.LIVE_PATH),
        "prepackaged-mlflow": ("/health/ping", "/health/ping"),
        "mlserver": ("/v2/health/ready", "/v2/health/live"),
        "image": (options.ready_path, options.live_path),
    }[options.server]
    failures = options.probe_failures

    def probe(path: str, period_s: int, times: int) -> Json:
        return {
            "httpGet": {"path": path, "port": ports.http_name, "scheme": "HTTP"},
            "periodSeconds": period_s,
            "timeoutSeconds": options.probe_timeout_s,
            "failureThreshold": times,
            "successThreshold": 1,
        }

    return {
        "startupProbe": probe(ready, STARTUP_PERIOD_S, -(-options.start_timeout_s // STARTUP_PERIOD_S)),
        "readinessProbe": probe(ready, options.probe_period_s, failures),
        "livenessProbe": probe(live, options.probe_period_s, 2 * failures),
    }


def _toleration(one: Toleration) -> Json:
    made: Json = {"key": one.key, "operator": "Exists" if one.value is None else "Equal"}
    if one.value is not None:
        made["value"] = one.value
    if one.effect:
        made["effect"] = one.effect
    return made


def _parts(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise BadInput(f"the model's URI {uri!r} is no URI: {error}") from error


def _without_password(uri: str) -> None:
    parts = _parts(uri)
    user = parts.username is not None and parts.scheme in ("http", "https")
    if parts.password is not None or user or SIGNED.search(parts.query):
        raise BadInput(
            "the model's URI holds a user, a password or a signature: keep it in a secret and give the URI without it"
        )
