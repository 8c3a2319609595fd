"""Who owns which field: server-side apply with its conflicts, and what an update takes over. Called by `objects`."""

from __future__ import annotations

import copy
from typing import Any

from tests.fakekube.fields import Path, child_schema, decode, encode, item_element, owned_part, paths, remove, shown
from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource

Json = dict[str, Any]


def applied(resource: Resource, live: Json, wanted: Json, *, manager: str, force: bool, status: bool, now: str) -> Json:
    """`live` as it is after `manager` applied `wanted`, with the new managedFields.

    Raises `Refusal` 409 where another manager owns a field with another value and `force` is not given.
    """
    schema = resource.schema or {}
    part = owned_part(wanted, status=status, has_status=resource.status)
    mine = paths(part, schema)
    entries: list[Json] = copy.deepcopy(live["metadata"].get("managedFields", []))
    own = next((e for e in entries if _is(e, manager, "Apply", status)), None)
    others = [entry for entry in entries if entry is not own]
    there = paths(owned_part(live, status=status, has_status=resource.status), schema)
    clashes = [
        (entry, path)
        for entry in others
        for path in sorted(decode(entry["fieldsV1"]))
        if path in mine and there.get(path) != mine[path]
    ]
    if clashes and not force:
        raise _conflict(clashes)
    for entry, path in clashes:
        entry["fieldsV1"] = encode(decode(entry["fieldsV1"]) - {path})
    merged: Json = merge(live, part, schema, root=True)
    kept = {path for entry in others for path in decode(entry["fieldsV1"])}
    for path in sorted(decode(own["fieldsV1"]) if own else (), key=_whole_items_first):
        if path not in mine and path not in kept and not _shared_item(path, kept):
            remove(merged, path)
    fields = encode(mine)
    if own is None or own["fieldsV1"] != fields:
        own = _entry(resource, manager, "Apply", fields, now, status=status)
    merged["metadata"]["managedFields"] = [own, *(entry for entry in others if entry["fieldsV1"])]
    return merged


def updated(resource: Resource, live: Json | None, new: Json, *, manager: str, status: bool, now: str) -> list[Json]:
    """The managedFields after `manager` wrote `new` over `live` by create, update or patch: what changed is theirs."""
    schema = resource.schema or {}
    after = paths(owned_part(new, status=status, has_status=resource.status), schema)
    before = paths(owned_part(live, status=status, has_status=resource.status), schema) if live else {}
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = set(before) - set(after)
    entries: list[Json] = copy.deepcopy(live["metadata"].get("managedFields", []) if live else [])
    own = next((entry for entry in entries if _is(entry, manager, "Update", status)), None)
    for entry in entries:
        held = decode(entry["fieldsV1"])
        lost = gone if entry is own else gone | changed
        if held & lost:
            entry["fieldsV1"] = encode(held - lost)
    if changed:
        fields = encode((decode(own["fieldsV1"]) if own else set()) | changed)
        if own is None:
            entries.append(_entry(resource, manager, "Update", fields, now, status=status))
        elif own["fieldsV1"] != fields:
            own.update(fieldsV1=fields, time=now)
    return [entry for entry in entries if entry["fieldsV1"]]


def merge(live: Any, wanted: Any, schema: Json, *, root: bool = False) -> Any:
    """`wanted` laid over `live`: objects field by field, keyed lists item by item, sets joined, all else replaced."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        result = dict(copy.deepcopy(live))
        for key, item in wanted.items():
            result[key] = merge(live.get(key), item, child_schema(schema, key, root=root))
        return result
    kind = schema.get("x-kubernetes-list-type")
    if isinstance(wanted, list) and isinstance(live, list) and kind in ("map", "set"):
        return _merged_list(live, wanted, schema, kind)
    return copy.deepcopy(wanted)


def _merged_list(live: list[Any], wanted: list[Any], schema: Json, kind: str) -> list[Any]:
    if kind == "set":
        return [*wanted, *(item for item in live if item not in wanted)]
    keys, items = schema["x-kubernetes-list-map-keys"], schema.get("items", {})
    rest = {item_element(item, keys): item for item in live}
    result = [merge(rest.pop(item_element(item, keys), None), item, items) for item in wanted]
    return result + copy.deepcopy(list(rest.values()))


def _whole_items_first(path: Path) -> tuple[bool, int]:
    """An item is found by its keys, so it goes before they do."""
    return path[-1] != ".", len(path)


def _shared_item(path: Path, kept: set[Path]) -> bool:
    """Whether others own something in the list item that `path` stands for."""
    return path[-1] == "." and any(other[: len(path) - 1] == path[:-1] for other in kept)


def _is(entry: Json, manager: str, operation: str, status: bool) -> bool:
    where = "status" if status else ""
    return bool(
        entry["manager"] == manager and entry["operation"] == operation and entry.get("subresource", "") == where
    )


def _entry(resource: Resource, manager: str, operation: str, fields: Json, now: str, *, status: bool) -> Json:
    entry = {
        "manager": manager,
        "operation": operation,
        "apiVersion": resource.api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**entry, "subresource": "status"} if status else entry


def _conflict(clashes: list[tuple[Json, Path]]) -> Refusal:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {_owner(entry)}", "field": shown(path)}
        for entry, path in clashes
    ]
    if len(clashes) == 1:
        words = f"1 conflict: conflict with {_owner(clashes[0][0])}: {shown(clashes[0][1])}"
    else:
        by_owner: dict[str, list[str]] = {}
        for entry, path in clashes:
            by_owner.setdefault(_owner(entry), []).append(shown(path))
        told = [f"conflicts with {owner}:\n" + "\n".join(f"- {p}" for p in found) for owner, found in by_owner.items()]
        words = f"{len(clashes)} conflicts: " + "\n".join(told)
    return Refusal(409, f"Apply failed with {words}", details={"causes": causes})


def _owner(entry: Json) -> str:
    where = f' with subresource "{entry["subresource"]}"' if entry.get("subresource") else ""
    how = f" using {entry['apiVersion']}" if entry["operation"] == "Update" else ""
    return f'"{entry["manager"]}"{where}{how}'
