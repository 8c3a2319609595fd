"""Lists and their pages: a later page shows the objects as they were at the first. Called by `objects`."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource
from tests.fakekube.selectors import matcher
from tests.fakekube.storage import Key, Store

Json = dict[str, Any]


def list_page(store: Store, resource: Resource, namespace: str | None, query: dict[str, str]) -> Json:
    """A list, or the page of it that `limit` and `continue` ask for; `Refusal` 410 for a page of too long ago."""
    match, limit = matcher(resource, query), int(query.get("limit") or 0)
    with store.lock:
        version, last, objects = store.version, Key("", "", "", ""), store.objects
        if token := query.get("continue"):
            version, last = _read_token(token)
            objects = _as_of(store, version)
        wanted = (resource.group, resource.plural)
        found = sorted(
            key
            for key, value in objects.items()
            if (key.group, key.plural) == wanted and namespace in (None, key.namespace) and key > last and match(value)
        )
        metadata: Json = {"resourceVersion": str(version)}
        if limit and len(found) > limit:
            if not (query.get("labelSelector") or query.get("fieldSelector")):
                metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
            metadata["continue"] = _write_token(version, found[-1])
        items = [objects[key] for key in found]
    return {"apiVersion": resource.api_version, "kind": f"{resource.kind}List", "metadata": metadata, "items": items}


def _as_of(store: Store, version: int) -> dict[Key, Json]:
    try:
        return store.at(version)
    except Refusal as error:
        told = "The provided continue parameter is too old to display a consistent list result."
        raise Refusal(410, told) from error


def _write_token(version: int, last: Key) -> str:
    text = json.dumps([version, last.group, last.plural, last.namespace, last.name])
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_token(token: str) -> tuple[int, Key]:
    try:
        version, *place = json.loads(base64.urlsafe_b64decode(token))
        return int(version), Key(*place)
    except (ValueError, TypeError) as error:
        raise Refusal(400, f"continue key is not valid: {error}") from error
