"""The table [monitor] of hydraulic.toml as values: how to look, alert rules, channels. Called where it is wired up.

[monitor]
grafana = "https://grafana.example.com"    # where `hydraulic monitor grafana`'s dashboards are; pages link to them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_hydraulic import typed
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.channels import Channel, read_channels
from mlflow_hydraulic.monitor.looking import KEYS as LOOKING
from mlflow_hydraulic.monitor.looking import Looking, read_looking
from mlflow_hydraulic.monitor.rules import Rules, read_rules
from mlflow_hydraulic.monitor.sla import Sla, read_slas

KEYS = ("notify", "stale", "rules", "channels", "sla", "grafana", *LOOKING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """channels: by name; "log" is always there. looking: how often, at what, and held against what.

    slas: what was promised of the service; the first that fits a deployment holds. grafana: URL, "" for none.
    """

    rules: Rules = field(default_factory=Rules)
    channels: Mapping[str, Channel] = field(default_factory=lambda: read_channels({}))
    looking: Looking = field(default_factory=Looking)
    slas: tuple[Sla, ...] = ()
    grafana: str = ""


def read_monitoring(tables: Mapping[str, Any]) -> Monitoring:
    """From the tables that `settings.read_tables` gives; `BadInput` names the key that is wrong and the known ones."""
    table = typed.known("monitor", typed.table("monitor", tables.get("monitor", {})), KEYS)
    channels = read_channels(table)
    return Monitoring(
        rules=read_rules(table, channels),
        channels=channels,
        looking=read_looking(table),
        slas=read_slas(table),
        grafana=_url("monitor.grafana", table.get("grafana", "")),
    )


def _url(where: str, value: Any) -> str:
    text = typed.text(where, value).rstrip("/")
    if text and not (text.startswith(("http://", "https://")) and text.isprintable() and " " not in text):
        raise BadInput(f"{where}={text!r}: must begin with http:// or https://")
    return text
