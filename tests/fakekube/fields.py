"""Which fields an object has, as the API server counts ownership: FieldsV1 paths, there and back.

A path is a tuple of FieldsV1 elements: `f:name` a field, `k:{...}` an item of a list by its keys, `v:...` a member of a
set, `.` the item itself. Lists without keys are one field. Called by `ownership`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
Path = tuple[str, ...]
METADATA: Json = {
    "properties": {
        "finalizers": {"x-kubernetes-list-type": "set"},
        "ownerReferences": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]},
    }
}
OWNED_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


def owned_part(value: Json, *, status: bool, has_status: bool) -> Json:
    """What of an object somebody owns: not its identity, and of spec and status only what the endpoint writes."""
    if status:
        return {key: item for key, item in value.items() if key == "status"}
    skipped = {"apiVersion", "kind", "metadata"} | ({"status"} if has_status else set())
    part = {key: item for key, item in value.items() if key not in skipped}
    metadata = {key: item for key, item in value.get("metadata", {}).items() if key in OWNED_METADATA}
    return {**part, "metadata": metadata} if metadata else part


def child_schema(schema: Json, key: str, *, root: bool = False) -> Json:
    """The schema of one field; empty where nothing is known of it."""
    if root and key == "metadata":
        return METADATA
    more = schema.get("additionalProperties")
    found: Json = schema.get("properties", {}).get(key) or (more if isinstance(more, dict) else {})
    return found


def item_element(item: Json, keys: list[str]) -> str:
    """The FieldsV1 element of a list item; a port's protocol is TCP unless it says otherwise."""
    named = {key: item.get(key, "TCP" if key == "protocol" else None) for key in sorted(keys)}
    return "k:" + json.dumps(named, separators=(",", ":"))


def paths(value: Any, schema: Json, at: Path = ()) -> dict[Path, Any]:
    """Every owned path in `value` with the value that stands there (None for the item itself)."""
    if isinstance(value, dict) and value:
        found: dict[Path, Any] = {}
        for key, item in value.items():
            found.update(paths(item, child_schema(schema, key, root=not at), (*at, f"f:{key}")))
        return found
    if isinstance(value, list) and (kind := schema.get("x-kubernetes-list-type")) in ("map", "set"):
        if kind == "set":
            return {(*at, f"v:{json.dumps(item)}"): item for item in value}
        found = {}
        for item in value:
            here = (*at, item_element(item, schema["x-kubernetes-list-map-keys"]))
            itself = (*here, ".")
            found[itself] = None
            found.update(paths(item, schema.get("items", {}), here))
        return found
    return {at: value} if at else {}


def remove(value: Any, path: Path) -> None:
    """Takes one path out of `value`; nothing happens where it is not there."""
    *way, last = path if path[-1] != "." else path[:-1]
    for element in way:
        value = _step(value, element)
        if value is None:
            return
    if isinstance(value, dict):
        value.pop(last[2:], None)
    elif isinstance(value, list) and (item := _step(value, last)) is not None:
        value.remove(item)


def _step(value: Any, element: str) -> Any:
    sort, name = element[:2], element[2:]
    if sort == "f:":
        return value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, list):
        return None
    wanted = json.loads(name)
    if sort == "v:":
        return wanted if wanted in value else None
    return next((item for item in value if item_element(item, list(wanted)) == element), None)


def encode(owned: Iterable[Path]) -> Json:
    """FieldsV1 of a set of paths."""
    tree: Json = {}
    for path in sorted(owned):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
    return tree


def decode(tree: Json, at: Path = ()) -> set[Path]:
    """The set of paths of a FieldsV1."""
    if not tree:
        return {at} if at else set()
    return {path for element, below in tree.items() for path in decode(below, (*at, element))}


def shown(path: Path) -> str:
    """As a conflict names a field: .spec.containers[name="web"].image"""
    words = []
    for element in path:
        if element.startswith("k:"):
            words.append(
                "[" + ",".join(f"{key}={json.dumps(item)}" for key, item in json.loads(element[2:]).items()) + "]"
            )
        elif element != ".":
            words.append(f".{element[2:]}" if element.startswith("f:") else f"[{element[2:]}]")
    return "".join(words)
