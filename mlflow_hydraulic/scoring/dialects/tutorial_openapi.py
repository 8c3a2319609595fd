"""The tutorial's paths for the OpenAPI document. Called by `dialects.tutorial`."""

from __future__ import annotations

from collections.abc import Mapping

from mlflow_hydraulic.scoring.describe import Json, content, get, post
from mlflow_hydraulic.scoring.values import ModelCard

TAG = "The tutorial's (H2O Driverless AI)"
ERROR = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
NAMES = {"type": "array", "items": {"type": "string"}}
TABLE = {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}
SHAPLEY = {"enum": ["NONE", "ORIGINAL", "TRANSFORMED"]}
CONTRIBUTIONS: Json = {
    "type": "object",
    "required": ["features", "contributionGroups"],
    "properties": {
        "features": NAMES,
        "contributionGroups": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["contributions"],
                "properties": {"outputGroup": {"type": "string"}, "contributions": TABLE},
            },
        },
    },
}


def paths(card: ModelCard, sample: Mapping[str, object]) -> Json:
    """The OpenAPI "paths" object of this dialect; `sample` is what `/model/sample_request` answers."""
    explained = {**sample, "requestShapleyValueType": "ORIGINAL"}
    score: Json = {
        "type": "object",
        "required": ["id", "score"],
        "properties": {
            "id": {"type": "string"},
            "fields": NAMES,
            "score": TABLE,
            "featureShapleyContributions": CONTRIBUTIONS,
        },
    }
    texts = content({"type": "string"})
    return {
        "/model/score": post("Score rows", content(_request(card), sample), content(score), tag=TAG, error=ERROR),
        "/model/contribution": post(
            "Shapley values of rows",
            content(_request(card), explained),
            content(CONTRIBUTIONS),
            tag=TAG,
            error=ERROR,
        ),
        "/model/id": get("The model's digest", content({"type": "string"}, media="text/plain"), TAG),
        "/model/schema": get("The model's fields", content({"type": "object"}), TAG),
        "/model/sample_request": get("A request that scores a real row", content({"type": "object"}), TAG),
        "/model/capabilities": get("What the scorer can do", content(NAMES), TAG),
        "/readyz": get("Whether the scorer takes requests", texts, TAG),
    }


def _request(card: ModelCard) -> Json:
    cell = {"type": ["string", "number", "boolean", "null"]}
    about = f"Names of the cells, in any order; more than the model needs are ignored: {', '.join(card.schema.names)}"
    return {
        "type": "object",
        "required": ["fields", "rows"],
        "properties": {
            "fields": {**NAMES, "description": about},
            "rows": {"type": "array", "minItems": 1, "items": {"type": "array", "items": cell}},
            "includeFieldsInOutput": {**NAMES, "type": ["array", "null"]},
            "noFieldNamesInOutput": {"type": ["boolean", "null"]},
            "idField": {"type": ["string", "null"]},
            "requestShapleyValueType": {"enum": [*SHAPLEY["enum"], None]},
            "requestPredictionIntervals": {"enum": [False, None]},
        },
        "additionalProperties": False,
    }
