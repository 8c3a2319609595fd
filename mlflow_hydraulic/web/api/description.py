"""The API's own description."""

from __future__ import annotations

from functools import cache

import msgspec

from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.openapi import document
from mlflow_hydraulic.web.route import ROUTES, route


@route("GET", "/openapi.json", right=None, area="about", media="application/json")
def openapi(ask: Ask) -> bytes:
    """This document."""
    return _document(f"{ask.house.prefix}/api/2.0/hydraulic")


@cache
def _document(base: str) -> bytes:
    return msgspec.json.encode(document(ROUTES, base))
