"""The monitoring page of a deployment. Its charts are fetched by static/monitoring.js from `api.monitoring`."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, urlencode

from msgspec.structs import asdict

from mlflow_hydraulic.monitor.series.chart import iso
from mlflow_hydraulic.people.rights import Right
from mlflow_hydraulic.web.api.monitoring import PATH, Name, Range
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.monitoring import plotly
from mlflow_hydraulic.web.monitoring.monitored import monitored
from mlflow_hydraulic.web.monitoring.scene import scene
from mlflow_hydraulic.web.page import page

Tab = Literal["service", "drift", "accuracy", "anomalies", "column", "comparison"]
TABS: tuple[tuple[Tab, str, str], ...] = (  # the tab, its name, the level it is about
    ("service", "Service", "service"),
    ("drift", "Drift", "drift"),
    ("accuracy", "Accuracy", "accuracy"),
    ("anomalies", "Anomalies", "anomaly"),
    ("column", "Inputs and outputs", ""),
    ("comparison", "Champion and challenger", ""),
)
LENGTHS = (("1h", "Last hour"), ("1d", "Last day"), ("7d", "Last week"), ("30d", "Last month"), ("custom", "From, to"))
REFRESHES = (("0", "Off"), ("5", "Every 5 s"), ("30", "Every 30 s"))


class Shown(Range, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the page's address keeps: the part, the range, whose rows, which column. refresh: s, 0 is never."""

    tab: Tab = "service"
    name: Name = ""
    other: Name = ""
    refresh: Literal["0", "5", "30"] = "0"


@page(PATH, right=Right.VIEW, template="monitoring/deployment.html", area="deployments")
def monitoring_page(ask: Ask, environment: str, deployment: str, query: Shown) -> dict[str, object]:
    span = query.span(ask)
    with scene(ask, environment, deployment) as found:
        now = monitored(ask, found, span)
    kept = {key: value for key, value in asdict(query).items() if value and key not in ("tab", "name")}
    here = f"/deployments/{quote(environment, safe='')}/{quote(deployment, safe='')}"
    chosen = next((one for one in now.answering if one.id == query.predictor), None)
    first = chosen or next(iter(now.answering), None)
    return {
        "now": now,
        "query": query,
        "here": here,
        "tabs": [(tab, label, f"?{urlencode({'tab': tab, **kept})}", level) for tab, label, level in TABS],
        "lengths": LENGTHS,
        "refreshes": REFRESHES,
        "range": "custom" if query.since else query.last,
        "since": iso(span.since)[:16],
        "until": iso(span.until)[:16],
        "predictors": [(one.id, f"{one.name}{f' ({one.role})' if one.role else ''}") for one in now.answering],
        "inputs": first.inputs if first else [],
        "outputs": first.outputs if first else [],
        "plotly": plotly.url(),
    }
