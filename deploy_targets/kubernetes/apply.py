"""Writes an object by server-side apply so that no change of anybody is lost. Called by the target.

What was read is named in the write (uid and resourceVersion), so that the API server refuses it where the object was
changed since. A creation cannot name anything: so it is made under a field manager of its own, whose mark nobody else
can write without a conflict, and handed over to the common one afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes.cluster import Cluster
from mlflow_hydraulic.deploy_targets.kubernetes.identity import MANAGER, Json
from mlflow_hydraulic.deploy_targets.kubernetes.memory import change_of
from mlflow_hydraulic.deploy_targets.kubernetes.refusals import Owned, Stale
from mlflow_hydraulic.deploy_targets.kubernetes.resources import Resource
from mlflow_hydraulic.errors import NotFound

CLAIM = f"{MANAGER}."  # a claim's field manager is this and the change's mark
TRIES = 20  # against an operator that writes the status between our read and our write
Manifest = Mapping[str, Any]  # Any: JSON


def create(cluster: Cluster, resource: Resource, manifest: Manifest, *, dry: bool = False) -> Json:
    """Makes a new object; `Stale` where one of this name came meanwhile."""
    mark = change_of(manifest)
    try:
        made = cluster.apply(resource, manifest, manager=CLAIM + mark, dry=dry)
    except Owned as error:
        raise Stale(f"{resource.kind} {manifest['metadata']['name']!r} was made by somebody else meanwhile") from error
    return made if dry else update(cluster, resource, manifest, made)


def update(
    cluster: Cluster, resource: Resource, manifest: Manifest, seen: Json, *, force: bool = False, dry: bool = False
) -> Json:
    """Changes the object that was `seen`. force: takes fields of other managers over.

    Raises `Stale` where its spec or its owner's intent was changed since, `Owned` for fields of other managers.
    """
    for _ in range(TRIES):
        try:
            made = _applied(cluster, resource, manifest, seen, force=force, dry=dry)
            return made if dry else _released(cluster, resource, made)
        except Stale as error:
            now = _again(cluster, resource, manifest, error)
            if change_of(now) == change_of(manifest) != change_of(seen):
                return _released(cluster, resource, now)  # it was done, and only the answer was lost
            if _moved(seen, now):
                raise
            seen = now
    raise Stale(f"{resource.kind} {manifest['metadata']['name']!r} changes faster than it can be written")


def lay(cluster: Cluster, resource: Resource, manifest: Manifest, *, dry: bool = False) -> None:
    """Creates or changes an object that hangs on another one and has no life of its own."""
    cluster.apply(resource, manifest, manager=MANAGER, force=True, dry=dry)


def owned_part(live: Json) -> Json:
    """What we last applied of an object, by its managed fields: a manifest that brings it back."""
    entry: Json = next(
        (
            e
            for e in live["metadata"].get("managedFields") or []
            if e["manager"] == MANAGER and e["operation"] == "Apply"
        ),
        {},
    )
    part = _part(live, entry.get("fieldsV1") or {})
    metadata = {
        **part.get("metadata", {}),
        "name": live["metadata"]["name"],
        "namespace": live["metadata"]["namespace"],
    }
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], **part, "metadata": metadata}


def _applied(cluster: Cluster, resource: Resource, manifest: Manifest, seen: Json, *, force: bool, dry: bool) -> Json:
    pinned = {key: seen["metadata"][key] for key in ("uid", "resourceVersion")}
    body = {**manifest, "metadata": {**manifest["metadata"], **pinned}}
    try:
        return cluster.apply(resource, body, manager=MANAGER, force=force, dry=dry)
    except Owned as error:
        if not all(owner.startswith(CLAIM) for owner in error.owners):
            raise
        return cluster.apply(resource, body, manager=MANAGER, force=True, dry=dry)  # a claim is ours too


def _released(cluster: Cluster, resource: Resource, made: Json) -> Json:
    """Ends claims: an apply of nothing gives up what a manager owns, and the common manager owns it by now."""
    metadata = made["metadata"]
    bare = {key: metadata[key] for key in ("name", "namespace", "uid")}
    claims = [e["manager"] for e in metadata.get("managedFields") or [] if e["manager"].startswith(CLAIM)]
    for claim in claims:
        body = {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": bare}
        made = cluster.apply(resource, body, manager=claim)
    return made


def _again(cluster: Cluster, resource: Resource, manifest: Manifest, error: Stale) -> Json:
    try:
        return cluster.get(resource, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
    except NotFound as gone:
        raise error from gone


def _moved(seen: Json, now: Json) -> bool:
    """Whether somebody changed what is asked for; a status that moved is nobody's change."""
    was, is_now = seen["metadata"], now["metadata"]
    same = all(was.get(key) == is_now.get(key) for key in ("uid", "generation", "deletionTimestamp"))
    return not same or change_of(seen) != change_of(now)


def _part(value: Any, fields: Json) -> Any:  # Any: JSON
    """Of `value` what a FieldsV1 tree names: `f:` a field, `k:` a list's item by its keys, `v:` a set's member."""
    if isinstance(value, dict):
        named = {key[2:]: below for key, below in fields.items() if key.startswith("f:")}
        return {name: _part(value[name], below) for name, below in named.items() if name in value} if named else value
    if isinstance(value, list) and any(key[:2] in ("k:", "v:") for key in fields):
        return [_part(item, below) for item in value if (below := _fields_of(item, fields)) is not None]
    return value


def _fields_of(item: Any, fields: Json) -> Json | None:  # Any: JSON
    for key, below in fields.items():
        if key.startswith("v:") and json.loads(key[2:]) == item:
            return {}
        if key.startswith("k:") and isinstance(item, dict):
            wanted = json.loads(key[2:])
            if all(item.get(name) == one for name, one in wanted.items()):
                return {**below, **{f"f:{name}": {} for name in wanted}}
    return None
