"""Every rule that a SeldonDeployment must keep, checked before anything is sent: the CRD's schema, then the webhook's.

The schema is the CRD's own, with unknown fields refused (the API server drops them in silence). The webhook's rules and
their words are those of Seldon Core 1.18.2's operator, each with our way out. Called by the target before it applies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from mlflow_hydraulic.errors import BadInput

Json = Mapping[str, Any]  # Any: the value is JSON

CRD = "seldondeployment.json"
PROTOCOLS = ("seldon", "tensorflow", "kfserving", "v2")
NO_ENGINE = "seldon.io/no-engine"
SERVICE_NAME = "seldon.io/svc-name"
# What Seldon's chart installs; HUGGINGFACE_SERVER alone needs no model URI.
SERVERS = frozenset(
    f"{name}_SERVER" for name in ("MLFLOW", "SKLEARN", "TENSORFLOW", "XGBOOST", "TRITON", "HUGGINGFACE", "TEMPO")
)
NOT_TENSORFLOW = frozenset(f"{name}_SERVER" for name in ("MLFLOW", "SKLEARN", "XGBOOST", "HUGGINGFACE"))
NO_METHODS = (
    "Predictive Unit has no implementation methods defined. Change to a known type or add what methods it defines"
)
GRAPH_WORDS = ("UNKNOWN_IMPLEMENTATION", "SIMPLE_MODEL", "SIMPLE_ROUTER", "RANDOM_ABTEST", "AVERAGE_COMBINER")


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: where in the manifest, the operator's or the schema's own words, and the way out."""

    field: str
    message: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" + (f" ({self.way_out})" if self.way_out else "")


def check_seldon(manifest: Json, *, servers: frozenset[str] = SERVERS) -> None:
    """`BadInput` with all that is wrong. `servers`: the prepackaged servers that the cluster's operator knows."""
    found = violations(manifest, servers=servers)
    if found:
        name = (manifest.get("metadata") or {}).get("name")
        raise BadInput(f"SeldonDeployment {name!r} would be refused: " + "; ".join(map(str, found)))


def violations(manifest: Json, *, servers: frozenset[str] = SERVERS) -> list[Violation]:
    """All broken rules; those of the webhook only where the schema is kept, for the webhook is never asked before."""
    return list(_of_schema(manifest)) or list(_of_webhook(manifest["spec"], servers))


def _of_schema(manifest: Json) -> Iterator[Violation]:
    for error in _validator().iter_errors(manifest):
        field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        yield Violation(field.lstrip(".") or "manifest", error.message[:400])


@cache
def _validator() -> Any:  # Any: jsonschema is an extra, imported only where a manifest is checked
    try:
        from jsonschema import Draft7Validator
    except ImportError as error:
        raise BadInput('jsonschema is not installed: pip install "mlflow-hydraulic[kubernetes]"') from error
    crd = json.loads((files(__package__) / CRD).read_text(encoding="utf-8"))
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["properties"]["apiVersion"] = {"const": "machinelearning.seldon.io/v1"}
    schema["properties"]["kind"] = {"const": "SeldonDeployment"}
    schema["properties"]["metadata"] = _METADATA
    return Draft7Validator(_closed(schema))


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_METADATA = {
    "type": "object",
    "required": ["name", "namespace"],
    "properties": {
        "name": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 63},
        "namespace": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
        "labels": {
            "type": "object",
            "additionalProperties": {
                "type": "string",
                "maxLength": 63,
                "pattern": r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
            },
        },
        "annotations": _TEXTS,
        # What the API server adds, so that a manifest read from it can be checked too.
        **{
            key: {}
            for key in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
        },
    },
}


