"""Our own REST API of the server that MLflow's client talks to, with that client's address and log-in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from mlflow_hydraulic.errors import Conflict, Failed, HydraulicError, NotFound, Refused
from mlflow_hydraulic.plugin.errors import FROM_STATUS, from_mlflow

BASE = "/api/2.0/hydraulic"


def ask(method: str, path: str, body: Mapping[str, object] | None = None) -> Any:  # Any: decoded JSON
    """Call it and decode the answer. Raises what the server's status means, with its message.

    `NotFound` names the way out where the server has no such API: it runs without this app.
    """
    more: dict[str, object] = {"json": dict(body)} if body is not None else {}
    with from_mlflow(f"{method} {path}"):
        answer = http_request(
            host_creds=get_default_host_creds(mlflow.get_registry_uri()),
            endpoint=BASE + path,
            method=method,
            max_retries=0 if method != "GET" else None,
            raise_on_status=False,
            **more,
        )
    if answer.status_code < 300:
        return answer.json() if answer.content else None
    raise _error(answer.status_code, _message(answer))


def _error(status: int, message: str) -> HydraulicError:
    kinds: dict[int, type[HydraulicError]] = {404: NotFound, 403: Refused, 409: Conflict}
    kind = kinds.get(status) or next((kind for codes, kind in FROM_STATUS if status in codes), Failed)
    return kind(message)


def _message(answer: Any) -> str:
    try:
        said = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        said = 'the server has no pages of ours: start it with "--app-name hydraulic"'
        said = said if answer.status_code == 404 else f"the server answered {answer.status_code}"
    return str(said)
