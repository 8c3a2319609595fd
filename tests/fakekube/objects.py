"""The verbs on objects: create, read, list, update, patch, apply, delete, with the rules of names and versions.

Called by `server` for requests and by the simulated operator for its own writes.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from tests.fakekube.metadata import check_metadata, identify
from tests.fakekube.ownership import applied, updated
from tests.fakekube.pages import list_page
from tests.fakekube.patches import patched
from tests.fakekube.refusal import Refusal, already_exists, invalid, not_found, stale
from tests.fakekube.resources import Resource
from tests.fakekube.schema import Findings, checked
from tests.fakekube.storage import Key, Store

Json = dict[str, Any]
Operation = Literal["CREATE", "UPDATE", "DELETE"]
Admission = Callable[[Operation, Resource, Json], None]
SYSTEM = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a write asks beside its body. validation: Strict refuses unknown fields, all else prunes them."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    status: bool = False


PLAIN = Options()


def now() -> str:
    """The time as objects carry it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Objects:
    """The verbs over one store. admission: called with each write of an object before it is stored; may refuse."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.admission: list[Admission] = []

    def read(self, resource: Resource, namespace: str | None, name: str) -> Json:
        """A copy of one object."""
        return copy.deepcopy(self._held(resource, namespace, name))

    def find(self, resource: Resource, namespace: str | None = None, **query: str) -> list[Json]:
        """Copies of all that match, in the order of their names."""
        items: list[Json] = self.list_page(resource, namespace, query)["items"]
        return copy.deepcopy(items)

    def list_page(self, resource: Resource, namespace: str | None, query: dict[str, str]) -> Json:
        """A list or one page of it."""
        return list_page(self.store, resource, namespace, query)

    def create(self, resource: Resource, namespace: str | None, body: Json, options: Options = PLAIN) -> Json:
        """A new object; `Refusal` 404 without its namespace, 409 where the name is taken."""
        new = copy.deepcopy(body)
        with self.store.lock:
            if namespace and Key("", "namespaces", "", namespace) not in self.store.objects:
                details = {"name": namespace, "kind": "namespaces"}
                raise Refusal(404, f'namespaces "{namespace}" not found', details=details)
            identify(resource, new, namespace)
            for name in (*SYSTEM, "resourceVersion", "managedFields"):
                new["metadata"].pop(name, None)
            if resource.status:
                new.pop("status", None)
            fields = updated(resource, None, new, manager=options.manager, status=False, now=now())
            return self._added(resource, namespace, new, fields, options)

    def update(
        self, resource: Resource, namespace: str | None, name: str, body: Json, options: Options = PLAIN
    ) -> Json:
        """PUT: the whole object; `Refusal` 409 for an old resourceVersion or another uid."""
        with self.store.lock:
            old, new = self._held(resource, namespace, name), copy.deepcopy(body)
            identify(resource, new, namespace, name)
            version = new["metadata"].get("resourceVersion")
            if not version and (resource.custom or resource.plural == "leases") and not options.status:
                cause = "Invalid value: 0x0: must be specified for an update"
                raise invalid(resource, name, [("metadata.resourceVersion", cause)])
            return self._replaced(resource, namespace, old, new, options)

    def patch(
        self, resource: Resource, namespace: str | None, name: str, body: Any, kind: str, options: Options = PLAIN
    ) -> Json:
        """PATCH by JSON, merge or strategic merge patch."""
        with self.store.lock:
            old = self._held(resource, namespace, name)
            new = patched(resource, old, body, kind)
            identify(resource, new, namespace, name)
            return self._replaced(resource, namespace, old, new, options)

    def apply(
        self, resource: Resource, namespace: str | None, name: str, body: Json, options: Options
    ) -> tuple[Json, bool]:
        """Server-side apply; the object, and whether it is new. `Refusal` 409 where another manager owns a field."""
        wanted = copy.deepcopy(body)
        identify(resource, wanted, namespace, name)
        if wanted["metadata"].get("managedFields"):
            raise Refusal(400, "metadata.managedFields must be nil")
        with self.store.lock:
            old = self.store.objects.get(Key.of(resource, namespace, name))
            if old is None and (options.status or wanted["metadata"].get("uid")):
                raise not_found(resource, name)
            empty: Json = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}}
            found = self._pruned(resource, wanted, options.validation)
            new = applied(
                resource,
                old or empty,
                found,
                manager=options.manager,
                force=options.force,
                status=options.status,
                now=now(),
            )
            if old is None:
                identify(resource, new, namespace, name)
                return self._added(resource, namespace, new, new["metadata"]["managedFields"], options), True
            for key in ("uid", "resourceVersion"):
                new["metadata"][key] = wanted["metadata"].get(key) or old["metadata"][key]
            return self._replaced(
                resource, namespace, old, new, options, fields=new["metadata"]["managedFields"]
            ), False

    def delete(
        self, resource: Resource, namespace: str | None, name: str, body: Json | None, options: Options = PLAIN
    ) -> Json:
        """Marks or removes one object; `Refusal` 409 where a precondition does not hold."""
        body = body or {}
        with self.store.lock:
            old = self._held(resource, namespace, name)
            for key, wanted in (body.get("preconditions") or {}).items():
                if wanted and wanted != old["metadata"][key]:
                    word = {"uid": "UID", "resourceVersion": "ResourceVersion"}[key]
                    raise stale(
                        resource,
                        name,
                        f"Precondition failed: {word} in precondition: {wanted}, "
                        f"{word} in object meta: {old['metadata'][key]}",
                    )
            for admit in self.admission:
                admit("DELETE", resource, old)
            if options.dry_run or "All" in (body.get("dryRun") or []):
                return copy.deepcopy(old)
            finalizers = list(old["metadata"].get("finalizers") or [])
            if body.get("propagationPolicy") == "Foreground" and "foregroundDeletion" not in finalizers:
                finalizers.append("foregroundDeletion")
            waits = resource.plural == "pods" and body.get("gracePeriodSeconds") != 0 and self.pods_linger
            if finalizers or waits:
                return self._marked(resource, namespace, old, finalizers)
            return self.drop(resource, namespace, old)

    pods_linger = False  # whether something (the operator's kubelet) ends pods that were asked to stop

    def drop(self, resource: Resource, namespace: str | None, value: Json) -> Json:
        """Takes an object out of the store whatever holds it: the last step of a delete."""
        name, uid = value["metadata"]["name"], value["metadata"]["uid"]
        self.store.write(Key.of(resource, namespace, name), copy.deepcopy(value), "DELETED")
        details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": uid}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _held(self, resource: Resource, namespace: str | None, name: str) -> Json:
        value = self.store.objects.get(Key.of(resource, namespace, name))
        if value is None:
            raise not_found(resource, name)
        return value

    def _marked(self, resource: Resource, namespace: str | None, old: Json, finalizers: list[str]) -> Json:
        new = copy.deepcopy(old)
        if "deletionTimestamp" in new["metadata"] and finalizers == (new["metadata"].get("finalizers") or []):
            return new
        new["metadata"].setdefault("deletionTimestamp", now())
        new["metadata"].setdefault("deletionGracePeriodSeconds", 0)
        new["metadata"]["finalizers"] = finalizers
        return copy.deepcopy(self.store.write(Key.of(resource, namespace, new["metadata"]["name"]), new, "MODIFIED"))

    def _pruned(self, resource: Resource, value: Json, validation: str) -> Json:
        """`value` without unknown fields; rules that it breaks are left to `_checked`, which sees the whole object."""
        found = Findings(fill=False)
        result = _against_schema(resource, value, found)
        _refuse_unknown(resource, found, validation)
        return result if not found.broken else value

    def _checked(self, resource: Resource, value: Json, validation: str) -> Json:
        found = Findings(broken=check_metadata(value["metadata"]))
        result = _against_schema(resource, value, found)
        _refuse_unknown(resource, found, validation)
        if found.broken:
            raise invalid(resource, value["metadata"].get("name", ""), found.broken)
        return result

    def _added(
        self, resource: Resource, namespace: str | None, new: Json, fields: Iterable[Json], options: Options
    ) -> Json:
        new = self._checked(resource, new, options.validation)
        for admit in self.admission:
            admit("CREATE", resource, new)
        key = Key.of(resource, namespace, new["metadata"]["name"])
        if key in self.store.objects:
            raise already_exists(resource, key.name)
        new["metadata"].update(uid=str(uuid.uuid4()), creationTimestamp=now(), managedFields=list(fields))
        if resource.counts_generations:
            new["metadata"]["generation"] = 1
        return new if options.dry_run else copy.deepcopy(self.store.write(key, new, "ADDED"))

    def _replaced(
        self,
        resource: Resource,
        namespace: str | None,
        old: Json,
        new: Json,
        options: Options,
        fields: list[Json] | None = None,
    ) -> Json:
        name = old["metadata"]["name"]
        if (
            new["metadata"].get("resourceVersion", old["metadata"]["resourceVersion"])
            != (old["metadata"]["resourceVersion"])
        ):
            raise stale(resource, name)
        if new["metadata"].get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            uids = f"UID in precondition: {new['metadata']['uid']}, UID in object meta: {old['metadata']['uid']}"
            raise stale(resource, name, f"Precondition failed: {uids}")
        new = _only_endpoint(resource, old, new, status=options.status)
        if fields is None:
            fields = updated(resource, old, new, manager=options.manager, status=options.status, now=now())
        new["metadata"]["managedFields"] = fields
        new = self._checked(resource, new, options.validation)
        if not options.status:
            for admit in self.admission:
                admit("UPDATE", resource, new)
        if resource.counts_generations and _spec_of(new) != _spec_of(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        if new == old or options.dry_run:
            return copy.deepcopy(new)
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self.drop(resource, namespace, new)
            return new
        return copy.deepcopy(self.store.write(Key.of(resource, namespace, name), new, "MODIFIED"))


def _only_endpoint(resource: Resource, old: Json, new: Json, *, status: bool) -> Json:
    """What this endpoint may write: the status alone, or everything but the status and the system's own metadata."""
    if status:
        result = copy.deepcopy({key: item for key, item in old.items() if key != "status"})
        return {**result, "status": new["status"]} if "status" in new else result
    result = dict(new)
    if resource.status:
        result.pop("status", None)
        if "status" in old:
            result["status"] = copy.deepcopy(old["status"])
    metadata = {key: item for key, item in new["metadata"].items() if key not in SYSTEM}
    metadata.update({key: old["metadata"][key] for key in SYSTEM if key in old["metadata"]})
    metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
    return {**result, "metadata": metadata}


def _spec_of(value: Json) -> Json:
    return {key: item for key, item in value.items() if key not in ("metadata", "status")}


def _against_schema(resource: Resource, value: Json, found: Findings) -> Json:
    if resource.schema is None:
        return value
    free: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    outer = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": free}
    properties = {**resource.schema.get("properties", {}), **outer}
    result: Json = checked(value, {**resource.schema, "properties": properties}, found)
    return result


def _refuse_unknown(resource: Resource, found: Findings, validation: str) -> None:
    if validation == "Strict" and found.unknown:
        listed = ", ".join(f'unknown field "{path}"' for path in found.unknown)
        what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise Refusal(400, f"{what}: strict decoding error: {listed}")
