"""MLflow's paths for the OpenAPI document, with the model's columns and a sample row. Called by `dialects.mlflow`."""

from __future__ import annotations

from mlflow_hydraulic.scoring.describe import (
    Json,
    content,
    get,
    list_of,
    post,
    record_schema,
    row_schema,
    sample_row,
)
from mlflow_hydraulic.scoring.values import ModelCard

TAG = "MLflow"
ERROR = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}


def paths(card: ModelCard) -> Json:
    """The OpenAPI "paths" object of this dialect."""
    names = list(card.schema.names)
    example = {"dataframe_split": {"columns": names, "data": [sample_row(card)]}}
    request = {**content(_request(card), example), "text/csv": {"schema": {"type": "string"}}}
    answer = {"type": "object", "required": ["predictions"], "properties": {"predictions": {"type": "array"}}}
    text = {"type": "string"}
    return {
        "/invocations": post("Score rows", request, content(answer), tag=TAG, error=ERROR),
        "/ping": get("Whether the scorer takes requests", content(text, media="text/plain"), TAG),
        "/health": get("Whether the scorer takes requests", content(text, media="text/plain"), TAG),
        "/version": get("This software's version", content(text, media="text/plain"), TAG),
    }


def _request(card: ModelCard) -> Json:
    rows, records = list_of(row_schema(card)), list_of(record_schema(card))
    names = {"type": "array", "items": {"type": "string"}}
    split = {
        "type": "object",
        "required": ["data"],
        "properties": {
            "columns": names,
            "data": {"type": "array", "items": {"type": "array"}},
            "index": {"type": "array"},
        },
        "additionalProperties": False,
    }
    forms: Json = {
        "dataframe_split": split,
        "dataframe_records": records,
        "instances": {"anyOf": [rows, records, {"type": "object"}]},
        "inputs": {"anyOf": [rows, records, {"type": "object"}]},
    }
    params = {
        "type": "object",
        "properties": {"predict_method": {"enum": ["predict", "predict_proba"]}},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {**forms, "params": params},
        "oneOf": [{"required": [form]} for form in forms],
        "additionalProperties": False,
    }
