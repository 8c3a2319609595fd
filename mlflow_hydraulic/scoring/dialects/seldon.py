"""Seldon's v1 protocol as its Python microservice speaks it, for clients and gateways of Seldon Core. Used by the scorer.

Read in seldon-core 1.17.1 (`wrapper.py`, `seldon_methods.py`, `utils.py`). Differences, on purpose: wrong input is a 4xx
and not a 500, every answer has a `meta.puid`, and names given in another order than the model's are matched by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np

from mlflow_hydraulic.scoring.dialects import seldon_openapi
from mlflow_hydraulic.scoring.dialects.seldon_messages import read_feedback, read_message, read_names, read_puid
from mlflow_hydraulic.scoring.rows import cells_from_records, cells_from_rows
from mlflow_hydraulic.scoring.values import Answer, Call, Cells, ModelCard, RequestProblem, Scored, ScoreRequest

PREDICT_PATHS = ("/api/v1.0/predictions", "/predict")
FEEDBACK_PATHS = ("/api/v1.0/feedback", "/send-feedback")
STATUS_PATHS = ("/health/status", "/api/v1.0/health/status")
METADATA_PATHS = ("/metadata", "/api/v1.0/metadata")
PLAIN_PATHS = {"/health/ping": b"pong", "/live": b"live", "/ready": b"ready"}
REASONS = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "REQUEST_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    503: "UNAVAILABLE",
}
"""Reasons beside the microservice's own MICROSERVICE_BAD_DATA, which stands for every other problem."""

_encode = msgspec.json.Encoder().encode


class SeldonDialect:
    """Seldon v1 for one model: predictions, feedback, health and metadata."""

    name = "seldon"

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._tags = {"model_name": card.name, "model_version": card.version, "model_digest": card.digest}
        self._request_path = {card.name: f"{card.name}:{card.version}"}
        meta = {"tags": self._tags, "requestPath": self._request_path}
        status = _json({"strData": "healthy", "meta": meta})
        metadata = _json(self._metadata())
        self._routes: dict[tuple[str, str], Callable[[Call], Answer]] = {
            **{("GET", path): partial(_fixed, status) for path in STATUS_PATHS},
            **{("GET", path): partial(_fixed, metadata) for path in METADATA_PATHS},
            **{
                ("GET", path): partial(_fixed, Answer(body=text, content_type=b"text/plain; charset=utf-8"))
                for path, text in PLAIN_PATHS.items()
            },
            **{("POST", path): self._feedback for path in FEEDBACK_PATHS},
        }

    @property
    def score_paths(self) -> tuple[str, ...]:
        return PREDICT_PATHS

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return self._routes

    def owns(self, path: str) -> bool:
        return path.startswith("/api/v1.0/") or path in PREDICT_PATHS or any(path == known for _, known in self._routes)

    def parse(self, call: Call) -> ScoreRequest:
        """Rows of one SeldonMessage: `data.ndarray`, `data.tensor` or `jsonData`."""
        message = read_message(call)
        cells, kind = self._cells(message)
        meta = message.get("meta") or {}
        return ScoreRequest(
            cells=cells,
            render=partial(self._render, kind, meta),
            prediction_id=read_puid(meta, call.headers),
        )

    def error(self, problem: RequestProblem) -> Answer:
        status = {
            "code": problem.status,
            "info": str(problem),
            "reason": REASONS.get(problem.status, "MICROSERVICE_BAD_DATA"),
            "status": 1,
        }
        return Answer(body=_encode({"status": status, "meta": {}}), status=problem.status, headers=problem.headers)

    def openapi(self) -> Mapping[str, Any]:  # Any: the value is JSON
        return seldon_openapi.paths(self._card)

    def _cells(self, message: Mapping[str, Any]) -> tuple[Cells, str]:
        """Rows for the model, and whether the answer is an "ndarray" or a "tensor" (as the microservice: jsonData too)."""
        schema = self._card.schema
        if "jsonData" in message:
            return _cells_of_json(message["jsonData"], self._card), "tensor"
        data = message["data"]
        names = read_names(data)
        if "ndarray" in data:
            return cells_from_rows(schema, data["ndarray"], names), "ndarray"
        return cells_from_rows(schema, _tensor_rows(data["tensor"]), names), "tensor"

    def _render(self, kind: str, meta: Mapping[str, Any], scored: Scored) -> Answer:
        """Probabilities of a classifier (as Seldon's scikit-learn server), else one column with the model's value."""
        schema, scores = self._card.schema, scored.scores
        if scores.probabilities is None:
            table, names = scores.labels.reshape(-1, 1), (schema.target,)
        else:
            table, names = scores.probabilities, schema.output_names
        data: dict[str, Any] = {"names": names}
        if kind == "tensor" and np.issubdtype(table.dtype, np.number):
            data["tensor"] = {"shape": table.shape, "values": table.ravel().tolist()}
        else:
            data["ndarray"] = table.tolist()
        answer_meta = {
            "puid": scored.prediction_id,
            "tags": {**meta.get("tags", {}), **self._tags},
            "requestPath": {**meta.get("requestPath", {}), **self._request_path},
        }
        return Answer(
            body=_encode({"data": data, "meta": answer_meta}),
            headers=((b"seldon-puid", scored.prediction_id.encode("ascii")),),
        )

    def _feedback(self, call: Call) -> Answer:
        """Checked and answered as the microservice does for a model without a feedback method of its own."""
        feedback = read_feedback(call)
        asked = (feedback.get("request") or {}).get("data") or {}
        empty: dict[str, Any] = {"ndarray": []} if "ndarray" in asked else {"tensor": {"shape": [0], "values": []}}
        puid = ((feedback.get("response") or {}).get("meta") or {}).get("puid")
        meta = {"tags": self._tags, "requestPath": self._request_path, **({"puid": puid} if puid else {})}
        return _json({"data": {"names": [], **empty}, "meta": meta})

    def _metadata(self) -> dict[str, Any]:
        """The shape that `seldon_core.metadata` validates; `custom` may hold strings only."""
        card, schema = self._card, self._card.schema
        kind = "tensor" if schema.numeric else "ndarray"
        return {
            "name": card.name,
            "versions": [card.version],
            "platform": card.engine,
            "inputs": [{"messagetype": kind, "schema": {"names": schema.names, "shape": [len(schema.names)]}}],
            "outputs": [
                {"messagetype": "tensor", "schema": {"names": schema.output_names, "shape": [len(schema.output_names)]}}
            ],
            "custom": {"digest": card.digest, "origin": card.origin, "target": schema.target},
        }


def _cells_of_json(value: Any, card: ModelCard) -> Cells:  # Any: the value is JSON
    """`jsonData`: one record, a list of records, or a list of rows."""
    if isinstance(value, dict):
        return cells_from_records(card.schema, [value])
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return cells_from_records(card.schema, value)
    if isinstance(value, list):
        return cells_from_rows(card.schema, value, None)
    raise RequestProblem(400, f"jsonData is {_kind(value)}: it must be a record, a list of records or a list of rows")


def _tensor_rows(tensor: Mapping[str, Any]) -> list[list[Any]]:
    """Row lists of a tensor whose shape `read_message` has checked."""
    values, width = tensor["values"], tensor["shape"][1]
    return [values[start : start + width] for start in range(0, len(values), width)]


def _kind(value: object) -> str:
    return type(value).__name__


def _json(value: object) -> Answer:
    return Answer(body=_encode(value))


def _fixed(answer: Answer, _call: Call) -> Answer:
    return answer
