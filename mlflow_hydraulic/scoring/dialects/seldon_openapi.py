"""Seldon's paths for the OpenAPI document, with the columns and a sample row of the model. Called by `seldon`."""

from __future__ import annotations

import json

from mlflow_hydraulic.scoring.describe import Json, content, get, list_of, post, record_schema, row_schema, sample_row
from mlflow_hydraulic.scoring.dialects.seldon_paths import (
    FEEDBACK_PATHS,
    METADATA_PATHS,
    PLAIN_PATHS,
    PREDICT_PATHS,
    STATUS_PATHS,
)
from mlflow_hydraulic.scoring.values import ModelCard

TAG = "Seldon v1"
STRINGS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}
METHOD = {"enum": ["predict", "predict_proba"], "description": "a classifier's labels, or its probabilities (default)"}
META = {
    "type": "object",
    "properties": {
        "puid": {"type": "string", "pattern": "^[!-~]{1,128}$", "description": "the prediction id"},
        "tags": {**STRINGS, "properties": {"predict_method": METHOD}},
        "requestPath": STRINGS,
    },
}
ERROR = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {
            "type": "object",
            "required": ["code", "info", "reason", "status"],
            "properties": {
                "code": {"type": "integer"},
                "info": {"type": "string"},
                "reason": {"type": "string"},
                "status": {"type": "integer", "const": 1},
            },
        },
        "meta": {"type": "object"},
    },
}
ANSWER_HEADERS = {"Seldon-Puid": {"description": "the prediction id", "schema": {"type": "string"}}}


def paths(card: ModelCard) -> Json:
    """The OpenAPI "paths" object of this dialect."""
    found: Json = {path: _predict(card, path) for path in PREDICT_PATHS}
    found |= {path: _feedback(card, path) for path in FEEDBACK_PATHS}
    found |= {path: get(f"Health ({path})", content(_answer(card)), TAG) for path in STATUS_PATHS}
    found |= {path: get(f"Model metadata ({path})", content({"type": "object"}), TAG) for path in METADATA_PATHS}
    plain = content({"type": "string"}, media="text/plain")
    return found | {path: get(f"Probe ({path})", plain, TAG) for path in PLAIN_PATHS}


def _predict(card: ModelCard, path: str) -> Json:
    message = _message(card)
    sample = {"data": {"names": list(card.schema.names), "ndarray": [sample_row(card)]}}
    form = {"type": "object", "properties": {"json": {"type": "string"}}, "required": ["json"]}
    request = {
        **content(message, sample),
        **content(form, {"json": json.dumps(sample)}, "application/x-www-form-urlencoded"),
        **content(form, {"json": json.dumps(sample)}, "multipart/form-data"),
    }
    answer = content(_answer(card))
    return post(f"Predict ({path})", request, answer, tag=TAG, error=ERROR, headers=ANSWER_HEADERS)


def _feedback(card: ModelCard, path: str) -> Json:
    message = {"type": "object", "properties": {"meta": META, "data": {"type": "object"}}}
    feedback = {
        "type": "object",
        "properties": {"request": message, "response": message, "reward": {"type": "number"}, "truth": message},
        "additionalProperties": False,
        "minProperties": 1,
    }
    label = card.schema.labels[0] if card.schema.labels else 0.0
    sample = {
        "response": {"meta": {"puid": "the-prediction-id"}},
        "truth": {"data": {"ndarray": [[label]]}},
        "reward": 1.0,
    }
    return post(f"Feedback ({path})", content(feedback, sample), content(_answer(card)), tag=TAG, error=ERROR)


def _message(card: ModelCard) -> Json:
    rows, record = list_of(row_schema(card)), record_schema(card)
    names = {"type": "array", "items": {"enum": list(card.schema.names)}, "uniqueItems": True}
    sizes = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}
    tensor = {
        "type": "object",
        "properties": {"shape": sizes, "values": {"type": "array"}},
        "required": ["shape", "values"],
    }
    data = {
        "type": "object",
        "properties": {"names": names, "ndarray": rows, "tensor": tensor},
        "oneOf": [{"required": ["ndarray"]}, {"required": ["tensor"]}],
    }
    json_data = {"oneOf": [record, list_of(record), rows]}
    return {
        "type": "object",
        "properties": {"data": data, "jsonData": json_data, "meta": META},
        "oneOf": [{"required": ["data"]}, {"required": ["jsonData"]}],
        "additionalProperties": False,
    }


def _answer(card: ModelCard) -> Json:
    names = {"type": "array", "items": {"type": "string"}, "examples": [list(card.schema.output_names)]}
    data = {
        "type": "object",
        "properties": {"names": names, "ndarray": {"type": "array"}, "tensor": {"type": "object"}},
    }
    return {
        "type": "object",
        "required": ["meta"],
        "properties": {"data": data, "strData": {"type": "string"}, "meta": META},
    }
