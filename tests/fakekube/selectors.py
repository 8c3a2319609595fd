"""Label and field selectors. Called by list, watch and deletecollection."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource

Json = dict[str, Any]
Match = Callable[[Json], bool]
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
FIELDS = {
    "pods": {"spec.nodeName", "status.phase", "spec.serviceAccountName", "status.podIP", "spec.restartPolicy"},
    "events": {"reason", "type", "involvedObject.kind", "involvedObject.name", "involvedObject.namespace"}
    | {"involvedObject.uid", "involvedObject.apiVersion", "involvedObject.fieldPath", "reportingComponent"},
    "secrets": {"type"},
    "namespaces": {"status.phase"},
}


def matcher(resource: Resource, query: dict[str, str]) -> Match:
    """Whether an object is meant by the labelSelector and fieldSelector of a request; `Refusal` 400 for bad ones."""
    labels = [_label_rule(term) for term in _terms(query.get("labelSelector", ""))]
    fields = [_field_rule(resource, term) for term in _terms(query.get("fieldSelector", ""))]

    def match(value: Json) -> bool:
        held = value["metadata"].get("labels") or {}
        return all(rule(held) for rule in labels) and all(rule(value) for rule in fields)

    return match


def _terms(text: str) -> list[str]:
    return [term.strip() for term in re.findall(r"(?:[^,(]|\([^)]*\))+", text)]


def _label_rule(term: str) -> Match:
    if found := re.fullmatch(r"([^\s!=]+)\s*(==|=|!=)\s*(\S*)", term):
        key, operator, value = found.groups()
        if LABEL_KEY.fullmatch(key) and LABEL_VALUE.fullmatch(value):
            return lambda held: (held.get(key) == value) == (operator != "!=")
    elif found := re.fullmatch(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)", term):
        key, word, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        return lambda held: (held.get(key) in values) == (word == "in")
    elif LABEL_KEY.fullmatch(term):
        return lambda held: term in held
    elif term.startswith("!") and LABEL_KEY.fullmatch(term[1:]):
        return lambda held: term[1:] not in held
    raise Refusal(400, f"unable to parse requirement: {term!r}")


def _field_rule(resource: Resource, term: str) -> Match:
    found = re.fullmatch(r"([^\s!=]+)(==|=|!=)(.*)", term)
    if found is None:
        raise Refusal(400, f"invalid field selector: {term!r}")
    path, operator, value = found.groups()
    known = {"metadata.name", "metadata.namespace"} | FIELDS.get(resource.plural, set())
    if path not in known:
        raise Refusal(400, f"field label not supported: {path}")
    return lambda held: (_text_at(held, path) == value) == (operator != "!=")


def _text_at(value: Any, path: str) -> str:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)
