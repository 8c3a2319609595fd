"""Where a deployment takes requests, and in which dialects: its own scorers take all four, Seldon's orchestrator one.

Called by `samples` and `trying`. What stands on Kubernetes without a gateway is reached from inside the cluster only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from mlflow_hydraulic.deploy_targets.environment import LOCAL
from mlflow_hydraulic.deploy_targets.kubernetes import gateway
from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_table
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.evidence.sight import Said
from mlflow_hydraulic.web.house import House

DIALECTS = ("mlflow", "seldon", "v2", "tutorial")
TITLES = {
    "mlflow": "MLflow",
    "seldon": "Seldon v1",
    "v2": "Open Inference (V2)",
    "tutorial": "The tutorial's (H2O Driverless AI)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How one dialect's requests get there.

    url: the whole address. host: the Host header that a gateway routes by, "" for the URL's own. why_not: why nobody
    answers this dialect there. inside: whether only pods of the cluster reach the address.
    """

    dialect: str
    url: str
    host: str = ""
    why_not: str = ""
    inside: bool = False


def ways(house: House, environment: str, deployment: str, said: Said, endpoint: str) -> dict[str, Way]:
    """The way of each dialect; `said` is what was seen of the deployment, `endpoint` its address."""
    model = max(said.predictors, key=lambda part: part.traffic * (part.role != "challenger")).model
    paths = {
        "mlflow": "/invocations",
        "seldon": "/api/v1.0/predictions",
        "v2": f"/v2/models/{quote(model, safe='')}/infer",
        "tutorial": "/model/score",
    }
    base = endpoint.rstrip("/")
    if said.target == LOCAL:
        return {dialect: Way(dialect=dialect, url=base + paths[dialect]) for dialect in DIALECTS}
    table = next((one.kubernetes for one in house.configuration.environments if one.name == environment), {})
    options = options_from_table(f"environments.{environment}.kubernetes", table)
    return _on_kubernetes(_address(deployment, said, options, base), base, paths, environment)


def _address(deployment: str, said: Said, options: KubernetesOptions, base: str) -> gateway.Address:
    """Where `mlflow deployments predict` would ask the first predictor."""
    part = said.predictors[0]
    model = ModelVersion(uri=part.uri, name=part.model, version=part.version, digest=part.digest)
    one = Predictor(name=part.name, model=model)
    stands = Deployment(name=deployment, namespace=said.namespace, predictors=(one,))
    return gateway.predict_address(stands, one, options, told=base)


def _on_kubernetes(address: gateway.Address, base: str, paths: Mapping[str, str], environment: str) -> dict[str, Way]:
    at = address.url.removesuffix(address.path) if address.url else base
    inside = not address.url
    found = {}
    for dialect in DIALECTS:
        why_not = ""
        if address.dialect not in ("mlflow", dialect):
            why_not = (
                f"what stands before the scorer speaks {TITLES[address.dialect]} only: with orchestrator = false in "
                f"[environments.{environment}.kubernetes] the scorer answers itself, in all four"
            )
        path = address.path if dialect == address.dialect else paths[dialect]
        found[dialect] = Way(dialect=dialect, url=at + path, host=address.host, why_not=why_not, inside=inside)
    return found
