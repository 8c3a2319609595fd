"""The frame around every page: navigation, who is logged in, version; and the template engine with its filters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from flask import request
from jinja2 import Environment, PackageLoader, StrictUndefined

from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.version import VERSION
from mlflow_hydraulic.web.answers import code_of
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.filters import FILTERS
from mlflow_hydraulic.web.monitoring import alert_list
from mlflow_hydraulic.web.page import Page

LOGOUT = "hydraulic.logout"  # in the request's environ: the token of its log-out form, of `login.gate`
TITLES = {
    400: "This request cannot be read",
    403: "You may not do this",
    404: "There is nothing here",
    409: "Somebody else changed it",
    422: "It cannot be done",
    503: "Something is away for now",
}


@cache
def engine() -> Environment:
    """Every value is escaped; a name that no page gives is an error, never an empty place."""
    made = Environment(
        loader=PackageLoader("mlflow_hydraulic.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    return made


def render(ask: Ask, page: Page, shown: Mapping[str, Any]) -> str:
    """The page as HTML."""
    return engine().get_template(page.template).render(**_frame(ask, page.area), **shown)


def render_error(ask: Ask, error: HydraulicError) -> str:
    """The page that says what is wrong, in the same frame."""
    status = code_of(error)[0]
    shown = {"status": status, "title": TITLES.get(status, "It failed"), "message": str(error)}
    return engine().get_template("error.html").render(**_frame(ask, ""), **shown)


def _frame(ask: Ask, area: str) -> dict[str, Any]:
    base = ask.house.prefix
    return {
        "area": area,
        "who": ask.who,
        "version": VERSION,
        "base": f"{base}/hydraulic",
        "api": f"{base}/ajax-api/2.0/hydraulic",
        "mlflow": f"{base}/",
        "environments": ask.house.configuration.environments,
        "alerts": alert_list.badge(ask),
        "logout_token": request.environ.get(LOGOUT, ""),
    }
