"""Asks a deployment for predictions and explanations, in MLflow's dialect or another; for the deployments clients.

What carries the request, plain HTTP or the API server's service proxy, is a `Post`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mlflow_hydraulic.errors import BadInput, Failed, NotFound, Unavailable
from mlflow_hydraulic.plugin import messages

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]  # Any: the value is JSON
Post = Callable[[str, Json], Json]  # path and body to the answer; raises what `answered` raises
TIMEOUT_S = 300.0
READY_MADE = {"dataframe_split", "dataframe_records", "instances", "inputs"}


def predict(post: Post, inputs: object, *, path: str = "/invocations", dialect: str = "mlflow") -> Json:
    """{"predictions": ...}; beside it in MLflow's dialect whatever else POST /invocations answers."""
    body = _invocation(inputs)
    if dialect == "mlflow":
        return post(path, body)
    table = messages.table_of(body)
    if dialect == "v2":
        return {"predictions": messages.from_v2(post(path, messages.to_v2(table)), table.method)}
    return {"predictions": messages.from_seldon(post(path, messages.to_seldon(table)))}


def explain(post: Post, frame: pd.DataFrame) -> Json:
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
    answer = post("/model/contribution", body)
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


def over_http(base: str, *, host: str = "") -> Post:
    """A `Post` to `base` + path. host: the Host header where a gateway routes by another than the URL's."""

    def post(path: str, body: Json) -> Json:
        import requests

        url = base + path
        try:
            answer = requests.post(url, json=body, timeout=TIMEOUT_S, headers={"Host": host} if host else None)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Unavailable(f"{url}: no answer: {error}; see whether it runs, by its state in list") from error
        except (ValueError, TypeError) as error:
            raise BadInput(f"the inputs cannot be written as JSON: {error}") from error
        return answered(url, answer.status_code, answer.text)

    return post


def answered(where: str, status: int, text: str) -> Json:
    """The JSON object that was answered; the error that `status` means, with the words of the answer."""
    if status == 200:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Failed(f"{where}: the answer is no JSON object: {text[:200]}")
        return value
    why = _message(text)
    if status in (429, 502, 503, 504):
        raise Unavailable(f"{where}: {why}")
    if status == 404:
        raise NotFound(f"{where}: {why}")
    if status < 500:
        raise BadInput(why)
    raise Failed(f"{where}: {status}: {why}")


def _message(text: str) -> str:
    """What an error answer says: MLflow's, Kubernetes' and KServe's `message`, V2's `error`, Seldon's `status.info`."""
    try:
        value = json.loads(text)
    except ValueError:
        return text[:500]
    if not isinstance(value, dict):
        return text[:500]
    status = value.get("status")
    info = status.get("info") if isinstance(status, dict) else None
    return str(value.get("message") or value.get("error") or info or value.get("detail") or value)[:2000]
