"""JSON patch, merge patch and (for built-in kinds) strategic merge patch. Called by `objects`."""

from __future__ import annotations

import copy
from typing import Any

from tests.fakekube.fields import child_schema, item_element
from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource

Json = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


def patched(resource: Resource, live: Json, patch: Any, kind: str) -> Json:
    """`live` after a patch of the given content type; `Refusal` 415 for a type that the resource does not take."""
    if kind == JSON_PATCH:
        return _json_patch(live, patch)
    if kind == MERGE_PATCH:
        return _an_object(_merge(live, patch))
    if kind == STRATEGIC and not resource.custom:
        return _an_object(_strategic(live, patch, resource.schema or {}))
    taken = [JSON_PATCH, MERGE_PATCH, APPLY] + ([] if resource.custom else [STRATEGIC])
    raise Refusal(
        415,
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(taken)}",
    )


def _an_object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise Refusal(400, f"the patch gives no object but {value!r}")
    return value


def _merge(live: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


def _strategic(live: Any, patch: Any, schema: Json) -> Any:
    if isinstance(patch, list) and (keys := schema.get("x-kubernetes-list-map-keys")):
        items = {item_element(item, keys): item for item in live or []}
        for item in patch:
            at = item_element(item, keys)
            if item.get("$patch") == "delete":
                items.pop(at, None)
            else:
                items[at] = _strategic(items.get(at), item, schema.get("items", {}))
        return copy.deepcopy(list(items.values()))
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _strategic(result.get(key), value, child_schema(schema, key))
    return result


def _json_patch(live: Json, operations: list[Json]) -> Json:
    result = copy.deepcopy(live)
    for operation in operations:
        try:
            _operate(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Refusal(422, f"the server rejected our request due to an error in our request: {error}") from error
    return result


def _operate(document: Any, operation: Json) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    for part in way:
        document = document[int(part)] if isinstance(document, list) else document[part]
    key: Any = (len(document) if last == "-" else int(last)) if isinstance(document, list) else last
    verb = operation["op"]
    if verb == "remove":
        del document[key]
    elif verb == "test":
        if document[key] != operation["value"]:
            raise ValueError(f"testing value {operation['path']} failed")
    elif verb == "add" and isinstance(document, list):
        document.insert(key, copy.deepcopy(operation["value"]))
    elif verb in ("add", "replace"):
        if verb == "replace":
            _ = document[key]
        document[key] = copy.deepcopy(operation["value"])
    else:
        raise ValueError(f"operation {verb!r} is not add, remove, replace or test")
