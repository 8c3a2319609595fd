"""The Open Inference Protocol (V2) over REST, for KServe, Triton and MLServer clients. Used by the scorer.

Protocol: https://github.com/kserve/open-inference-protocol, `specification/protocol/inference_rest.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np

from mlflow_hydraulic.scoring.body import read_id, read_object, read_quickly, require_media
from mlflow_hydraulic.scoring.dialects import v2_openapi
from mlflow_hydraulic.scoring.dialects.v2_tensors import QUICK, column_datatype, quick_cells, read_cells
from mlflow_hydraulic.scoring.rows import RowReader, kind_of, shown
from mlflow_hydraulic.scoring.values import Answer, Call, ModelCard, RequestProblem, Scored, ScoreRequest
from mlflow_hydraulic.version import VERSION

SERVER = "mlflow-hydraulic"
LABEL_DATATYPES = {"i": "INT64", "u": "UINT64", "f": "FP64", "b": "BOOL"}
REQUEST_KEYS = ("id", "parameters", "inputs", "outputs")

_encode = msgspec.json.Encoder().encode


class V2Dialect:
    """Open Inference for one model: health, metadata and inference."""

    name = "v2"

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._reader = RowReader(card.schema)
        classifier = bool(card.schema.labels)
        self._offered = ("predict", "predict_proba") if classifier else ("predict",)
        model = f"/v2/models/{card.name}"
        self._models = (model, f"{model}/versions/{card.version}")
        ready = _json({"name": card.name, "ready": True})
        metadata = _json(self._metadata())
        self._routes: dict[tuple[str, str], Callable[[Call], Answer]] = {
            ("GET", "/v2"): partial(_fixed, _json({"name": SERVER, "version": VERSION, "extensions": []})),
            ("GET", "/v2/health/live"): partial(_fixed, _json({"live": True})),
            ("GET", "/v2/health/ready"): partial(_fixed, _json({"ready": True})),
            **{("GET", path): partial(_fixed, metadata) for path in self._models},
            **{("GET", f"{path}/ready"): partial(_fixed, ready) for path in self._models},
        }

    @property
    def score_paths(self) -> tuple[str, ...]:
        return tuple(f"{path}/infer" for path in self._models)

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return self._routes

    def owns(self, path: str) -> bool:
        return path == "/v2" or path.startswith("/v2/")

    def parse(self, call: Call) -> ScoreRequest:
        """Rows of an inference request: one tensor of all columns, or one tensor a column."""
        if b"inference-header-content-length" in call.headers:
            raise RequestProblem(
                415, "Inference-Header-Content-Length: binary tensors are not supported, send JSON data"
            )
        require_media(call)
        quick = read_quickly(call.body, QUICK)
        cells = quick_cells(quick, self._reader) if quick else None
        if quick and cells is not None:
            return self._request(cells, read_id(quick.id, "id"), self._offered)
        return self._parse_carefully(call)

    def error(self, problem: RequestProblem) -> Answer:
        return Answer(body=_encode({"error": str(problem)}), status=problem.status, headers=problem.headers)

    def openapi(self) -> Mapping[str, Any]:  # Any: the value is JSON
        return v2_openapi.paths(self._card, self._models)

    def _parse_carefully(self, call: Call) -> ScoreRequest:
        body = read_object(call.body)
        unknown = [key for key in body if key not in REQUEST_KEYS]
        if unknown:
            raise RequestProblem(400, f"unknown key {shown(unknown[0])}: known are {', '.join(REQUEST_KEYS)}")
        asked = self._asked(body.get("outputs"))
        request_id = read_id(body.get("id"), "id")
        return self._request(read_cells(body.get("inputs"), self._reader), request_id, asked)

    def _request(self, cells: Any, request_id: str | None, asked: tuple[str, ...]) -> ScoreRequest:
        return ScoreRequest(cells=cells, render=partial(self._render, asked), prediction_id=request_id)

    def _asked(self, outputs: object) -> tuple[str, ...]:
        """The names of the outputs that the request selects; all when it selects none."""
        if outputs is None or outputs == []:
            return self._offered
        if not isinstance(outputs, list):
            raise RequestProblem(400, f"outputs must be a list of objects with a name, not {kind_of(outputs)}")
        names: list[str] = []
        for output in outputs:
            name = output.get("name") if isinstance(output, dict) else output
            if not isinstance(output, dict) or not isinstance(name, str) or name not in self._offered:
                raise RequestProblem(
                    400, f"outputs: {shown(name)} is no output of this model, which has {self._offered}"
                )
            parameters = output.get("parameters")
            if isinstance(parameters, dict) and parameters.get("binary_data"):
                raise RequestProblem(400, "outputs: binary_data is not supported, the answer holds JSON data")
            names.append(name)
        return tuple(dict.fromkeys(names))

    def _render(self, asked: tuple[str, ...], scored: Scored) -> Answer:
        scores = scored.scores
        outputs = []
        for name in asked:
            if name == "predict":
                outputs.append(_labels_tensor(scores.labels))
            elif scores.probabilities is not None:
                outputs.append(_tensor(name, scores.probabilities, "FP64"))
        answer = {
            "model_name": self._card.name,
            "model_version": self._card.version,
            "id": scored.prediction_id,
            "parameters": {"digest": self._card.digest},
            "outputs": outputs,
        }
        return Answer(body=_encode(answer))

    def _metadata(self) -> dict[str, Any]:
        card, schema = self._card, self._card.schema
        outputs: list[dict[str, Any]] = [{"name": "predict", "datatype": label_datatype(card), "shape": [-1]}]
        if schema.labels:
            names = {"columns": ",".join(schema.output_names)}
            shape = [-1, len(schema.labels)]
            outputs.append({"name": "predict_proba", "datatype": "FP64", "shape": shape, "parameters": names})
        return {
            "name": card.name,
            "versions": [card.version],
            "platform": card.engine,
            "inputs": [
                {
                    "name": field.name,
                    "datatype": column_datatype(field),
                    "shape": [-1],
                    "parameters": {"required": field.required, **({"unit": field.unit} if field.unit else {})},
                }
                for field in schema.inputs
            ],
            "outputs": outputs,
            "parameters": {"digest": card.digest, "origin": card.origin, "target": schema.target},
        }


def label_datatype(card: ModelCard) -> str:
    """The datatype of `predict`: that of the class labels, FP64 for a regression."""
    labels = card.schema.labels
    return _datatype(np.asarray(labels)) if labels else "FP64"


def _labels_tensor(labels: np.ndarray[Any, Any]) -> dict[str, Any]:
    if labels.dtype == object:
        labels = np.asarray(labels.tolist())
    return _tensor("predict", labels, _datatype(labels))


def _datatype(values: np.ndarray[Any, Any]) -> str:
    return LABEL_DATATYPES.get(values.dtype.kind, "BYTES")


def _tensor(name: str, values: np.ndarray[Any, Any], datatype: str) -> dict[str, Any]:
    return {"name": name, "shape": values.shape, "datatype": datatype, "data": values.ravel().tolist()}


def _json(value: object) -> Answer:
    return Answer(body=_encode(value))


def _fixed(answer: Answer, _call: Call) -> Answer:
    return answer
