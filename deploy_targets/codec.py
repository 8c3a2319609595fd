"""Deployments as JSON and back: strict, and with a version number, for what targets write down.

Called by the local target for its files and by whoever records what was deployed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.errors import BadInput

FORMAT = 1

Json = dict[str, Any]  # Any: the value is JSON

MODEL: Mapping[str, type] = {"uri": str, "name": str, "version": str, "digest": str}
PREDICTOR: Mapping[str, type] = {"name": str, "model": dict, "traffic": int, "replicas": int}
DEPLOYMENT: Mapping[str, type] = {
    "format": int,
    "name": str,
    "namespace": str,
    "predictors": list,
    "shadow": dict,
    "labels": dict,
}


def deployment_to_dict(deployment: Deployment) -> Json:
    """`deployment` as JSON values; `deployment_from_dict` gives it back, equal."""
    return {"format": FORMAT, **asdict(deployment), "predictors": [asdict(p) for p in deployment.predictors]}


def deployment_from_dict(value: object) -> Deployment:
    """The deployment that `value` describes; `BadInput` names the key that is missing, unknown or of a wrong type.

    >>> deployment_from_dict({"format": 2})
    Traceback (most recent call last):
    mlflow_hydraulic.errors.BadInput: deployment: format 2 is not known here, only 1: use the release that wrote it
    """
    if isinstance(value, dict) and value.get("format", FORMAT) != FORMAT:
        raise BadInput(
            f"deployment: format {value['format']!r} is not known here, only {FORMAT}: use the release that wrote it"
        )
    given = checked("deployment", value, DEPLOYMENT, optional=("shadow",))
    shadow = given["shadow"]
    labels = given["labels"]
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in labels.items()):
        raise BadInput(f"deployment.labels={labels!r}: names and values must be text")
    return Deployment(
        name=given["name"],
        namespace=given["namespace"],
        predictors=tuple(_predictor(f"predictors[{i}]", p) for i, p in enumerate(given["predictors"])),
        shadow=None if shadow is None else _predictor("shadow", shadow),
        labels=labels,
    )


def to_json(deployment: Deployment) -> str:
    """`deployment` as JSON text with sorted keys, so that equal deployments give equal text."""
    return json.dumps(deployment_to_dict(deployment), sort_keys=True, ensure_ascii=True)


def from_json(text: str | bytes) -> Deployment:
    """The deployment that `text` describes; `BadInput` says what is wrong with it."""
    return deployment_from_dict(parse_json("deployment", text))


def parse_json(what: str, text: str | bytes) -> object:
    """`text` parsed; `BadInput` for what is no JSON or nested beyond reason."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{what}: not JSON: {error}") from error
    return value


def checked(what: str, value: object, keys: Mapping[str, type], *, optional: tuple[str, ...] = ()) -> Json:
    """`value` if it is an object with exactly `keys`, each of its type; the `optional` ones may be null."""
    if not isinstance(value, dict):
        raise BadInput(f"{what}: must be a JSON object, not {type(value).__name__}")
    missing, unknown = [k for k in keys if k not in value], [k for k in value if k not in keys]
    if missing or unknown:
        problem = f"missing {missing}" if missing else f"unknown {unknown}"
        raise BadInput(f"{what}: {problem}; the keys are {list(keys)}")
    for key, kind in keys.items():
        if value[key] is None and key in optional:
            continue
        if not isinstance(value[key], kind) or (kind is int and isinstance(value[key], bool)):
            raise BadInput(f"{what}.{key}={value[key]!r}: must be {kind.__name__}")
    return value


def _predictor(what: str, value: object) -> Predictor:
    given = checked(what, value, PREDICTOR)
    model = checked(f"{what}.model", given["model"], MODEL)
    return Predictor(**{**given, "model": ModelVersion(**model)})
