"""The Open Inference paths for the OpenAPI document, with the model's columns and a sample row. Called by `v2`."""

from __future__ import annotations

from mlflow_hydraulic.scoring.describe import Json, content, get, post, sample_row
from mlflow_hydraulic.scoring.dialects.v2_tensors import DATATYPES, column_datatype
from mlflow_hydraulic.scoring.values import ModelCard

TAG = "Open Inference (V2)"
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
SIZES = {"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1}
LIVE = {"type": "object", "required": ["live"], "properties": {"live": {"type": "boolean"}}}
READY = {"type": "object", "required": ["ready"], "properties": {"ready": {"type": "boolean"}}}


def paths(card: ModelCard, models: tuple[str, ...]) -> Json:
    """The OpenAPI "paths" object of this dialect; `models` are the paths of the model and of its version."""
    server = {"type": "object", "required": ["name", "version", "extensions"]}
    model = {"type": "object", "required": ["name", "platform", "inputs", "outputs"]}
    found: Json = {
        "/v2": get("Server metadata", content(server), TAG),
        "/v2/health/live": get("Whether the server lives", content(LIVE), TAG),
        "/v2/health/ready": get("Whether the server is ready", content(READY), TAG),
    }
    for path in models:
        found[path] = get(f"Model metadata ({path})", content(model), TAG)
        found[f"{path}/ready"] = get(f"Whether the model is ready ({path})", content(READY), TAG)
        request = content(_request(card), _sample(card))
        found[f"{path}/infer"] = post(f"Infer ({path})", request, content(_answer()), tag=TAG, error=ERROR)
    return found


def _request(card: ModelCard) -> Json:
    columns = ", ".join(f"{field.name} ({column_datatype(field)})" for field in card.schema.inputs)
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": list(DATATYPES)},
            "parameters": {"type": "object"},
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype", "data"],
        "additionalProperties": False,
    }
    about = f"One tensor [rows, {len(card.schema.inputs)}] in this order, or one tensor a column: {columns}"
    chosen = {"type": "object", "properties": {"name": {"enum": ["predict", "predict_proba"]}}, "required": ["name"]}
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": "^[!-~]{1,128}$"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "description": about},
            "outputs": {"type": "array", "items": chosen},
        },
        "required": ["inputs"],
        "additionalProperties": False,
    }


def _sample(card: ModelCard) -> Json:
    """One tensor of all columns where they are numbers, else one tensor a column."""
    row = sample_row(card)
    if all(field.type in ("double", "float") for field in card.schema.inputs):
        return {"inputs": [{"name": "input", "shape": [1, len(row)], "datatype": "FP64", "data": row}]}
    fields = zip(card.schema.inputs, row, strict=True)
    return {
        "inputs": [
            {"name": f.name, "shape": [1], "datatype": column_datatype(f), "data": [value]} for f, value in fields
        ]
    }


def _answer() -> Json:
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "shape": SIZES,
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype", "data"],
    }
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string", "description": "the prediction id"},
            "parameters": {"type": "object"},
            "outputs": {"type": "array", "items": tensor},
        },
    }
