"""Asks a deployment over HTTP for predictions and explanations. Called by the deployments clients."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflow_hydraulic.errors import BadInput, Failed, NotFound, Unavailable

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]  # Any: the value is JSON
TIMEOUT_S = 300.0
READY_MADE = {"dataframe_split", "dataframe_records", "instances", "inputs"}


def predict(url: str, inputs: object) -> Json:
    """What POST /invocations answers."""
    return _post(f"{url}/invocations", _invocation(inputs))


def explain(url: str, frame: pd.DataFrame) -> Json:
    """Shapley values by output: a row of numbers for each row of `frame`, in the order of "features", bias last."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise BadInput(f"explain takes a pandas DataFrame, not {type(frame).__name__}")
    body = {
        "fields": [str(column) for column in frame.columns],
        "rows": [
            ["" if _missing(cell) else str(cell) for cell in row] for row in frame.to_numpy(dtype=object).tolist()
        ],
        "requestShapleyValueType": "ORIGINAL",
    }
    answer = _post(f"{url}/model/contribution", body)
    groups = answer["contributionGroups"]
    outputs = [group.get("outputGroup", "prediction") for group in groups]
    return {
        "outputs": outputs,
        "features": [feature.removeprefix("contrib.") for feature in answer["features"]],
        "contributions": {
            output: [[float(value) for value in row] for row in group["contributions"]]
            for output, group in zip(outputs, groups, strict=True)
        },
    }


def _invocation(inputs: object) -> Json:
    if isinstance(inputs, Mapping) and READY_MADE & set(inputs):
        return dict(inputs)
    if hasattr(inputs, "columns") and hasattr(inputs, "iloc"):  # a DataFrame, without importing pandas for others
        return {"dataframe_split": _split(inputs)}
    if hasattr(inputs, "tolist"):
        return {"inputs": inputs.tolist()}
    if isinstance(inputs, list) and inputs and all(isinstance(row, Mapping) for row in inputs):
        return {"dataframe_records": [dict(row) for row in inputs]}
    if isinstance(inputs, (Mapping, list)):
        return {"inputs": inputs}
    raise BadInput(f"predict takes a DataFrame, an array, a dict or a list of records, not {type(inputs).__name__}")


def _split(frame: Any) -> Json:  # Any: a DataFrame
    """As pandas writes it, but doubles to the last digit: pandas' own JSON rounds them to 15 digits."""
    split = json.loads(frame.to_json(orient="split"))
    rows = frame.to_numpy(dtype=object).tolist()
    data = [
        [cell if isinstance(cell, float) and math.isfinite(cell) else text for cell, text in zip(*pair, strict=True)]
        for pair in zip(rows, split["data"], strict=True)
    ]
    return {"columns": split["columns"], "data": data}


def _missing(cell: object) -> bool:
    return cell is None or cell != cell  # noqa: PLR0124 - NaN is the value that differs from itself


def _post(url: str, body: Json) -> Json:
    import requests

    try:
        answer = requests.post(url, json=body, timeout=TIMEOUT_S)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise Unavailable(f'{url}: no answer: {error}; see "hydraulic local list"') from error
    except (ValueError, TypeError) as error:
        raise BadInput(f"the inputs cannot be written as JSON: {error}") from error
    if answer.status_code == 200:
        value = answer.json()
        if not isinstance(value, dict):
            raise Failed(f"{url}: the answer is no JSON object: {answer.text[:200]}")
        return value
    why = _message(answer.text)
    if answer.status_code == 503:
        raise Unavailable(f"{url}: {why}")
    if answer.status_code == 404:
        raise NotFound(f"{url}: {why}")
    if answer.status_code < 500:
        raise BadInput(why)
    raise Failed(f"{url}: {answer.status_code}: {why}")


def _message(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text[:500]
    return str(value.get("message") or value.get("detail") or value) if isinstance(value, dict) else text[:500]
