"""Alerts as pages: the list, and one with its story. What people do about them is sent to `api.alerts`."""

from __future__ import annotations

from urllib.parse import urlencode

from msgspec.structs import asdict

from mlflow_hydraulic.monitor.findings import LEVELS
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.events import rows
from mlflow_hydraulic.web.monitoring import alert_list
from mlflow_hydraulic.web.monitoring.alert_list import AlertFilter, AlertPage
from mlflow_hydraulic.web.page import page

STATES = (
    ("current", "Open and acknowledged"),
    ("open", "Open"),
    ("acknowledged", "Acknowledged"),
    ("muted", "Muted"),
    ("closed", "Closed"),
    ("all", "All"),
)
HOURS = (("1", "1 hour"), ("4", "4 hours"), ("24", "1 day"), ("72", "3 days"), ("168", "1 week"))


@page("/alerts", right=None, template="alerts/list.html", area="alerts")
def alerts_page(ask: Ask, query: AlertFilter) -> dict[str, object]:
    found = alert_list.listed(ask, query)
    asked = asdict(query)
    narrowed = [name for name, value in asked.items() if value and name not in ("state", "page", "size")]
    return {
        "found": found,
        "asked": query,
        "narrowed": bool(narrowed),
        "pager": _pager(asked, found),
        "states": STATES,
        "levels": LEVELS,
        "projects": rows.my_projects(ask),
    }


@page("/alerts/{alert}", right=None, template="alerts/alert.html", area="alerts")
def alert_page(ask: Ask, alert: str) -> dict[str, object]:
    return {"one": alert_list.detail(ask, alert), "hours": HOURS}


def _pager(asked: dict[str, object], found: AlertPage) -> dict[str, str]:
    def at(number: int) -> str:
        return f"?{urlencode({name: value for name, value in {**asked, 'page': number}.items() if value})}"

    first = (found.page - 1) * found.size
    return {
        "text": f"Alerts {first + 1} to {first + len(found.items)} of {found.total}" if found.items else "",
        "previous": at(found.page - 1) if found.page > 1 else "",
        "next": at(found.page + 1) if first + found.size < found.total else "",
    }
