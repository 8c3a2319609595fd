"""Deployments, their addresses and their `-C` keys as people see them. Called by the deployments clients."""

from __future__ import annotations

from typing import Any

from mlflow_hydraulic.deployment import Observed, Predictor
from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.plugin.config import KEYS, MAIN, Own

Json = dict[str, Any]  # Any: the value is JSON


def described(observed: Observed) -> Json:
    """A deployment as `get` shows it; `name` and `flavor` are MLflow's."""
    deployment = observed.deployment
    main = deployment.predictors[0].model if deployment else None
    return {
        "name": observed.name,
        "flavor": "python_function",
        "namespace": observed.namespace,
        "state": observed.state,
        "endpoint": observed.url,
        "model_uri": main.uri if main else "",
        "version": main.version if main else "",
        "digest": main.digest if main else "",
        "predictors": [_predictor(p, observed) for p in deployment.all] if deployment else [],
        "cause": observed.cause,
        "log": list(observed.log),
        "generation": observed.generation,
        **({"pid": observed.pid} if observed.pid is not None else {}),
    }


def _predictor(predictor: Predictor, observed: Observed) -> Json:
    shadow = observed.deployment is not None and observed.deployment.shadow == predictor
    return {
        "name": predictor.name,
        "role": "shadow" if shadow else "champion" if predictor.name == MAIN else "arm",
        "model_uri": predictor.model.uri,
        "version": predictor.model.version,
        "traffic": predictor.traffic,
        "replicas": predictor.replicas,
        "ready": observed.ready.get(predictor.name, 0),
    }


def endpoint_of(observed: Observed) -> Json:
    """The address of a deployment as `get_endpoint` shows it."""
    return {
        "name": observed.name,
        "namespace": observed.namespace,
        "state": observed.state,
        "url": observed.url,
        "deployments": [observed.name],
    }


def key_help(own: Own) -> str:
    """Every `-C` key with its meaning, a line each."""
    keys = {**KEYS, **own.keys}
    width = min(24, max(map(len, keys)))
    return "\n".join(f"  {key:<{width}}  {text}" for key, text in keys.items())


def no_answer(observed: Observed) -> NotFound:
    """The error for a deployment that is there and answers nothing."""
    return NotFound(f"deployment {observed.name!r} does not answer: {observed.cause or observed.state}")
