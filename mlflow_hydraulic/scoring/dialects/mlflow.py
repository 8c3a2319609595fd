"""MLflow's own dialect: what a client of `mlflow models serve` sends and gets. Used by the scorer.

Protocol: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ ("Inference server specification").
Stricter than MLflow's server where that guesses: unknown columns and keys are refused, numbers are not made of strings.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec

from mlflow_hydraulic.scoring.body import read_object, read_quickly, require_media
from mlflow_hydraulic.scoring.dialects import mlflow_openapi
from mlflow_hydraulic.scoring.rows import RowReader, kind_of, shown
from mlflow_hydraulic.scoring.values import Answer, Call, Cells, ModelCard, RequestProblem, Scored, ScoreRequest
from mlflow_hydraulic.version import VERSION

JSON = "application/json"
CSV = "text/csv"
FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
METHOD = "predict_method"
METHODS = ("predict", "predict_proba")
ERROR_CODES = {
    404: "ENDPOINT_NOT_FOUND",
    405: "ENDPOINT_NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
"""MLflow's names; every other problem is a BAD_REQUEST."""

_encode = msgspec.json.Encoder().encode


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    predict_method: Literal["predict", "predict_proba"] = "predict"


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    data: list[list[float]]
    columns: list[str] | None = None
    index: list[Any] | None = None


class _Quick(msgspec.Struct, forbid_unknown_fields=True):
    """The body as most callers send it: numbers only, which JSON decoding itself can check."""

    dataframe_split: _Split | None = None
    inputs: list[list[float]] | None = None
    instances: list[list[float]] | None = None
    params: _Params | None = None


class MlflowDialect:
    """`POST /invocations` and its companions for one model."""

    name = "mlflow"

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._reader = RowReader(card.schema)
        self._names = list(card.schema.output_names)
        self._decoder = msgspec.json.Decoder(_Quick)
        well = partial(_fixed, Answer(body=b"\n", content_type=b"text/plain"))  # MLflow calls this line JSON
        self._routes: dict[tuple[str, str], Callable[[Call], Answer]] = {
            ("GET", "/ping"): well,
            ("GET", "/health"): well,
            ("GET", "/version"): partial(_fixed, Answer(body=VERSION.encode(), content_type=b"text/plain")),
        }

    @property
    def score_paths(self) -> tuple[str, ...]:
        return ("/invocations",)

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return self._routes

    def owns(self, path: str) -> bool:
        return path in ("/invocations", "/ping", "/health", "/version")

    def parse(self, call: Call) -> ScoreRequest:
        """Rows of `dataframe_split`, `dataframe_records`, `instances`, `inputs` or CSV."""
        if call.content_type != JSON and require_media(call, (JSON, CSV)) == CSV:
            return ScoreRequest(cells=self._cells_of_csv(call.body), render=self._predictions)
        quick = read_quickly(call.body, self._decoder)
        if quick is not None:
            split = quick.dataframe_split
            rows, names = (quick.inputs or quick.instances, None) if split is None else (split.data, split.columns)
            one = (split is not None) + (quick.inputs is not None) + (quick.instances is not None) == 1
            cells = self._reader.double_rows(rows, names) if one and rows else None
            if cells is not None:
                method = "predict" if quick.params is None else quick.params.predict_method
                return ScoreRequest(cells=cells, render=self._render(method))
        body = read_object(call.body)
        form = _format(body)
        return ScoreRequest(cells=self._cells(form, body[form]), render=self._render(_method(body.get("params"))))

    def error(self, problem: RequestProblem) -> Answer:
        code = ERROR_CODES.get(problem.status, "BAD_REQUEST")
        body = _encode({"error_code": code, "message": str(problem)})
        return Answer(body=body, status=problem.status, headers=problem.headers)

    def openapi(self) -> Mapping[str, Any]:  # Any: the value is JSON
        return mlflow_openapi.paths(self._card)

    def _cells(self, form: str, value: object) -> Cells:
        if form == "dataframe_split":
            return self._cells_of_split(value)
        if form == "dataframe_records":
            return self._reader.records(value, what=form)
        if isinstance(value, dict):
            return self._reader.columns(value, what=form)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return self._reader.records(value, what=form)
        return self._reader.rows(value, what=form)

    def _cells_of_split(self, value: object) -> Cells:
        if not isinstance(value, dict):
            raise RequestProblem(
                400, f'"dataframe_split" must be an object with "columns" and "data", not {kind_of(value)}'
            )
        unknown = [key for key in value if key not in ("columns", "data", "index")]
        if unknown or "data" not in value:
            what = f"unknown key {shown(unknown[0])}" if unknown else 'missing key "data"'
            raise RequestProblem(400, f'{what} in "dataframe_split"; it takes "columns", "data" and "index"')
        return self._reader.rows(value["data"], value.get("columns"), what="dataframe_split.data")

    def _cells_of_csv(self, body: bytes) -> Cells:
        try:
            lines = list(csv.reader(body.decode("utf-8-sig").splitlines(), strict=True))
        except UnicodeDecodeError as error:
            raise RequestProblem(400, f"the CSV is not UTF-8: byte {error.start} is wrong") from error
        except csv.Error as error:
            raise RequestProblem(400, f"the body is no valid CSV: {error}") from error
        lines = [line for line in lines if line]
        if not lines:
            raise RequestProblem(400, "the body is empty: send a line of column names and a line for each row")
        return self._reader.rows(lines[1:], lines[0], text=True, what="the CSV")

    def _render(self, method: str) -> Callable[[Scored], Answer]:
        if method == "predict":
            return self._predictions
        if not self._card.schema.labels:
            target = self._card.schema.target
            raise RequestProblem(400, f'the model gives values of {target!r} and no probabilities; use "predict"')
        return self._probabilities

    def _predictions(self, scored: Scored) -> Answer:
        return Answer(body=_encode({"predictions": scored.scores.labels.tolist()}))

    def _probabilities(self, scored: Scored) -> Answer:
        probabilities = scored.scores.probabilities
        if probabilities is None:
            raise RequestProblem(400, 'the model gives labels only, no probabilities; use "predict"')
        names = self._names
        records = [dict(zip(names, row, strict=True)) for row in probabilities.tolist()]
        return Answer(body=_encode({"predictions": records}))


def _format(body: Mapping[str, object]) -> str:
    unknown = [key for key in body if key not in (*FORMATS, "params")]
    if unknown:
        raise RequestProblem(400, f"unknown key {shown(unknown[0])}; known are {', '.join(FORMATS)} and params")
    given = [form for form in FORMATS if form in body]
    if len(given) != 1:
        found = f"{' and '.join(given)} are given" if given else "none is given"
        raise RequestProblem(400, f"{found}: send exactly one of {', '.join(FORMATS)}")
    return given[0]


def _method(params: object) -> str:
    if params is None:
        return "predict"
    if not isinstance(params, dict):
        raise RequestProblem(400, f'"params" must be an object, not {kind_of(params)}')
    unknown = [key for key in params if key != METHOD]
    if unknown:
        raise RequestProblem(400, f'unknown parameter {shown(unknown[0])}; the only one is "{METHOD}"')
    method = params.get(METHOD, "predict")
    if method not in METHODS:
        raise RequestProblem(400, f'"{METHOD}": {shown(method)}: must be "predict" or "predict_proba"')
    return str(method)


def _fixed(answer: Answer, _: Call) -> Answer:
    return answer
