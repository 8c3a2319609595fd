"""The validating webhook of Seldon Core v1: what its operator refuses though the CRD's schema takes it.

Registered by `operator` as an admission; the words are those of the real one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.fakekube.refusal import Refusal
from tests.fakekube.resources import Resource

Json = dict[str, Any]
SERVERS = {
    "MLFLOW_SERVER",
    "SKLEARN_SERVER",
    "XGBOOST_SERVER",
    "TENSORFLOW_SERVER",
    "TRITON_SERVER",
    "HUGGINGFACE_SERVER",
}
OWN_GRAPH_TYPES = {"SIMPLE_MODEL", "SIMPLE_ROUTER", "RANDOM_ABTEST", "AVERAGE_COMBINER"}
NO_TENSORFLOW = {"SKLEARN_SERVER", "XGBOOST_SERVER", "MLFLOW_SERVER"}
PROTOCOLS = {"", "seldon", "tensorflow", "kfserving", "v2"}
WEBHOOK = "v1.vseldondeployment.kb.io"
Finding = tuple[str, str, str]


def seldon_webhook(operation: str, resource: Resource, value: Json) -> None:
    """`Refusal` 422 for a SeldonDeployment that the operator would not take."""
    if resource.plural != "seldondeployments" or operation == "DELETE":
        return
    found = list(_findings(value.get("spec", {})))
    if not found:
        return
    causes = [
        {"reason": "FieldValueInvalid", "message": f"Invalid value: {json.dumps(given)}: {words}", "field": field}
        for field, given, words in found
    ]
    told = [f"{cause['field']}: {cause['message']}" for cause in causes]
    name = value["metadata"]["name"]
    group = "machinelearing.seldon.io"  # spelt so by the real webhook
    text = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    raise Refusal(
        422,
        f'admission webhook "{WEBHOOK}" denied the request: SeldonDeployment.{group} "{name}" is invalid: {text}',
        details={"name": name, "group": group, "kind": "SeldonDeployment", "causes": causes},
    )


def _findings(spec: Json) -> Iterator[Finding]:
    predictors, protocol = spec.get("predictors") or [], spec.get("protocol", "")
    if protocol not in PROTOCOLS:
        yield "spec", protocol, "Invalid protocol"
    if not predictors:
        yield "spec", spec.get("transport", ""), "Graph contains no predictors"
        return
    names: set[str] = set()
    for at, predictor in enumerate(predictors):
        name = predictor.get("name", "")
        graph = predictor.get("graph") or {}
        if name in names:
            yield f"spec.predictors[{at}]", name, "Duplicate predictor name"
        names.add(name)
        if "seldon.io/no-engine" in (predictor.get("annotations") or {}) and graph.get("children"):
            yield f"spec.predictors[{at}]", name, "Running without engine only valid for single element graphs"
        yield from _unit_findings(graph, predictor, protocol, f"spec.predictors[{at}].graph")
    if len(predictors) == 1 and predictors[0].get("shadow"):
        yield "spec.predictors[0]", predictors[0].get("name", ""), "Shadow can not exist as only predictor"
    yield from _traffic_findings(predictors)


def _unit_findings(unit: Json, predictor: Json, protocol: str, field: str) -> Iterator[Finding]:
    name, kind = unit.get("name", ""), unit.get("implementation") or "UNKNOWN_IMPLEMENTATION"
    containers = [
        container
        for component in predictor.get("componentSpecs") or []
        for container in (component.get("spec") or {}).get("containers") or []
        if container.get("name") == name
    ]
    if kind == "UNKNOWN_IMPLEMENTATION":
        if not containers:
            yield field, name, "Can't find container for Predictive Unit"
    elif kind not in OWN_GRAPH_TYPES:
        if not unit.get("modelUri"):
            yield field, name, "Predictive unit modelUri required when using standalone servers"
        if protocol == "tensorflow" and kind in NO_TENSORFLOW:
            yield field, name, f"Prepackaged server does not handle tensorflow protocol {kind}"
        if kind not in SERVERS and not any(container.get("image") for container in containers):
            yield field, name, f"No entry in predictors map for {kind}"
    if unit.get("logger") is not None and not unit["logger"].get("mode"):
        yield field, "", "No logger mode specified"
    for at, child in enumerate(unit.get("children") or []):
        yield from _unit_findings(child, predictor, protocol, f"{field}[{at}]")


def _traffic_findings(predictors: list[Json]) -> Iterator[Finding]:
    shadows = [one for one in predictors if one.get("shadow")]
    for shadow in shadows:
        if not 0 <= shadow.get("traffic", 0) <= 100:
            words = "shadow traffic is illegal, the traffic number should be between [0, 100]"
            yield "spec", shadow.get("name", ""), words
    for shadow in shadows[1:]:
        yield "spec", shadow.get("name", ""), "Multiple shadows are not allowed"
    total = sum(one.get("traffic", 0) for one in predictors if not one.get("shadow"))
    first = predictors[0].get("name", "")
    if total != 100 and len(predictors) - len(shadows) > 1:
        yield "spec", first, "Traffic must sum to 100 for multiple predictors"
    if 0 < total < 100 and len(predictors) == 1:
        yield "spec", first, "Traffic must sum be 100 for a single predictor when set"
