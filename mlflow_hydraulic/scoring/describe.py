"""Describes one model's requests for the OpenAPI document: JSON schemas of its rows, and examples made of real rows.

Called by the dialects' `openapi` and by `scoring.openapi`. The values are JSON, hence the `Any` in their types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_hydraulic.schema import Field, FieldType
from mlflow_hydraulic.scoring.rows import BOUNDS, FLOAT32_MAX
from mlflow_hydraulic.scoring.values import ModelCard

Json = dict[str, Any]
KINDS: Mapping[FieldType, Json] = {
    "double": {"type": "number", "format": "double"},
    "float": {"type": "number", "format": "float", "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX},
    "long": {"type": "integer", "format": "int64", "minimum": -BOUNDS["long"], "maximum": BOUNDS["long"]},
    "integer": {"type": "integer", "format": "int32", "minimum": -BOUNDS["integer"], "maximum": BOUNDS["integer"]},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
}
BLANKS: Mapping[FieldType, Any] = {
    "double": 0.0,
    "float": 0.0,
    "long": 0,
    "integer": 0,
    "boolean": False,
    "string": "",
}
PROBLEMS = {
    "400": "the request breaks a rule; the message names row, field and rule",
    "413": "more bytes or rows than this scorer reads",
    "415": "a content type that this path does not read",
    "503": "the scorer is stopping or not ready",
}


def cell_schema(field: Field) -> Json:
    """One cell of the column `field`, with its unit."""
    schema = dict(KINDS[field.type])
    if not field.required:
        schema["type"] = [schema["type"], "null"]
    title = f"{field.name} in {field.unit}" if field.unit else field.name
    return {**schema, "title": title}


def record_schema(card: ModelCard) -> Json:
    """One row as an object of named cells."""
    return {
        "type": "object",
        "properties": {field.name: cell_schema(field) for field in card.schema.inputs},
        "required": [field.name for field in card.schema.inputs if field.required],
        "additionalProperties": False,
    }


def row_schema(card: ModelCard) -> Json:
    """One row as a list of cells in the model's order."""
    cells = [cell_schema(field) for field in card.schema.inputs]
    return {"type": "array", "prefixItems": cells, "minItems": len(cells), "maxItems": len(cells)}


def list_of(item: Json) -> Json:
    """A list of one item at least."""
    return {"type": "array", "items": item, "minItems": 1}


def sample_row(card: ModelCard) -> list[Any]:
    """A real row of the model's data; where its bundle has none, a row of zeros and empty texts."""
    if len(card.sample) == 0:
        return [BLANKS[field.type] for field in card.schema.inputs]
    return [_plain(field, value) for field, value in zip(card.schema.inputs, card.sample[0].tolist(), strict=True)]


def sample_record(card: ModelCard) -> Json:
    return dict(zip(card.schema.names, sample_row(card), strict=True))


def content(schema: Json, example: Any = None, media: str = "application/json") -> Json:
    """A `content` object of one media type."""
    return {media: {"schema": schema, **({"example": example} if example is not None else {})}}


def get(summary: str, answer: Json, tag: str) -> Json:
    """A GET operation that always answers; `answer` is its `content`."""
    return {"get": {"summary": summary, "tags": [tag], "responses": {"200": {"description": "OK", "content": answer}}}}


def post(summary: str, request: Json, answer: Json, *, tag: str, error: Json, headers: Json | None = None) -> Json:
    """A POST operation; `request` and `answer` are `content` objects, `error` is the schema of its 4xx answers."""
    good: Json = {"description": "OK", "content": answer, **({"headers": headers} if headers else {})}
    bad = {status: {"description": text, "content": content(error)} for status, text in PROBLEMS.items()}
    return {
        "post": {
            "summary": summary,
            "tags": [tag],
            "requestBody": {"required": True, "content": request},
            "responses": {"200": good, **bad},
        }
    }


def _plain(field: Field, value: Any) -> Any:
    if value is None or value != value:  # noqa: PLR0124 - NaN, the missing value of a numeric column
        return None
    if field.type in BOUNDS:
        return int(value)
    return bool(value) if field.type == "boolean" else value
