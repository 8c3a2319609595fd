"""A hydraulic model for Seldon's own Python wrapper; `seldon-core-microservice` makes it by its dotted name.

    seldon-core-microservice mlflow_hydraulic.seldon_component.SeldonComponent \
        --parameters '[{"name": "model_uri", "type": "STRING", "value": "/mnt/models"}]'

For those who keep that wrapper: our own scorer answers the same and needs none. It runs a model's bundle by
onnxruntime and imports no MLflow, pandas or scikit-learn, because the wrapper's environment has other versions of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.bundle.read import Bundle, read_bundle
from mlflow_hydraulic.errors import Failed, NotFound, Untrusted
from mlflow_hydraulic.scoring.dialects.seldon import SeldonDialect
from mlflow_hydraulic.scoring.ids import new_id
from mlflow_hydraulic.scoring.onnx_engine import OnnxEngine
from mlflow_hydraulic.scoring.rows import RowReader
from mlflow_hydraulic.scoring.seldon_codec import json_to_message, message_to_json
from mlflow_hydraulic.scoring.values import Call, Cells, ModelCard, RequestProblem, Scored, Scores

BUNDLE = "bundle"  # in a saved model
Json = dict[str, Any]


class SeldonComponent:
    """One model, told in the graph's parameters.

    model_uri: a folder, where Seldon's init container has put the model. digest: sha256 of its files; any other model
    is refused, "" takes what is there. name, version: what answers show.
    raw: answer whole messages, exactly as our scorer does; otherwise the wrapper reads requests and writes answers
    (rows of mixed types become texts, and true becomes 1).
    """

    def __init__(
        self,
        *,
        model_uri: str = "/mnt/models",
        digest: str = "",
        name: str = "model",
        version: str = "0",
        raw: bool = True,
        threads: int = 1,
    ) -> None:
        self._folder = Path(model_uri.removeprefix("file://"))
        self._raw = raw
        self._threads = threads
        self._engine: OnnxEngine | None = None
        self._counted = threading.local()
        self._bundle = _read(self._folder)
        found = digest_folder(self._folder)
        if digest and found != digest:
            raise Untrusted(f"{self._folder}: its digest is {found}, not {digest}: this is another model")
        bundle = self._bundle
        self._card = ModelCard(
            name=name,
            version=version,
            digest=found,
            engine="onnxruntime",
            schema=bundle.schema,
            origin=bundle.origin,
            sample=bundle.sample,
            background=bundle.background,
        )
        self._dialect = SeldonDialect(self._card)
        self._reader = RowReader(bundle.schema)

    def load(self) -> None:
        """Start onnxruntime; the wrapper calls this in each of its processes, after it has forked them."""
        self._engine = self._started()

    def predict(self, X: Any, names: Iterable[str], meta: Json | None = None) -> NDArray[np.float64]:
        """Probabilities, shape (n, classes), of rows as the wrapper has read them; an array, or `jsonData` as it is."""
        del meta  # the wrapper copies it to the answer
        try:
            return _table(self._scored(self._cells(X, list(names))))
        except RequestProblem as problem:
            raise _theirs(problem) from problem

    def predict_raw(self, message: Any) -> Any:
        """The answer to a whole message: a dict (REST) or a protobuf SeldonMessage (gRPC)."""
        if not self._raw:
            from seldon_core.user_model import SeldonNotImplementedError

            raise SeldonNotImplementedError("raw is off: the wrapper reads and writes")
        try:
            if hasattr(message, "WhichOneof"):
                return json_to_message(self._answer(message_to_json(message)), type(message)())
            return self._answer(message)
        except RequestProblem as problem:
            raise _theirs(problem) from problem

    def class_names(self) -> list[str]:
        return list(self._card.schema.output_names)

    def tags(self) -> dict[str, str]:
        return {"model_name": self._card.name, "model_version": self._card.version, "model_digest": self._card.digest}

    def metrics(self) -> list[Json]:
        """Rows of the prediction that this thread has just made; the wrapper adds them up."""
        rows = getattr(self._counted, "rows", 0)
        self._counted.rows = 0
        return [{"type": "COUNTER", "key": "hydraulic_rows_total", "value": rows}] if rows else []

    def health_status(self) -> str:
        """Healthy when the model scores a row of its own sample."""
        self._scored(self._card.sample[:1])
        self._counted.rows = 0
        return "healthy"

    def init_metadata(self) -> Json:
        return self._dialect.metadata()

    def _started(self) -> OnnxEngine:
        return OnnxEngine(self._bundle, threads=self._threads)

    def _answer(self, message: Mapping[str, Any]) -> Json:
        call = Call(
            method="POST",
            path="/predict",
            body=msgspec.json.encode(message),
            content_type="application/json",
            headers={},
        )
        request = self._dialect.parse(call)
        scored = Scored(scores=self._scored(request.cells), prediction_id=request.prediction_id or new_id())
        answer: Json = msgspec.json.decode(request.render(scored).body)
        if metrics := self.metrics():
            answer["meta"]["metrics"] = metrics
        return answer

    def _scored(self, cells: Cells) -> Scores:
        if self._engine is None:  # used without the wrapper
            self._engine = self._started()
        scores = self._engine.score(cells)
        self._counted.rows = len(cells)
        return scores

    def _cells(self, X: Any, names: list[str]) -> Cells:
        if isinstance(X, np.ndarray):
            rows = X.tolist() if X.ndim != 1 else [X.tolist()]
            return self._reader.rows(rows, names or None, what="data")
        if isinstance(X, Mapping):
            return self._reader.records([X], what="jsonData")
        if isinstance(X, list) and X and isinstance(X[0], Mapping):
            return self._reader.records(X, what="jsonData")
        if isinstance(X, list):
            return self._reader.rows(X, what="jsonData")
        raise RequestProblem(400, "the message holds no rows: send data.ndarray, data.tensor or jsonData")


def _read(folder: Path) -> Bundle:
    if not folder.is_dir():
        raise NotFound(
            f"model_uri={str(folder)!r}: there is no such folder; this component reads what Seldon's init container "
            'has fetched: give the graph node a modelUri, or name a folder in "parameters"'
        )
    bundle = read_bundle(folder / BUNDLE if (folder / BUNDLE).is_dir() else folder)
    if bundle.graph is None:
        raise Failed(f"{folder}: its bundle has no graph ({bundle.reason}), so it needs the scorer's own image")
    return bundle


def _table(scores: Scores) -> NDArray[np.float64]:
    if scores.probabilities is None:
        return np.asarray(scores.labels, dtype=np.float64).reshape(-1, 1)
    return scores.probabilities


def _theirs(problem: RequestProblem) -> Exception:
    """As the wrapper's own error: it answers with this status, and with 500 to anything else that is raised."""
    from seldon_core.flask_utils import SeldonMicroserviceException

    made: Exception = SeldonMicroserviceException(str(problem), status_code=problem.status)
    made.args = (str(problem),)  # it leaves its text out, so that gRPC would say nothing
    return made
