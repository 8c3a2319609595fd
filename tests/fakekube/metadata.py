"""The rules of metadata: names, labels, annotations, and that a body belongs to its URL. Called by `objects`."""

from __future__ import annotations

import re
import uuid
from typing import Any

from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource
from tests.fakekube.selectors import LABEL_KEY, LABEL_VALUE

Json = dict[str, Any]
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
RBAC_NAME = re.compile(r"[^/%]+")
NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
ANNOTATION_BYTES = 256 * 1024


def identify(resource: Resource, value: Any, namespace: str | None, name: str | None = None) -> None:
    """Completes kind, namespace and name from the URL; `Refusal` 400 where the body says otherwise."""
    if not isinstance(value, dict) or not isinstance(value.setdefault("metadata", {}), dict):
        raise Refusal(400, f"the object provided is unrecognized (must be of type {resource.kind})")
    given = (value.setdefault("apiVersion", resource.api_version), value.setdefault("kind", resource.kind))
    if given != (resource.api_version, resource.kind):
        raise Refusal(
            400,
            f"the API version and kind in the data ({given[0]}, {given[1]}) do not match the expected "
            f"({resource.api_version}, {resource.kind})",
        )
    metadata = value["metadata"]
    if namespace:
        if (metadata.get("namespace") or namespace) != namespace:
            raise Refusal(400, "the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = namespace
    if name and metadata.setdefault("name", name) != name:
        raise Refusal(400, f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]


def check_metadata(metadata: Json) -> list[tuple[str, str]]:
    """(field, message) of each rule that the metadata breaks; `Refusal` 400 for values that are no strings."""
    broken: list[tuple[str, str]] = []
    name = metadata.get("name")
    if not name:
        broken.append(("metadata.name", "Required value: name or generateName is required"))
    elif not SUBDOMAIN.fullmatch(name) and not (":" in name and RBAC_NAME.fullmatch(name)):
        broken.append(("metadata.name", f'Invalid value: "{name}": {NAME_RULE}'))
    elif len(name) > 253:
        broken.append(("metadata.name", f'Invalid value: "{name}": must be no more than 253 characters'))
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            if not isinstance(value, str):
                raise Refusal(400, f"{field} must be strings: {key}={value!r}")
            if not LABEL_KEY.fullmatch(key):
                broken.append((f"metadata.{field}", f'Invalid value: "{key}": name part must be a qualified name'))
    for value in (metadata.get("labels") or {}).values():
        if len(value) > 63:
            broken.append(("metadata.labels", f'Invalid value: "{value}": must be no more than 63 bytes'))
        elif not LABEL_VALUE.fullmatch(value):
            broken.append(("metadata.labels", f'Invalid value: "{value}": {LABEL_RULE}'))
    size = sum(len(key) + len(value) for key, value in (metadata.get("annotations") or {}).items())
    if size > ANNOTATION_BYTES:
        broken.append(("metadata.annotations", f"Too long: may not be more than {ANNOTATION_BYTES} bytes"))
    return broken
