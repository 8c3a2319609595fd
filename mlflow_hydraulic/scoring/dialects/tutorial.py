"""The tutorial's dialect: the REST scorer of H2O Driverless AI, whose cells are strings. Used by the scorer.

Field names and rules as in https://github.com/h2oai/mlops-dai-runtimes, `common/swagger/v1openapi3/swagger.yaml`
(once `dai-deployment-templates`). On purpose without its `GET /model/score?file=`, which reads files of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from mlflow_hydraulic.schema import Field
from mlflow_hydraulic.scoring.body import read_object, read_quickly, require_media
from mlflow_hydraulic.scoring.describe import sample_row
from mlflow_hydraulic.scoring.dialects import tutorial_openapi
from mlflow_hydraulic.scoring.dialects.tutorial_output import InputColumns, contributions, score_rows, written
from mlflow_hydraulic.scoring.rows import RowReader, kind_of, shown
from mlflow_hydraulic.scoring.values import Answer, Call, Cells, ModelCard, RequestProblem, Scored, ScoreRequest

JSON = "application/json"
SCORE, CONTRIBUTION = "/model/score", "/model/contribution"
SHAPLEY_TYPES = ("NONE", "ORIGINAL", "TRANSFORMED")
DATA_TYPES = {
    "double": "Float64",
    "float": "Float32",
    "long": "Int64",
    "integer": "Int32",
    "boolean": "Bool",
    "string": "Str",
}

_encode = msgspec.json.Encoder().encode


class ScoreBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The body as most callers send it, which JSON decoding itself can check."""

    fields: list[str]
    rows: list[list[str]]
    include_fields_in_output: list[str] | None = None
    no_field_names_in_output: bool | None = None
    id_field: str | None = None
    request_shapley_value_type: Literal["NONE", "ORIGINAL", "TRANSFORMED"] | None = None
    request_prediction_intervals: bool | None = None


KEYS = ScoreBody.__struct_encode_fields__


