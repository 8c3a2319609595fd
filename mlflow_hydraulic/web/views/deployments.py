"""The pages of deployments: the table, and one of them with its sample requests and a form to try it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import msgspec

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.people.rights import Right, Role
from mlflow_hydraulic.people.visible import roles_of
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.api import deployments as api
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.deployments import detail, listing
from mlflow_hydraulic.web.deployments.listing import STATES, Filter, Listing
from mlflow_hydraulic.web.page import page

AREA = "deployments"
COLUMNS = (
    ("model", "Model"),
    ("deployment", "Deployment"),
    ("", "Type"),
    ("", "Version"),
    ("environment", "Environment"),
    ("deployed", "Deployed"),
    ("state", "State"),
    ("alert", "Alerts"),
)
TYPES = ("single", "champion/challenger", "A/B")
DEFAULT = Filter()
SLOW_S, QUICK_S = 10, 2
Shown = dict[str, object]


@page("/deployments", right=None, template="deployments/list.html", area=AREA)
def deployments_page(ask: Ask, query: Filter) -> Shown:
    found = listing.listing(ask, query)
    with ask.house.engine.connect() as connection:
        roles = roles_of(connection, ask.who, ask.house.workspace)
    return {
        "found": found,
        "asked": query,
        "filtered": msgspec.structs.replace(query, page=1, size=50, sort="model", order="asc") != DEFAULT,
        "columns": [(key, label, _link(query, sort=key, order=_turned(query, key), page=1)) for key, label in COLUMNS],
        "pager": _pager(found, query),
        "lines": found.items,
        "projects_offered": [("", "Any"), *((name, name) for name in roles)],
        "environments_offered": [("", "Any"), *((one.name, one.name.upper()) for one in _environments(ask))],
        "types_offered": [("", "Any"), *((one, one) for one in TYPES)],
        "states_offered": [("", "Any"), *((one, one) for one in reversed(STATES))],
        "refresh": QUICK_S if found.moving else SLOW_S,
        "may": {one.model: _offered(ask, one.project, roles) for one in found.items},
    }


@page("/deployments/{environment}/{deployment}", right=Right.VIEW, template="deployments/detail.html", area=AREA)
def deployment_page(ask: Ask, environment: str, deployment: str) -> Shown:
    found = detail.details(ask, environment, deployment)
    samples, without = None, ""
    if found.line.endpoint:
        try:
            samples = api.sample_requests(ask, environment, deployment)
        except HydraulicError as error:  # the page stands without them, and says why
            without = str(error)
    return {
        "found": found,
        "line": found.line,
        "steps": detail.steps(found.line, ask.now),
        "samples": samples,
        "without": without,
        "may": rights(ask, found.line.model),
        "at": f"deployments/{quote(environment, safe='')}/{quote(deployment, safe='')}",
        "refresh": QUICK_S if found.moving else SLOW_S,
    }


def _environments(ask: Ask) -> tuple[Environment, ...]:
    return ask.house.configuration.environments


def _offered(ask: Ask, project: str, roles: Mapping[str, Role]) -> frozenset[str]:
    """What a menu offers, without a query a row: of a model in no project all; MLflow's permissions then decide."""
    role = Role.OWNER if ask.who.everywhere or not project else roles.get(project)
    return frozenset(right.name for right in role.rights) if role else frozenset()


def rights(ask: Ask, model: str) -> frozenset[str]:
    """The names of the caller's rights for what serves `model`: "COMMENT", "PROMOTE", ..."""
    role = access.role_for_deployment(ask, model)
    return frozenset(right.name for right in role.rights) if role else frozenset()


def _link(asked: Filter, **other: object) -> str:
    """The table's address with something else asked for."""
    said = msgspec.to_builtins(msgspec.structs.replace(asked, **other))
    plain = msgspec.to_builtins(DEFAULT)
    return "?" + urlencode({key: value for key, value in said.items() if value != plain[key]})


def _turned(asked: Filter, key: str) -> str:
    return "desc" if (asked.sort, asked.order) == (key, "asc") else "asc"


def _pager(found: Listing, asked: Filter) -> dict[str, str]:
    first, last = (found.page - 1) * found.size, min(found.total, found.page * found.size)
    return {
        "text": f"{first + 1} to {last} of {found.total}" if last > first else f"0 of {found.total}",
        "previous": _link(asked, page=found.page - 1) if found.page > 1 else "",
        "next": _link(asked, page=found.page + 1) if last < found.total else "",
    }
