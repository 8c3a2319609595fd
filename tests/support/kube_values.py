"""Deployments and options for the tests of the manifests: a few by hand, and strategies for all valid ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mlflow_hydraulic.deploy_targets.kubernetes.option_codec import options_from_config
from mlflow_hydraulic.deploy_targets.kubernetes.options import KubernetesOptions
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import BadInput
from tests.support.kube_golden import DIGESTS


def model(version: str = "1") -> ModelVersion:
    return ModelVersion(uri=f"models:/cooler/{version}", name="cooler", version=version, digest=DIGESTS[version])


def predictor(version: str = "1", name: str = "default", traffic: int = 100, replicas: int = 1) -> Predictor:
    return Predictor(name=name, model=model(version), traffic=traffic, replicas=replicas)


def deployment(
    *predictors: Predictor, shadow: Predictor | None = None, labels: dict[str, str] | None = None
) -> Deployment:
    return Deployment(
        name="cooler", namespace="prod", predictors=predictors or (predictor(),), shadow=shadow, labels=labels or {}
    )


names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
lines = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=80)
models = st.builds(
    ModelVersion,
    uri=st.one_of(
        st.builds("models:/{}/{}".format, names, st.integers(1, 999)),
        st.builds("s3://bucket/{}".format, names),
        st.just("/models/a folder"),
    ),
    name=lines,
    version=lines,
    digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    """Any valid deployment, but for a shadow of 0 %, which Seldon would make 100."""
    chosen = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    shadowed = len(chosen) > 1 and draw(st.booleans())
    arms = chosen[1:] if shadowed else chosen
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(arms) - 1, max_size=len(arms) - 1)))
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]

    def one(name: str, traffic: int) -> Predictor:
        return Predictor(name=name, model=draw(models), traffic=traffic, replicas=draw(st.integers(1, 100)))

    return Deployment(
        name=draw(names),
        namespace=draw(names),
        predictors=tuple(one(name, share) for name, share in zip(arms, shares, strict=True)),
        shadow=one(chosen[0], draw(st.integers(1, 100))) if shadowed else None,
        labels=draw(st.dictionaries(lines, lines, max_size=3)),
    )


CHOICES: dict[str, list[str]] = {
    "shape": ["seldon"],
    "server": ["scorer", "prepackaged-mlflow", "mlserver", "image"],
    "image": ["registry.example:5000/team/scorer:1.2", "scorer@sha256:" + "0" * 64],
    "image_pull_secrets": ["pull", "pull,other.secret"],
    "service_account": ["runner"],
    "delivery": ["mlflow", "initializer"],
    "tracking_uri": ["http://mlflow.mlflow.svc:5000"],
    "artifact_root": ["s3://bucket/mlflow"],
    "storage_secret": ["rclone"],
    "engine": ["onnx", "pyfunc"],
    "protocol": ["seldon", "v2"],
    "orchestrator": ["true", "false"],
    "cpu_request": ["1", "0.5", "250m"],
    "cpu_limit": ["2", ""],
    "memory_limit": ["2Gi", "", "512M"],
    "autoscale_min": ["1", "2"],
    "autoscale_max": ["0", "5"],
    "autoscale_cpu": ["50"],
    "start_timeout_s": ["5", "601"],
    "probe_failures": ["1"],
    "gateway_url": ["https://istio.example"],
    "timeout_ms": ["0", "2500"],
    "max_unavailable": ["1", "25%"],
    "logger_url": ["http://broker-ingress.knative-eventing/ml/default"],
    "logger_mode": ["request", "response"],
    "env.LOG_LEVEL": ["INFO", "a = b, c"],
    "secret_env.AWS_SECRET_ACCESS_KEY": ["s3/secret-key"],
    "env_from_secrets": ["s3"],
    "annotations.seldon.io/istio-gateway": ["istio-system/gateway"],
    "labels.team": ["hydraulics"],
    "node_selector.disk": ["ssd"],
    "tolerations": ["gpu:NoSchedule", "a=b:NoExecute,c"],
}


@st.composite
def configs(draw: st.DrawFn) -> dict[str, str]:
    keys = draw(st.lists(st.sampled_from(sorted(CHOICES)), unique=True, max_size=12))
    return {key: draw(st.sampled_from(CHOICES[key])) for key in keys}


def _made(config: dict[str, str]) -> KubernetesOptions | None:
    try:
        return options_from_config(config)
    except BadInput:
        return None


options: st.SearchStrategy[Any] = configs().map(_made).filter(lambda made: made is not None)
