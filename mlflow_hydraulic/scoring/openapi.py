"""The OpenAPI 3.1 document of one scorer: every dialect's paths with this model's columns. Served as
`/openapi.json`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlflow_hydraulic.errors import Conflict
from mlflow_hydraulic.scoring.describe import content, get
from mlflow_hydraulic.scoring.values import Dialect, ModelCard
from mlflow_hydraulic.version import VERSION

TAG = "Server"


def openapi_document(card: ModelCard, dialects: Iterable[Dialect]) -> dict[str, Any]:  # Any: the value is JSON
    """The whole document. Each path belongs to one dialect, or to the server itself (`server_paths`)."""
    paths = server_paths()
    for dialect in dialects:
        doubled = sorted(set(paths) & set(dialect.openapi()))
        if doubled:
            raise Conflict(
                f"{doubled} of the dialect {dialect.name} are described twice: a path belongs to one dialect"
            )
        paths |= dialect.openapi()
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{card.name} version {card.version}", "version": VERSION, "description": _description(card)},
        "paths": paths,
    }


def server_paths() -> dict[str, Any]:  # Any: the value is JSON
    """What the server answers by itself, in no dialect."""
    return {
        "/metrics": get("Prometheus metrics", content({"type": "string"}, media="text/plain"), TAG),
        "/openapi.json": get("This document", content({"type": "object"}), TAG),
    }


def _description(card: ModelCard) -> str:
    schema = card.schema
    columns = "\n".join(f"- `{f.name}` ({f.type}{', ' + f.unit if f.unit else ''})" for f in schema.inputs)
    asked = f"classes {', '.join(map(str, schema.labels))}" if schema.labels else "a value"
    return (
        f"Predicts `{schema.target}`: {asked}. Served by {card.engine}, digest `{card.digest}`; "
        f"trained on {card.origin} data. Every dialect gives the same numbers.\n\nColumns:\n{columns}"
    )
