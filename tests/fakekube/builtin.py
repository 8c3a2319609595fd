"""Schemas of the built-in kinds, taken from the installed client's models: fields, types, and what is required.

Called by `resources`, so that unknown fields are refused in built-in kinds too.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from kubernetes import client

Json = dict[str, Any]
SCALARS = {
    "str": "string",
    "int": "integer",
    "bool": "boolean",
    "float": "number",
    "datetime": "string",
    "bytes": "string",
}
ANYTHING: Json = {"x-kubernetes-preserve-unknown-fields": True}
QUANTITIES = {"limits", "requests", "hard", "used", "sizeLimit", "averageValue"}
# The lists that the API server merges item by item, and the fields that tell the items apart.
LIST_KEYS = {
    "containers": ["name"],
    "initContainers": ["name"],
    "env": ["name"],
    "volumes": ["name"],
    "volumeMounts": ["mountPath"],
    "imagePullSecrets": ["name"],
    "conditions": ["type"],
    "topologySpreadConstraints": ["topologyKey", "whenUnsatisfiable"],
}
MODELS = {"Event": "CoreV1Event"}


def model_schema(api_version: str, kind: str) -> Json | None:
    """Structural schema of a built-in kind; None where the client has no model of it."""
    prefix = api_version.rpartition("/")[2].capitalize()
    name = MODELS.get(kind, f"{prefix}{kind}")
    return _model(name) if hasattr(client, name) else None


@cache
def _model(name: str) -> Json:
    model: Any = getattr(client, name, None)
    types = getattr(model, "openapi_types", None)
    if types is None or name.startswith("V1JSONSchema"):
        return ANYTHING
    names = model.attribute_map
    properties = {names[field]: _field(names[field], kind) for field, kind in types.items()}
    required = [names[field] for field in types if _is_required(model, field)]
    return {"type": "object", "properties": properties, "required": required}


def _is_required(model: Any, field: str) -> bool:
    """What clients from 37 on say in pydantic's words; before, a model tells by refusing None."""
    if hasattr(model, "model_fields"):
        alias = model.attribute_map[field]
        return any(
            one.is_required() for name, one in model.model_fields.items() if alias in (one.serialization_alias, name)
        )
    blank = model.__new__(model)
    blank.local_vars_configuration = client.Configuration()
    try:
        setattr(blank, field, None)
    except ValueError:
        return True
    return False


def _field(name: str, kind: str) -> Json:
    if name in QUANTITIES:
        return ANYTHING
    if match := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        return {"type": "array", "items": _field("", match[1]), **_merging(name, match[1])}
    if match := re.fullmatch(r"[Dd]ict[\[(]str, (.+)[\])]", kind):
        return {"type": "object", "additionalProperties": _field("", match[1])}
    if kind in SCALARS:
        return {"type": SCALARS[kind]}
    return ANYTHING if kind == "object" else _model(kind)


def _merging(name: str, item: str) -> Json:
    keys = LIST_KEYS.get(name)
    if name == "ports":
        keys = {"V1ContainerPort": ["containerPort", "protocol"], "V1ServicePort": ["port", "protocol"]}.get(item)
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys} if keys else {}
