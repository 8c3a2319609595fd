"""Seldon's v1 protocol as its Python microservice speaks it, for Seldon Core's clients. Used by the scorer.

Read in seldon-core 1.17.1 (`wrapper.py`, `seldon_methods.py`, `utils.py`). Differences, on purpose: wrong input is a
4xx and not a 500, every answer has a `meta.puid`, names in another order than the model's are matched, and the tag
`predict_method` chooses labels ("predict") where a classifier's probabilities are not wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.truths import puid_of, read_truth
from mlflow_hydraulic.scoring.body import read_quickly
from mlflow_hydraulic.scoring.dialects import seldon_openapi
from mlflow_hydraulic.scoring.dialects.seldon_messages import (
    JSON,
    PREDICT,
    QUICK,
    read_feedback,
    read_method,
    read_predict,
    read_puid,
    tensor_rows,
)
from mlflow_hydraulic.scoring.dialects.seldon_paths import (
    FEEDBACK_PATHS,
    METADATA_PATHS,
    PLAIN_PATHS,
    PREDICT_PATHS,
    STATUS_PATHS,
)
from mlflow_hydraulic.scoring.ids import sane_id
from mlflow_hydraulic.scoring.rows import RowReader, kind_of
from mlflow_hydraulic.scoring.values import (
    Answer,
    Call,
    Cells,
    ModelCard,
    RequestProblem,
    Scored,
    ScoreRequest,
    Told,
)

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
        self._reader = RowReader(card.schema)
        self._tags = {"model_name": card.name, "model_version": card.version, "model_digest": card.digest}
        self._request_path = {card.name: f"{card.name}:{card.version}"}
        meta = {"tags": self._tags, "requestPath": self._request_path}
        status = _json({"strData": "healthy", "meta": meta})
        metadata = _json(self.metadata())
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
        return self._parse_quickly(call) or self._parse_carefully(call)

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

    def metadata(self) -> dict[str, Any]:
        """The shape that `seldon_core.metadata` validates; `custom` may hold strings only."""
        card, schema = self._card, self._card.schema
        kind = "tensor" if schema.numeric else "ndarray"
        inputs, outputs = list(schema.names), list(schema.output_names)
        return {
            "name": card.name,
            "versions": [card.version],
            "platform": card.engine,
            "inputs": [{"messagetype": kind, "schema": {"names": inputs, "shape": [len(inputs)]}}],
            "outputs": [{"messagetype": "tensor", "schema": {"names": outputs, "shape": [len(outputs)]}}],
            "custom": {"digest": card.digest, "origin": card.origin, "target": schema.target},
        }

    def _parse_quickly(self, call: Call) -> ScoreRequest | None:
        """Rows of plain numbers in `data.ndarray`, without a look at each cell; None where that is not so."""
        message = read_quickly(call.body, QUICK) if call.content_type == JSON else None
        if message is None:
            return None
        cells = self._reader.double_rows(message.data.ndarray, message.data.names or None)
        if cells is None:
            return None
        puid = read_puid({"puid": message.meta.puid}, call.headers)
        return ScoreRequest(cells=cells, render=partial(self._render, "ndarray", "", {}), prediction_id=puid)

    def _parse_carefully(self, call: Call) -> ScoreRequest:
        message = read_predict(call)
        meta = message.get("meta") or {}
        method = read_method(meta)
        cells, kind = self._cells(message)
        return ScoreRequest(
            cells=cells, render=partial(self._render, kind, method, meta), prediction_id=read_puid(meta, call.headers)
        )

    def _cells(self, message: Mapping[str, Any]) -> tuple[Cells, str]:
        """Rows for the model, and the kind of the answer: the request's own, and a tensor for jsonData."""
        if "jsonData" in message:
            return self._cells_of_json(message["jsonData"]), "tensor"
        data = message["data"]
        names = data.get("names") or None
        if "ndarray" in data:
            return self._reader.rows(data["ndarray"], names, what="data.ndarray"), "ndarray"
        return self._reader.rows(tensor_rows(data["tensor"]), names, what="data.tensor"), "tensor"

    def _cells_of_json(self, value: object) -> Cells:
        """`jsonData`: one record, a list of records, or a list of rows."""
        if isinstance(value, dict):
            return self._reader.records([value], what="jsonData")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return self._reader.records(value, what="jsonData")
        if isinstance(value, list):
            return self._reader.rows(value, what="jsonData")
        raise RequestProblem(400, f"jsonData must be a record or a list of records or rows, not {kind_of(value)}")

    def _render(self, kind: str, method: str, meta: Mapping[str, Any], scored: Scored) -> Answer:
        """Probabilities of a classifier (as Seldon's scikit-learn server), else one column with the model's value."""
        schema, scores = self._card.schema, scored.scores
        if scores.probabilities is None or method == PREDICT:
            table = scores.labels.reshape(-1, 1)
            names: tuple[str, ...] = (schema.target,)
        else:
            table, names = scores.probabilities, schema.output_names
        data: dict[str, Any] = {"names": names}
        if kind == "tensor" and np.issubdtype(table.dtype, np.number):
            data["tensor"] = {"shape": table.shape, "values": table.ravel().tolist()}
        else:
            data["ndarray"] = table.tolist()
        answer_meta = {
            "puid": scored.prediction_id,
            "tags": {**(meta.get("tags") or {}), **self._tags},
            "requestPath": {**(meta.get("requestPath") or {}), **self._request_path},
        }
        return Answer(
            body=_encode({"data": data, "meta": answer_meta}),
            headers=((b"seldon-puid", scored.prediction_id.encode("ascii")),),
        )

    def _feedback(self, call: Call) -> Answer:
        """Checked, told to be kept, and answered as the microservice does for a model without a feedback method."""
        feedback = read_feedback(call)
        told = self._told(feedback, call)
        asked = (feedback.get("request") or {}).get("data") or {}
        empty: dict[str, Any] = {"ndarray": []} if "ndarray" in asked else {"tensor": {"shape": [0], "values": []}}
        puid = ((feedback.get("response") or {}).get("meta") or {}).get("puid")
        meta = {"tags": self._tags, "requestPath": self._request_path, **({"puid": puid} if puid else {})}
        return Answer(body=_encode({"data": {"names": [], **empty}, "meta": meta}), told=told)

    def _told(self, feedback: Mapping[str, Any], call: Call) -> Told:
        """True values by prediction id: the response's, else the request's, else the header's."""
        puid = puid_of(feedback) or read_puid({}, call.headers) or sane_id(call.headers.get(b"x-prediction-id")) or ""
        try:
            truth = read_truth(feedback.get("truth") or {}, self._card.schema)
        except BadInput as error:
            raise RequestProblem(400, str(error)) from error
        reward = feedback.get("reward")
        return Told(prediction_id=puid, truth=truth, reward=None if reward is None else float(reward))


def _json(value: object) -> Answer:
    return Answer(body=_encode(value))


def _fixed(answer: Answer, _call: Call) -> Answer:
    return answer
