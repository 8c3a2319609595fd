"""ASGI middleware around MLflow's FastAPI application, with basic-auth: what gets lost on the way through it.

MLflow's SecurityHeadersMiddleware keeps the last of several headers of one name, so of several cookies one; and it asks
its authorization function for FastAPI routes with a request that does not know the client's address.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Response

CARRIER = "X-Hydraulic-Cookie-"  # and a number; never leaves this process
_client: ContextVar[str] = ContextVar("hydraulic_client", default="")


class Around:
    """The outermost middleware."""

    def __init__(self, app: Any) -> None:  # Any: ASGI's callables
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_all(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [_unpacked(*one) for one in message.get("headers", ())]}
            await send(message)

        client = scope.get("client")
        token = _client.set(client[0] if client else "")
        try:
            await self._app(scope, receive, send_all)
        finally:
            _client.reset(token)


def client_address() -> str:
    """The address of the client whose request is under way; "" where nobody knows it."""
    return _client.get()


def carry_cookies(response: Response) -> Response:
    """Give each cookie of an answer of Flask's a header name of its own, which `Around` turns back."""
    from mlflow.environment_variables import _MLFLOW_SGI_NAME

    if _MLFLOW_SGI_NAME.get() == "uvicorn":
        cookies = response.headers.getlist("Set-Cookie")
        response.headers.remove("Set-Cookie")
        for number, cookie in enumerate(cookies):
            response.headers[f"{CARRIER}{number}"] = cookie
    return response


class _Plain(logging.Filter):
    """Cuts off what stands behind the "?" of the way back from the provider: a code that lets in."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_cut(one) for one in record.args)
        return True


def keep_codes_out_of_the_log() -> None:
    """For this worker's access log."""
    logging.getLogger("uvicorn.access").addFilter(_Plain())


def _cut(word: object) -> object:
    return word.partition("?")[0] if isinstance(word, str) and "/hydraulic/login/back?" in word else word


def _unpacked(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return (b"set-cookie", value) if name.lower().startswith(CARRIER.lower().encode()) else (name, value)
