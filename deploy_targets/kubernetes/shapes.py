"""What each shape of a deployment on Kubernetes can do: one table, for people and for refusals.

Called by the manifests before they make anything; `docs/kubernetes.md` shows the same table.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import Deployment
from mlflow_hydraulic.errors import BadInput

SHAPES = ("seldon", "kserve", "plain")
TITLES = ("SeldonDeployment v1", "InferenceService v1beta1", "Deployment + Service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """One thing that may be asked, and how each shape does it; a text that begins with "no" is a no."""

    name: str
    seldon: str
    kserve: str
    plain: str

    def of(self, shape: str) -> str:
        return str(getattr(self, shape))

    def can(self, shape: str) -> bool:
        return not self.of(shape).startswith("no")


TABLE = (
    Ability(name="one champion", seldon="yes", kserve="yes", plain="yes"),
    Ability(name="A/B of two", seldon="yes", kserve="yes, what serves and its successor (Knative mode)", plain="no"),
    Ability(name="A/B of three or more", seldon="yes", kserve="no", plain="no"),
    Ability(name="shadow", seldon="yes, one (Istio)", kserve="no", plain="no"),
    Ability(name="canary steps", seldon="yes, no pod restarts", kserve="yes (Knative mode)", plain="no"),
    Ability(name="autoscaling", seldon="yes, each predictor", kserve="yes", plain="yes"),
    Ability(name="disruption budget", seldon="yes, one for all predictors", kserve="no", plain="yes"),
    Ability(name="orchestrator", seldon="yes, or none", kserve="no, none there", plain="no, none there"),
    Ability(name="feedback", seldon="yes", kserve="yes, at the scorer", plain="yes, at the scorer"),
    Ability(name="explain", seldon="yes, at the model's Service", kserve="yes", plain="yes"),
    Ability(name="request log", seldon="yes", kserve="yes", plain="no"),
    Ability(name="request timeout", seldon="yes", kserve="yes, whole seconds", plain="no, no gateway of its own"),
    Ability(name="gateway", seldon="yes", kserve="yes", plain="no, no gateway of its own"),
    Ability(name="gRPC", seldon="yes", kserve="no, one port, HTTP", plain="yes"),
    Ability(name="scorer fetches from MLflow", seldon="yes", kserve="yes", plain="yes"),
    Ability(name="init container brings the model", seldon="yes", kserve="no, for our own image", plain="no"),
    Ability(name="server prepackaged-mlflow", seldon="yes", kserve="no, see mlserver", plain="no"),
    Ability(name="server mlserver", seldon="yes, protocol v2", kserve="yes, protocol v2", plain="no"),
    Ability(name="server image", seldon="yes", kserve="yes", plain="yes"),
)
ABILITIES = {one.name: one for one in TABLE}


def refuse_impossible(shape: str, deployment: Deployment, options: KubernetesOptions) -> None:
    """`BadInput` with the table's row where `shape` cannot do what is asked."""
    for name in _asked(deployment, options):
        ability = ABILITIES[name]
        if not ability.can(shape):
            row = ", ".join(f"{one}: {ability.of(one)}" for one in SHAPES)
            raise BadInput(f"{deployment.name!r} asks for {name}, which the shape {shape!r} cannot do ({name}: {row})")


def _asked(deployment: Deployment, options: KubernetesOptions) -> list[str]:
    arms = len(deployment.predictors)
    asked = {
        "A/B of two": arms == 2,
        "A/B of three or more": arms > 2,
        "shadow": deployment.shadow is not None,
        "autoscaling": options.autoscale_max > 0,
        "disruption budget": bool(options.max_unavailable),
        "request log": bool(options.logger_url),
        "gateway": bool(options.gateway_url),
        "request timeout": options.timeout_ms > 0,
        "init container brings the model": options.delivery == "initializer",
        f"server {options.server}": options.server != "scorer",
    }
    return [name for name, is_asked in asked.items() if is_asked]


def table_markdown() -> str:
    """The table as Markdown, as the documentation shows it."""
    lines = [f"| | {' | '.join(TITLES)} |", "|---|---|---|---|"]
    lines += [f"| {one.name} | {one.seldon} | {one.kserve} | {one.plain} |" for one in TABLE]
    return "\n".join(lines) + "\n"
