"""Structural schemas: types and rules of a custom object, unknown fields found and pruned, defaults filled in.

Called by `objects` before anything is stored.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


@dataclass
class Findings:
    """What one object breaks: (field, message) for rules, dotted paths for unknown fields.

    fill: whether defaults are filled in; not in what a manager applies, or it would own them.
    """

    broken: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    fill: bool = True


def checked(value: Any, schema: Json, found: Findings, path: str = "") -> Any:
    """`value` pruned to the schema, with its defaults. What breaks a rule or is unknown goes into `found`."""
    if value is None and schema.get("nullable"):
        return None
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            found.broken.append((path, f"Invalid value: {json.dumps(value)}: must be an integer or a string"))
        return value
    if not _of_type(value, schema.get("type")):
        got = NAMES.get(type(value), "null")
        text = f'Invalid value: "{got}": {path} in body must be of type {schema["type"]}: "{got}"'
        found.broken.append((path, text))
        return value
    found.broken += [(path, text) for text in _breaches(value, schema, path)]
    if isinstance(value, list):
        items = schema.get("items", {})
        return [checked(item, items, found, f"{path}[{at}]") for at, item in enumerate(value)]
    return _checked_object(value, schema, found, path) if isinstance(value, dict) else value


def _checked_object(value: Json, schema: Json, found: Findings, path: str) -> Json:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties")
    keep = bool(more) or schema.get("x-kubernetes-preserve-unknown-fields") or (not properties and "type" not in schema)
    for name in schema.get("required", []):
        if value.get(name) is None:
            found.broken.append((_join(path, name), "Required value"))
    result: Json = {}
    for key, item in value.items():
        at = _join(path, key)
        if key in properties:
            if item is None and not properties[key].get("nullable"):
                continue  # the API server drops a null where none is allowed
            result[key] = checked(item, properties[key], found, at)
        elif isinstance(more, dict):
            result[key] = checked(item, more, found, at)
        elif keep:
            result[key] = item
        else:
            found.unknown.append(at)
    for key, rule in properties.items():
        if found.fill and key not in result and "default" in rule:
            result[key] = copy.deepcopy(rule["default"])
    return result


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _of_type(value: Any, kind: str | None) -> bool:
    if kind is None:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "number":
        return isinstance(value, (int, float))
    wanted = {"object": dict, "array": list, "string": str, "integer": int}.get(kind)
    return wanted is not None and isinstance(value, wanted)


def _breaches(value: Any, schema: Json, path: str) -> Iterator[str]:
    """The rules other than the type."""
    shown = json.dumps(value, default=str)
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(json.dumps(one) for one in schema["enum"])
        yield f"Unsupported value: {shown}: supported values: {supported}"
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"Invalid value: {shown}: {path} in body should match '{schema['pattern']}'"
        yield from _bounds(len(value), schema, "minLength", "maxLength", f"Invalid value: {shown}: length")
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, "minItems", "maxItems", "Invalid value: number of items")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _bounds(value, schema, "minimum", "maximum", f"Invalid value: {shown}: {path} in body")


def _bounds(size: float, schema: Json, low: str, high: str, words: str) -> Iterator[str]:
    if low in schema and size < schema[low]:
        yield f"{words} should be greater than or equal to {schema[low]}"
    if high in schema and size > schema[high]:
        yield f"{words} should be less than or equal to {schema[high]}"