class TutorialDialect:
    """`POST /model/score` and its companions for one model."""

    name = "tutorial"

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._reader = RowReader(card.schema)
        self._decoder = msgspec.json.Decoder(ScoreBody)
        self._id = card.digest or f"{card.name}:{card.version}"
        self._names = list(card.schema.output_names)
        self._head = _encode({"id": self._id, "fields": self._names})[:-1] + b',"score":'
        text = {"content_type": b"text/plain; charset=utf-8"}
        self._routes: dict[tuple[str, str], Callable[[Call], Answer]] = {
            ("GET", "/model/id"): partial(_fixed, Answer(body=self._id.encode(), **text)),  # type: ignore[arg-type]
            ("GET", "/model/schema"): partial(_fixed, _json(self._describe())),
            ("GET", "/model/sample_request"): partial(_fixed, _json(self._sample_request())),
            ("GET", "/model/capabilities"): partial(_fixed, _json(self._capabilities())),
            ("GET", "/readyz"): partial(_fixed, _json("Ready")),
        }

    @property
    def score_paths(self) -> tuple[str, ...]:
        return (SCORE, CONTRIBUTION)

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return self._routes

    def owns(self, path: str) -> bool:
        return path.startswith("/model/") or path == "/readyz"

    def parse(self, call: Call) -> ScoreRequest:
        """Rows of strings (numbers are taken too) with their field names."""
        if call.content_type != JSON:
            require_media(call, (JSON,))
        quick = read_quickly(call.body, self._decoder)
        cells = None if quick is None else self._reader.text_rows(quick.rows, quick.fields)
        body = quick if quick is not None and cells is not None else self._careful(read_object(call.body))
        if cells is None:
            cells = self._reader.rows(body.rows, body.fields, text=True, superset=True)
        if body.request_prediction_intervals:
            raise RequestProblem(400, '"requestPredictionIntervals": this model gives none; leave the key out')
        if call.path == CONTRIBUTION:
            return self._contribution(body, cells)
        shapley = body.request_shapley_value_type not in (None, "NONE")
        if body.include_fields_in_output is None and not shapley and not body.no_field_names_in_output:
            return ScoreRequest(cells=cells, render=self._score)
        columns = InputColumns(body.fields, body.rows, body.include_fields_in_output, body.id_field)
        render = partial(self._score_with, columns, named=not body.no_field_names_in_output)
        return ScoreRequest(cells=cells, render=render, shapley=shapley)

    def error(self, problem: RequestProblem) -> Answer:
        return Answer(body=_encode({"detail": str(problem)}), status=problem.status, headers=problem.headers)

    def openapi(self) -> Mapping[str, Any]:  # Any: the value is JSON
        return tutorial_openapi.paths(self._card, self._sample_request())

    def _contribution(self, body: ScoreBody, cells: Cells) -> ScoreRequest:
        if body.request_shapley_value_type in (None, "NONE"):
            raise RequestProblem(400, '"requestShapleyValueType" must be "ORIGINAL" or "TRANSFORMED"')
        return ScoreRequest(
            cells=cells,
            render=lambda scored: Answer(body=_encode(contributions(self._card.schema, scored))),
            shapley=True,
        )

    def _score(self, scored: Scored) -> Answer:
        rows = score_rows(scored)
        return Answer(
            body=b'%b[["%b"]]}' % (self._head, '"],["'.join(map('","'.join, rows)).encode())
            if scored.scores.probabilities is not None
            else self._head + _encode(rows) + b"}"
        )

    def _score_with(self, columns: InputColumns, scored: Scored, *, named: bool) -> Answer:
        scores = score_rows(scored)
        answer: dict[str, object] = {"id": self._id}
        if named:
            answer["fields"] = [*columns.names, *self._names]
        answer["score"] = [[*columns.row(index), *row] for index, row in enumerate(scores)]
        if scored.shapley is not None:
            answer["featureShapleyContributions"] = contributions(self._card.schema, scored)
        return Answer(body=_encode(answer))

    def _careful(self, body: dict[str, Any]) -> ScoreBody:
        """The body's keys checked one by one; its rows are checked by the `RowReader`."""
        unknown = [key for key in body if key not in KEYS]
        if unknown:
            raise RequestProblem(400, f"unknown key {shown(unknown[0])}; known are {', '.join(KEYS)}")
        for key in ("fields", "rows"):
            if key not in body:
                raise RequestProblem(400, f'missing key "{key}"; send "fields" (names) and "rows" (lists of strings)')
        if not isinstance(body["fields"], list):
            raise RequestProblem(400, f'"fields" must be a list of names, not {kind_of(body["fields"])}')
        for key in ("noFieldNamesInOutput", "requestPredictionIntervals"):
            if not isinstance(body.get(key), (bool, type(None))):
                raise RequestProblem(400, f'"{key}" must be true or false, not {kind_of(body[key])}')
        included = body.get("includeFieldsInOutput")
        if included is not None and not (isinstance(included, list) and all(isinstance(one, str) for one in included)):
            raise RequestProblem(400, '"includeFieldsInOutput" must be a list of field names')
        if not isinstance(body.get("idField"), (str, type(None))):
            raise RequestProblem(400, f'"idField" must be a field name, not {kind_of(body["idField"])}')
        if body.get("requestShapleyValueType") not in (None, *SHAPLEY_TYPES):
            given = shown(body["requestShapleyValueType"])
            raise RequestProblem(400, f'"requestShapleyValueType": {given}: must be one of {", ".join(SHAPLEY_TYPES)}')
        values: Sequence[Any] = [body.get(key) for key in KEYS]
        return ScoreBody(*values)

    def _describe(self) -> dict[str, object]:
        schema = self._card.schema
        row = sample_row(self._card)
        outputs = "Float64" if schema.labels else "Str"
        return {
            "id": self._id,
            "name": self._card.name,
            "description": f"{self._card.name} version {self._card.version}, trained on {self._card.origin} data",
            "schema": {
                "inputFields": [_data_field(f, value) for f, value in zip(schema.inputs, row, strict=True)],
                "targetFields": [{"name": schema.target, "dataType": "Str"}],
                "outputFields": [{"name": name, "dataType": outputs} for name in schema.output_names],
            },
            "properties": {"scoringType": "CLASSIFICATION" if schema.labels else "REGRESSION"},
        }

    def _sample_request(self) -> dict[str, object]:
        row = [written(value) for value in sample_row(self._card)]
        return {"fields": list(self._card.schema.names), "rows": [row]}

    def _capabilities(self) -> list[str]:
        explained = ["CONTRIBUTION_ORIGINAL", "CONTRIBUTION_TRANSFORMED"] if len(self._card.background) else []
        return ["SCORE", *explained]


def _data_field(field: Field, example: object) -> dict[str, str]:
    return {"name": field.name, "dataType": DATA_TYPES[field.type], "example": written(example)}


def _json(value: object) -> Answer:
    return Answer(body=_encode(value))


def _fixed(answer: Answer, _: Call) -> Answer:
    return answer
