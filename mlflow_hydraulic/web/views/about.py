"""The REST API as a page: every route with its parameters, body and answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import groupby
from types import NoneType
from typing import Any

import msgspec

from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.openapi import document, who_may
from mlflow_hydraulic.web.page import page
from mlflow_hydraulic.web.route import ROUTES, Route
from mlflow_hydraulic.web.sample import encoded


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One route in words. parameters: (name, where, type, what it is); body, answer: JSON that fits, "" where none."""

    method: str
    path: str
    summary: str
    more: str
    who: str
    parameters: tuple[tuple[str, str, str, str], ...]
    body: str
    answer: str


@page("/api", right=None, template="about/api.html", area="api")
def api_page(ask: Ask) -> dict[str, object]:
    base = f"{ask.house.prefix}/api/2.0/hydraulic"
    return {"areas": _areas(base), "served_at": base}


@cache
def _areas(base: str) -> list[tuple[str, list[Shown]]]:
    paths = document(ROUTES, base)["paths"]
    routes = sorted(ROUTES, key=lambda route: (route.area, route.path, route.method))
    shown = ((route.area, _shown(route, paths[route.path][route.method.lower()])) for route in routes)
    return [(area, [one for _, one in some]) for area, some in groupby(shown, key=lambda pair: pair[0])]


def _shown(route: Route, said: dict[str, Any]) -> Shown:
    return Shown(
        method=route.method,
        path=route.path,
        summary=route.summary,
        more=said["description"].removesuffix(who_may(route.right)).strip(),
        who=who_may(route.right),
        parameters=tuple(_parameter(one) for one in said["parameters"]),
        body=encoded(route.hints["body"], whole=True) if "body" in route.hints else "",
        answer=_answer(route),
    )


def _parameter(one: dict[str, Any]) -> tuple[str, str, str, str]:
    schema = one["schema"]
    kind = schema.get("type") or " or ".join(part.get("type", "") for part in schema.get("anyOf", ()))
    if "enum" in schema:
        kind = ", ".join(map(str, schema["enum"]))
    return one["name"], one["in"], str(kind), one.get("description", "")


def _answer(route: Route) -> str:
    kind = route.hints.get("return", NoneType)
    if route.media:
        return route.media
    try:
        return "" if kind is NoneType else encoded(kind, whole=True)
    except (TypeError, msgspec.EncodeError):  # the document says its schema; nothing can be made up for it
        return ""
