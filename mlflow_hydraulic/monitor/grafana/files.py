"""All files that Grafana is provisioned with, by their paths. Called by `hydraulic monitor grafana`.

https://grafana.com/docs/grafana/latest/administration/provisioning/. No secret stands in them: Grafana itself puts the
values of its environment's variables in their place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.grafana.deployment import UID as DEPLOYMENT_UID
from mlflow_hydraulic.monitor.grafana.deployment import deployment_dashboard
from mlflow_hydraulic.monitor.grafana.panels import INFLUX, PROMETHEUS, Json, link
from mlflow_hydraulic.monitor.grafana.service import UID as SERVICE_UID
from mlflow_hydraulic.monitor.grafana.service import service_dashboard

FOLDER = "/var/lib/grafana/dashboards/hydraulic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are, as Grafana reaches them.

    influx_org: names InfluxDB 2.x. influx_user: of 1.x, "" without a log-in. folder: where dashboards/ will stand.
    report_url: of reports by `hydraulic monitor report`, may hold ${namespace} and ${deployment}; "" for no link.
    """

    influx_url: str = "http://localhost:8086"
    influx_database: str = "hydraulic"
    influx_org: str = ""
    influx_user: str = ""
    prometheus_url: str = "http://localhost:9090"
    folder: str = FOLDER
    report_url: str = ""

    def __post_init__(self) -> None:
        for name in ("influx_url", "prometheus_url", "report_url"):
            url = getattr(self, name)
            if url and not url.startswith(("http://", "https://")):
                raise BadInput(f"{name}={url}: must begin with http:// or https://")


def tree(places: Places) -> dict[str, str]:
    """The text of each file by its path."""
    return {
        "dashboards/hydraulic-deployment.json": _json(deployment_dashboard(_links(places, "service"))),
        "dashboards/hydraulic-service.json": _json(service_dashboard(_links(places, "deployment"))),
        "provisioning/dashboards/hydraulic.yml": _yaml(
            "providers",
            {
                "name": "hydraulic",
                "type": "file",
                "folder": "Hydraulic",
                "allowUiUpdates": False,
                "updateIntervalSeconds": 30,
                "options": {"path": places.folder},
            },
        ),
        "provisioning/datasources/hydraulic.yml": _yaml("datasources", _influx(places), _prometheus(places)),
    }


def _links(places: Places, other: str) -> list[Json]:
    uid = {"service": SERVICE_UID, "deployment": DEPLOYMENT_UID}[other]
    chosen = "${namespace:queryparam}&${deployment:queryparam}"
    links = [{**link(other.capitalize(), f"/d/{uid}?{chosen}", f"The same deployment: {other}"), "targetBlank": False}]
    if places.report_url:
        links.append(link("Report", places.report_url, "The report with plots, by hydraulic monitor report"))
    return links


def _influx(places: Places) -> Json:
    source: Json = {
        "name": "Hydraulic InfluxDB",
        **INFLUX,
        "access": "proxy",
        "url": places.influx_url,
        "isDefault": False,
        "editable": False,
        "jsonData": {"version": "InfluxQL", "dbName": places.influx_database, "httpMode": "GET"},
    }
    if places.influx_org:  # 2.x answers InfluxQL for a token, from the database that is mapped to its bucket
        source["jsonData"]["httpHeaderName1"] = "Authorization"
        source["secureJsonData"] = {"httpHeaderValue1": "Token $HYDRAULIC_INFLUX_TOKEN"}
    elif places.influx_user:
        source["user"] = places.influx_user
        source["secureJsonData"] = {"password": "$HYDRAULIC_INFLUX_PASSWORD"}
    return source


def _prometheus(places: Places) -> Json:
    return {
        "name": "Hydraulic Prometheus",
        **PROMETHEUS,
        "access": "proxy",
        "url": places.prometheus_url,
        "isDefault": False,
        "editable": False,
        "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
    }


def _json(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _yaml(key: str, *items: Json) -> str:
    lines = ["# Written by `hydraulic monitor grafana`.", "apiVersion: 1", f"{key}:"]
    for item in items:
        first, *others = _mapping(item, 4)
        lines += [f"  - {first.strip()}", *others]
    return "\n".join(lines) + "\n"


def _mapping(value: Json, indent: int) -> list[str]:
    lines = []
    for name, one in value.items():
        if isinstance(one, dict):
            lines += [f"{' ' * indent}{name}:", *_mapping(one, indent + 2)]
        else:  # JSON's scalars are YAML's
            lines.append(f"{' ' * indent}{name}: {json.dumps(one, ensure_ascii=False)}")
    return lines
