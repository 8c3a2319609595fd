"""The Alertmanager channel: POST /api/v2/alerts. What is open is sent again and again, or it would be over there.

An alert's colour is a label, so that routes can tell red from orange: one that got worse is a new alert there, and the
old one is ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor.channels import Alertmanager, Secret
from mlflow_hydraulic.monitor.notification import Notification, one_line
from mlflow_hydraulic.monitor.post import post

PATH = "/api/v2/alerts"
MOST_AT_ONCE = 500
Alerts = list[dict[str, Any]]


def send(channel: Alertmanager, said: Notification, now: datetime) -> str:
    """What Alertmanager answered. `Later` and `Failed` as `post` raises them."""
    alerts: Alerts = []
    for item in said.items:
        over = item.news == "closed"
        ends = datetime.fromisoformat(item.alert["at"]) if over else now + timedelta(seconds=channel.hold_s)
        alerts.append(shown(item.alert, ends, test=said.test))
        if item.was and item.was != item.alert["colour"]:
            alerts.append(shown({**item.alert, "colour": item.was}, now, test=said.test))
    return _send(channel, alerts, now)


def refresh(channel: Alertmanager, standing: Iterable[Mapping[str, Any]], now: datetime) -> int:
    """Say of all that stands that it still does; how many there were."""
    ends = now + timedelta(seconds=channel.hold_s)
    alerts = [shown(alert, ends) for alert in standing]
    for start in range(0, len(alerts), MOST_AT_ONCE):
        _send(channel, alerts[start : start + MOST_AT_ONCE], now)
    return len(alerts)


def shown(alert: Mapping[str, Any], ends: datetime, *, test: bool = False) -> dict[str, Any]:
    """One alert as Alertmanager takes it; its labels are its identity there. alert: as `alert.to_json` gives it."""
    names = ("workspace", "environment", "deployment", "predictor", "model", "level", "rule")
    labels = {name: str(alert[name]) for name in names if alert[name]}
    name = "HydraulicTest" if test else f"Hydraulic{str(alert['level']).capitalize()}"
    starts = datetime.fromisoformat(alert["opened"])
    summary = one_line(f"{alert['environment']}/{alert['deployment']}: {alert['level']} {alert['rule']}")
    return {
        "labels": {"alertname": name, "severity": str(alert["colour"]), **labels},
        "annotations": {"summary": summary, "description": str(alert["cause"]), "id": str(alert["id"])},
        "startsAt": stamp(starts),
        "endsAt": stamp(max(ends, starts)),
    }


def _send(channel: Alertmanager, alerts: Alerts, now: datetime) -> str:
    address = channel.url.read().rstrip("/")
    url = Secret(plain=address if address.endswith(PATH) else address + PATH)
    body = json.dumps(alerts).encode()
    return post(url, body, {}, token=channel.token, ca_file=channel.ca_file, timeout_s=channel.timeout_s, now=now)
