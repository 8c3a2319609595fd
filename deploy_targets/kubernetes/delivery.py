"""How pods get at a model: whether what they are told is anything that they can reach. Pure.

Called by the deployments client and the controller's environment before a deployment is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import Deployment, ModelVersion
from mlflow_hydraulic.errors import BadInput

OF_THIS_MACHINE = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104  # refused, not listened on
ASKS_MLFLOW = ("models", "runs", "mlflow-artifacts")


def reachable(deployment: Deployment, options: KubernetesOptions, tracking_uri: str) -> KubernetesOptions:
    """`options` with MLflow's address for the pods: what they say, else `tracking_uri`, that of this process.

    Raises `BadInput` where no pod could fetch a model: a folder of this machine, or an MLflow that only this machine
    reaches. Images of others are told the URI and go their own way.
    """
    if options.server != "scorer" or options.delivery != "mlflow":
        return options
    schemes = {urlsplit(one.model.uri).scheme: one.model.uri for one in deployment.all}
    for scheme in ("", "file"):
        if scheme in schemes:
            raise BadInput(
                f"model {schemes[scheme]!r} is a folder of this machine, which no pod reads: register it and give "
                f"models:/NAME/VERSION, or keep it in s3, gs or other storage"
            )
    if options.tracking_uri or options.env_from_secrets or not schemes.keys() & set(ASKS_MLFLOW):
        return options  # a secret may hold MLflow's address beside its password
    parts = urlsplit(tracking_uri)
    if parts.scheme not in ("http", "https") or parts.hostname in OF_THIS_MACHINE:
        web = parts.scheme in ("http", "https")  # of others only the kind is told: there may be a password in them
        shown = f"{parts.scheme}://{parts.hostname}" if web else f"{parts.scheme or 'a folder'}:..."
        raise BadInput(
            f"the pods would have to ask MLflow at {shown}, which only this machine reaches: say how pods reach it, "
            f"tracking_uri=http://mlflow.mlflow.svc:5000"
        )
    return replace(options, tracking_uri=tracking_uri)


def storage_of(
    deployment: Deployment, options: KubernetesOptions, find: Callable[[ModelVersion], str]
) -> dict[str, str]:
    """Where an init container finds the files of each model, by the model's URI; empty where none brings them."""
    if options.server in ("scorer", "image") and options.delivery == "mlflow":
        return {}
    return {one.model.uri: find(one.model) for one in deployment.all}
