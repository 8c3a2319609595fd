"""How a deployment is to stand on Kubernetes: one frozen value, from `-C` texts or TOML tables, checked when made.

What is served (models, shares, replicas) is the deployment's; this is the rest. Read by the manifests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes import option_kinds as kinds
from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.deploy_targets.kubernetes.option_kinds import Toleration
from mlflow_hydraulic.errors import BadInput

SECRETIVE = re.compile(r"PASSW|TOKEN|SECRET|ACCESS_KEY|PRIVATE|CREDENTIAL", re.IGNORECASE)
OURS = ("hydraulic.", "app.kubernetes.io/", "seldon.io/no-engine", "seldon.io/rest-timeout", "seldon.io/grpc-timeout")

_VARIABLES = kinds.pairs(kinds.VARIABLE, kinds.text, "the name of a variable")
_SECRETS = kinds.pairs(
    kinds.VARIABLE, kinds.matching(kinds.SECRET_KEY, "SECRET/KEY", empty=False), "the name of a variable"
)
_LABELS = kinds.pairs(
    kinds.KEY, kinds.matching(kinds.LABEL, "a label's value: at most 63 letters, digits, - _ ."), "a label's key"
)
_NOTES = kinds.pairs(kinds.KEY, kinds.text, "an annotation's key")


def _option(default: Any, kind: kinds.Read, doc: str) -> Any:  # Any: dataclasses.field is typed by its default
    metadata = {"kind": kind, "doc": doc}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class KubernetesOptions:
    """All options; each field knows its reader and what it means. `BadInput` for a value that breaks a rule."""

    shape: str = _option(
        "seldon",
        kinds.choice("seldon", "kserve", "plain"),
        "what is made: SeldonDeployment, InferenceService, Deployment",
    )
    server: str = _option(
        "scorer",
        kinds.choice("scorer", "prepackaged-mlflow", "mlserver", "image"),
        "what runs in the pod: our scorer, Seldon's MLFLOW_SERVER, MLServer, or any image",
    )
    image: str = _option(pod.IMAGE, kinds.image, "the container's image, for the servers scorer and image")
    image_pull_secrets: tuple[str, ...] = _option((), kinds.names, "names of secrets to pull the image with")
    args: tuple[str, ...] = _option((), kinds.words, "arguments of the container, for the server image")
    service_account: str = _option("", kinds.name, "service account of the pods")
    delivery: str = _option(
        "mlflow",
        kinds.choice("mlflow", "initializer"),
        "who brings the model to the scorer: itself from MLflow, or the init container of Seldon's operator",
    )
    tracking_uri: str = _option("", kinds.url("http", "https"), "MLflow's address as pods reach it")
    artifact_root: str = _option(
        "",
        kinds.url("s3", "gs", "abfss", "wasbs", "https", "http", "pvc"),
        "what mlflow-artifacts:/ is, for initializers",
    )
    storage_secret: str = _option("", kinds.name, "secret that Seldon's init container takes its rclone variables from")
    engine: str = _option("auto", kinds.choice("auto", "onnx", "pyfunc"), "what the scorer scores with")
    protocol: str = _option("seldon", kinds.choice("seldon", "v2"), "what the orchestrator speaks with the model")
    orchestrator: bool = _option(
        True, kinds.flag, "Seldon's orchestrator beside the model; without it no request log, no Seldon-Puid"
    )
    orchestrator_cpu: str = _option("100m", kinds.quantity, "processor share asked for the orchestrator")
    orchestrator_memory: str = _option("128Mi", kinds.quantity, "memory asked for the orchestrator")
    cpu_request: str = _option("250m", kinds.quantity, "processor share asked for")
    cpu_limit: str = _option("", kinds.quantity, "most processor share")
    memory_request: str = _option("512Mi", kinds.quantity, "memory asked for")
    memory_limit: str = _option("1Gi", kinds.quantity, "most memory; above it the container is killed")
    autoscale_min: int = _option(
        1, kinds.whole(1, 1000), "fewest replicas of each predictor, when autoscale_max is set"
    )
    autoscale_max: int = _option(0, kinds.whole(0, 1000), "most replicas of each predictor; 0 does not scale")
    autoscale_cpu: int = _option(70, kinds.whole(1, 1000), "processor use aimed at, in percent of cpu_request")
    start_timeout_s: int = _option(300, kinds.whole(5, 86_400), "how long a container may take until it is ready, in s")
    probe_period_s: int = _option(5, kinds.whole(1, 600), "how often readiness and liveness are asked, in s")
    probe_timeout_s: int = _option(3, kinds.whole(1, 600), "how long a probe may take, in s")
    probe_failures: int = _option(
        3, kinds.whole(1, 100), "probes in a row that make it unready; twice as many restart it"
    )
    ready_path: str = _option("/health/ping", kinds.path, "startup and readiness probe, for the server image")
    live_path: str = _option("/health/ping", kinds.path, "liveness probe, for the server image")
    grace_s: int = _option(
        60, kinds.whole(1, 3600), "how long a stopping pod may take to answer what it accepted, in s"
    )
    gateway_url: str = _option(
        "",
        kinds.url("http", "https"),
        "where callers reach the gateway (Istio, Ambassador); else the API server's service proxy is asked",
    )
    timeout_ms: int = _option(0, kinds.whole(0, 3_600_000), "longest a request may take, in ms; 0 leaves the gateway's")
    max_unavailable: str = _option("", kinds.budget, "disruption budget: pods that may be away at once")
    logger_url: str = _option("", kinds.url("http", "https"), "where requests and answers are logged to")
    logger_mode: str = _option("all", kinds.choice("all", "request", "response"), "what is logged")
    env: Mapping[str, str] = _option({}, _VARIABLES, "variables of the container; nothing secret")
    secret_env: Mapping[str, str] = _option({}, _SECRETS, "variables from secrets, VARIABLE = SECRET/KEY")
    env_from_secrets: tuple[str, ...] = _option((), kinds.names, "secrets whose keys all become variables")
    annotations: Mapping[str, str] = _option({}, _NOTES, "annotations of the object and its pods")
    labels: Mapping[str, str] = _option({}, _LABELS, "labels of the object and its pods")
    node_selector: Mapping[str, str] = _option({}, _LABELS, "labels that a node must have")
    tolerations: tuple[Toleration, ...] = _option((), kinds.tolerations, "taints that pods bear, KEY=VALUE:EFFECT")

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, one.metadata["kind"](one.name, getattr(self, one.name)))
        _check_numbers(self)
        _check_server(self)
        _check_tables(self)


def _check_numbers(o: KubernetesOptions) -> None:
    if o.autoscale_max and o.autoscale_max < o.autoscale_min:
        raise BadInput(f"autoscale_max={o.autoscale_max}: must be autoscale_min={o.autoscale_min} or more, or 0")
    if o.autoscale_max and not o.cpu_request:
        raise BadInput(f"autoscale_max={o.autoscale_max}: needs cpu_request, of which autoscale_cpu is a share")
    if o.logger_url and o.shape == "seldon" and not o.orchestrator:
        raise BadInput(f"logger_url={o.logger_url!r}: the orchestrator logs requests: leave orchestrator=true")
    if o.max_unavailable in ("0", "00000", "0%"):
        raise BadInput(f"max_unavailable={o.max_unavailable}: no node could ever be drained; give 1 or more")


def _check_server(o: KubernetesOptions) -> None:
    if o.args and o.server != "image":
        raise BadInput(f"args={list(o.args)}: only server=image takes arguments; {o.server} has its own")
    if o.server == "image" and o.image == pod.IMAGE:
        raise BadInput("server=image: say which image, image=REGISTRY/NAME:TAG")
    if o.server == "mlserver" and o.shape == "seldon" and o.protocol != "v2":
        raise BadInput(f"server=mlserver with protocol={o.protocol}: MLServer speaks v2: give protocol=v2")
    if o.server == "prepackaged-mlflow" and o.protocol != "seldon":
        raise BadInput(
            f"server=prepackaged-mlflow with protocol={o.protocol}: with v2 Seldon runs MLServer: server=mlserver"
        )


def _check_tables(o: KubernetesOptions) -> None:
    for name, value in o.env.items():
        if SECRETIVE.search(name):
            raise BadInput(f"env.{name}: looks like a secret: name one, secret_env.{name}=SECRET/KEY")
        kinds.url()(f"env.{name}", value)
    for name in (*o.env, *o.secret_env):
        if name in pod.RESERVED:
            raise BadInput(f"env.{name}: is set by the deployment itself; see tracking_uri, engine and the model")
    for name in o.env.keys() & o.secret_env.keys():
        raise BadInput(f"env.{name}: is in secret_env too: give it once")
    for key in (*o.annotations, *o.labels):
        if key == "version" or key.startswith(OURS):
            raise BadInput(f"labels or annotations {key}: is set by the deployment itself; use another key")
