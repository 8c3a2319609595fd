"""The Prometheus operator's PodMonitor and ServiceMonitor, as far as the chart uses them, as CustomResourceDefinitions.

Written from the operator's API reference (monitoring.coreos.com/v1): the operator's own are some 40 000 lines and in no
package. A field that is not named here is refused.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
TEXT: Json = {"type": "string"}
TEXTS: Json = {"type": "array", "items": TEXT}
LABELS: Json = {"type": "object", "additionalProperties": TEXT}
DURATION: Json = {
    **TEXT,
    "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}
EXPRESSION = {
    "type": "object",
    "required": ["key", "operator"],
    "properties": {"key": TEXT, "operator": TEXT, "values": TEXTS},
}
SELECTOR: Json = {
    "type": "object",
    "properties": {"matchLabels": LABELS, "matchExpressions": {"type": "array", "items": EXPRESSION}},
}
NAMESPACES: Json = {"type": "object", "properties": {"any": {"type": "boolean"}, "matchNames": TEXTS}}
ENDPOINT: Json = {
    "type": "object",
    "properties": {
        "port": TEXT,
        "path": TEXT,
        "scheme": {**TEXT, "enum": ["http", "https"]},
        "interval": DURATION,
        "scrapeTimeout": DURATION,
        "honorLabels": {"type": "boolean"},
        "relabelings": {
            "type": "array",
            "items": {"type": "object", "properties": {"sourceLabels": TEXTS, "targetLabel": TEXT}},
        },
    },
}


def _definition(kind: str, endpoints: str) -> Json:
    spec = {
        "type": "object",
        "required": ["selector"] if kind == "PodMonitor" else ["selector", endpoints],
        "properties": {
            "selector": SELECTOR,
            "namespaceSelector": NAMESPACES,
            "jobLabel": TEXT,
            endpoints: {"type": "array", "items": ENDPOINT},
        },
    }
    whole = {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
    plural = f"{kind.lower()}s"
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": whole}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


PROMETHEUS_KINDS = (_definition("PodMonitor", "podMetricsEndpoints"), _definition("ServiceMonitor", "endpoints"))
