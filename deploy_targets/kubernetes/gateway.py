"""Where a deployment on Kubernetes is asked: through a gateway, or through the API server's service proxy. Pure.

Called by the target for the address that people see, and by the deployments client for predict and explain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mlflow_hydraulic.deploy_targets.kubernetes import pod
from mlflow_hydraulic.deploy_targets.kubernetes.names import seldon_model_service_name, seldon_service_name
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import Deployment, Predictor
from mlflow_hydraulic.errors import BadInput

Dialect = Literal["mlflow", "seldon", "v2"]
ORCHESTRATOR_PORT = 8000  # of the predictor's Service, whether an orchestrator stands behind it or the model itself
KSERVE_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one kind of request goes, and in which dialect.

    url: the whole address through a gateway, or "": then `path` of `service` through the API server's proxy.
    host: the Host header that the gateway routes by; "" leaves the URL's.
    """

    dialect: Dialect
    namespace: str
    path: str
    service: str = ""
    port: int = 0
    url: str = ""
    host: str = ""


def endpoint(deployment: Deployment, options: KubernetesOptions, *, told: str = "") -> str:
    """The address for a person: through the gateway where one is configured, else what pods of the cluster reach.

    told: the address that the object's status tells, which only KServe makes up itself. Without a gateway it is the
    main predictor's, and shares and shadow do not act: they are the gateway's work.
    """
    if options.shape == "kserve" and told:
        return told
    if options.shape == "seldon" and options.gateway_url:
        return f"{options.gateway_url.rstrip('/')}/seldon/{deployment.namespace}/{deployment.name}"
    service, port = _service(deployment, deployment.predictors[0], options)
    return f"http://{service}.{deployment.namespace}.svc" + ("" if port == KSERVE_PORT else f":{port}")


def predict_address(deployment: Deployment, one: Predictor, options: KubernetesOptions, *, told: str = "") -> Address:
    """Where predictions are asked; without a gateway those of the predictor `one`. `told` as for `endpoint`."""
    dialect = _dialect(options)
    path = {
        "mlflow": "/invocations",
        "seldon": "/api/v1.0/predictions",
        "v2": f"/v2/models/{_model_name(deployment, options)}/infer",
    }[dialect]
    return _address(deployment, one, options, (dialect, path), told)


def explain_address(deployment: Deployment, one: Predictor, options: KubernetesOptions, *, told: str = "") -> Address:
    """Where Shapley values are asked: at the model itself, since Seldon's orchestrator knows no such path.

    Raises `BadInput` for a server that is not our scorer.
    """
    if options.server != "scorer":
        raise BadInput(f"explain: server={options.server} gives no Shapley values: deploy with server=scorer")
    path = "/model/contribution"
    if options.shape == "seldon" and options.orchestrator:
        service = seldon_model_service_name(deployment.name, one.name)
        return Address(dialect="mlflow", namespace=deployment.namespace, path=path, service=service, port=pod.HTTP_PORT)
    return _address(deployment, one, options, ("mlflow", path), told)


def _address(
    deployment: Deployment, one: Predictor, options: KubernetesOptions, asked: tuple[Dialect, str], told: str
) -> Address:
    dialect, path = asked
    if options.gateway_url:
        host = urlsplit(told).netloc if options.shape == "kserve" else ""
        base = options.gateway_url.rstrip("/") if host else endpoint(deployment, options, told=told)
        return Address(dialect=dialect, namespace=deployment.namespace, path=path, url=base + path, host=host)
    service, port = _service(deployment, one, options)
    return Address(dialect=dialect, namespace=deployment.namespace, path=path, service=service, port=port)


def _service(deployment: Deployment, one: Predictor, options: KubernetesOptions) -> tuple[str, int]:
    """Name and port of the Service that answers for a predictor."""
    if options.shape == "seldon":
        return seldon_service_name(deployment.name, one.name), ORCHESTRATOR_PORT
    if options.shape == "kserve":
        return f"{deployment.name}-predictor", KSERVE_PORT
    return deployment.name, pod.HTTP_PORT


def _dialect(options: KubernetesOptions) -> Dialect:
    """MLflow's own where nothing stands before our scorer; else what the orchestrator or the other server speaks."""
    if options.server == "scorer" and not (options.shape == "seldon" and options.orchestrator):
        return "mlflow"
    return "v2" if options.protocol == "v2" else "seldon"


def _model_name(deployment: Deployment, options: KubernetesOptions) -> str:
    """What the model is called in V2: the graph's node, but KServe's MLServer calls it as the InferenceService."""
    return deployment.name if options.shape == "kserve" else pod.NODE