def _closed(schema: Any) -> Any:  # Any: JSON
    """The schema with unknown fields refused where it names fields, and Kubernetes' own words said in JSON Schema's."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed(value) for key, value in schema.items() if key != "properties"}
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {key: _closed(value) for key, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        made["type"] = [schema["type"], "null"]
    if schema.get("format") == "int32":
        made |= {"minimum": -(2**31), "maximum": 2**31 - 1}
    return made


def _of_webhook(spec: Json, servers: frozenset[str]) -> Iterator[Violation]:
    predictors = spec["predictors"]
    if spec.get("protocol", "") not in ("", *PROTOCOLS):
        yield Violation("spec", "Invalid protocol", f"protocol is {spec['protocol']!r}: use {' or '.join(PROTOCOLS)}")
    if spec.get("transport", "") not in ("", "rest", "grpc"):
        yield Violation(
            "spec", "Invalid transport", f"transport is {spec['transport']!r}: use rest or grpc, or leave it"
        )
    if spec.get("serverType", "") not in ("", "rpc", "kafka"):
        yield Violation("spec", "Invalid serverType", f"it is {spec['serverType']!r}: use rpc or kafka, or leave it")
    if not predictors:
        yield Violation("spec", "Graph contains no predictors", "one at least must answer")
    yield from _of_traffic(predictors)
    seen: set[str] = set()
    services: set[str] = set()
    for number, one in enumerate(predictors):
        where = f"spec.predictors[{number}]"
        notes = one.get("annotations") or {}
        if one["name"] in seen:
            yield Violation(where, "Duplicate predictor name", f"{one['name']!r} is there twice: names must differ")
        seen.add(one["name"])
        if notes.get(SERVICE_NAME) in services:
            words = f"Found duplicate service name in {SERVICE_NAME} with value {notes[SERVICE_NAME]}"
            yield Violation(where, words, "give each predictor a name of its own, or none")
        services |= {notes[SERVICE_NAME]} if SERVICE_NAME in notes else set()
        if NO_ENGINE in notes and _size(one["graph"]) > 1:
            words = "Running without engine only valid for single element graphs"
            yield Violation(where, words, "leave orchestrator=true")
        yield from _of_unit(f"{where}.graph", one["graph"], one, spec.get("protocol", ""), servers)


def _of_traffic(predictors: list[Json]) -> Iterator[Violation]:
    shadows = [one for one in predictors if one.get("shadow")]
    total = sum(one.get("traffic", 0) for one in predictors if not one.get("shadow"))
    shares = ", ".join(f"{one['name']}={one.get('traffic', 0)}" for one in predictors if not one.get("shadow"))
    if len(shadows) > 1:
        yield Violation("spec", "Multiple shadows are not allowed", "keep one, shadow=MODEL_URI")
    for one in shadows:
        if not 0 <= one.get("traffic", 0) <= 100:
            words = "shadow traffic is illegal, the traffic number should be between [0, 100]"
            yield Violation("spec", words, f"it is {one['traffic']}, the percentage that is mirrored")
    if total != 100 and len(predictors) - len(shadows) > 1:
        yield Violation("spec", "Traffic must sum to 100 for multiple predictors", f"it is {total}: {shares}")
    if 0 < total < 100 and len(predictors) == 1:
        yield Violation("spec", "Traffic must sum be 100 for a single predictor when set", f"it is {total}")
    if len(predictors) == 1 and shadows:
        words = "Shadow can not exist as only predictor"
        yield Violation("spec.predictors[0]", words, "deploy its model as the main predictor")


def _of_unit(where: str, unit: Json, predictor: Json, protocol: str, servers: frozenset[str]) -> Iterator[Violation]:
    held = [
        c for spec in predictor.get("componentSpecs") or [] for c in (spec.get("spec") or {}).get("containers") or []
    ]
    container = next((c for c in held if c["name"] == unit["name"]), None)
    server = unit.get("implementation") or GRAPH_WORDS[0]
    if server == GRAPH_WORDS[0]:
        if container is None:
            words = "Can't find container for Predictive Unit"
            yield Violation(where, words, f"name a container {unit['name']!r}, like the graph node")
        if unit.get("type") == "UNKNOWN_TYPE" and not unit.get("methods"):
            yield Violation(where, NO_METHODS, "type MODEL")
    elif server not in GRAPH_WORDS:
        if not unit.get("modelUri") and server != "HUGGINGFACE_SERVER":
            words = "Predictive unit modelUri required when using standalone servers"
            yield Violation(where, words, "say where the model's files are: a URI that the init container reads")
        if protocol == "tensorflow" and server in NOT_TENSORFLOW:
            words = f"Prepackaged server does not handle tensorflow protocol {server}"
            yield Violation(where, words, "protocol=seldon or v2")
        if not (container or {}).get("image") and server not in servers:
            words = f"No entry in predictors map for {server}"
            yield Violation(where, words, f"the operator knows {', '.join(sorted(servers))}; or give an image")
    if unit.get("logger") is not None and not unit["logger"].get("mode"):
        yield Violation(where, "No logger mode specified", "logger_mode=all, request or response")
    for number, child in enumerate(unit.get("children") or []):
        yield from _of_unit(f"{where}.children[{number}]", child, predictor, protocol, servers)


def _size(unit: Json) -> int:
    return 1 + sum(_size(child) for child in unit.get("children") or [])
