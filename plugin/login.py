"""The log-in of `web.login` put before MLflow's basic-auth, by MLflow's own setting `authorization_function`.

`set_up` makes it MLflow's function where the configuration names MLflow's default; a function of somebody's own stays.
MLflow then calls `authenticate` for its page, its API and its FastAPI routes, in every worker.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlflow.exceptions import MlflowException

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plugin import around
from mlflow_hydraulic.settings import read_tables
from mlflow_hydraulic.web.login.door import Door
from mlflow_hydraulic.web.login.gate import Gate, TooMany
from mlflow_hydraulic.web.login.session import Sessions, Signer
from mlflow_hydraulic.web.login.settings import OidcSettings, read_oidc
from mlflow_hydraulic.web.login.throttle import Throttle

if TYPE_CHECKING:
    from flask import Flask, Response
    from sqlalchemy import Engine
    from werkzeug.datastructures import Authorization

FUNCTION = "mlflow_hydraulic.plugin.login:authenticate"
GATE = "HYDRAULIC_GATE"  # in the application's configuration: the gate of this worker
FOUND = "hydraulic.authorization"  # in the request's environ: MLflow asks several times, one answer serves
API_MARKS = ("/api/", "/ajax-api/", "/graphql", "/v1/")
log = logging.getLogger("hydraulic.login")


class MlflowUsers:
    """MLflow's user store, as the gate asks it."""

    def __init__(self, auth: Any) -> None:  # Any: MLflow is untyped
        self._auth = auth

    def password_hash(self, name: str) -> str | None:
        try:
            return str(self._auth.store.get_user(name).password_hash)
        except MlflowException:
            return None

    def matches(self, name: str, password: str, *, fresh: bool) -> bool:
        if fresh or not hasattr(self._auth, "_authenticate_cached"):
            disabled = getattr(self._auth, "_is_disabled_legacy_admin_login", lambda *_: False)
            right = bool(self._auth.store.authenticate_user(name, password)) and not disabled(name, password)
        else:
            right = self._auth._authenticate_cached(name, password) is not None
        if not right and self.password_hash(name) is None:
            _check_hash(self._nobodys, password)  # a name is not to be told from none by the time it takes
        return right

    def add(self, name: str) -> None:
        try:
            self._auth.store.create_user(name, secrets.token_urlsafe(32))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # made meanwhile, in another worker
                raise
        log.info("made %r a user of MLflow at the first log-in", name)

    def is_admin(self, name: str) -> bool:
        return bool(self._auth.store.get_user(name).is_admin)

    def set_admin(self, name: str, admin: bool) -> None:
        if name == self._auth.auth_config.admin_username:
            return
        if self.is_admin(name) != admin:
            self._auth.store.update_user(name, is_admin=admin)
            log.info("%r is %s administrator, as the provider's groups say", name, "now an" if admin else "no longer")

    @cached_property
    def _nobodys(self) -> str:
        from werkzeug.security import generate_password_hash

        return generate_password_hash(secrets.token_urlsafe(32))


def check_login(environ: os._Environ[str] | dict[str, str], *, authenticated: bool) -> OidcSettings | None:
    """The provider that is configured; `BadInput` where it is wrong, or could not let anybody in."""
    found = read_oidc(read_tables(), environ)
    if found is not None and not authenticated:
        raise BadInput("[oidc]: its people become users of MLflow's basic-auth, which is off: set HYDRAULIC_AUTH=on")
    return found


def set_up(app: Flask, engine: Engine, prefix: str) -> Door | None:
    """Make the log-in of this worker, and MLflow ask it; None where MLflow has a function of somebody's own."""
    from mlflow.server import auth
    from mlflow.server.auth.config import DEFAULT_AUTHORIZATION_FUNCTION

    provider = check_login(os.environ, authenticated=True)
    configured = auth.auth_config.authorization_function
    if configured not in (DEFAULT_AUTHORIZATION_FUNCTION, FUNCTION):
        if provider is not None:
            raise BadInput(
                f"[oidc]: authorization_function = {configured} in MLflow's configuration lets people in; "
                f"take one of the two away"
            )
        return None
    signer = Signer(auth.get_flask_server_secret_key())
    gate = Gate(
        signer=signer,
        sessions=Sessions(signer),
        users=MlflowUsers(auth),
        engine=engine,
        throttle=Throttle(),
        prefix=prefix,
    )
    app.config[GATE] = gate
    app.after_request(around.carry_cookies)  # registered before all that set some, and so called after them
    auth.auth_config = auth.auth_config._replace(authorization_function=FUNCTION)
    if provider is None:
        return Door(gate=gate)
    from mlflow_hydraulic.web.login.provider import Provider

    around.keep_codes_out_of_the_log()
    return Door(gate=gate, provider=Provider(provider))


def authenticate() -> Authorization | Response:
    """Who asks, or the answer that asks for a log-in: MLflow's `authorization_function`."""
    from flask import current_app, request

    found: Authorization | Response | None = request.environ.get(FOUND)
    if found is None:
        found = request.environ[FOUND] = _authenticate(current_app.config[GATE])
    return found


def _authenticate(gate: Gate) -> Authorization | Response:
    from flask import request
    from mlflow.server import auth

    held = gate.held()
    if held is not None:
        return _authorization(held.user)
    given = _credentials(gate.prefix)
    if given is None:
        return _to_login(gate) if _is_navigation(gate.prefix) else _challenge(auth.make_basic_auth_response)
    name, password = given
    if _is_internal(gate.prefix, password):
        return _authorization(name)
    try:
        right = gate.check(name, password, request.remote_addr or around.client_address(), fresh=False)
    except TooMany as error:
        return _slow_down(error)
    return _authorization(name) if right else _challenge(auth.make_basic_auth_response)


def _credentials(prefix: str) -> tuple[str, str] | None:
    """Name and password of the request; None where it has none. On gateway routes MLflow has a header of its own."""
    from flask import request
    from werkzeug.datastructures import Authorization

    sent = request.authorization
    if _is_gateway(prefix):
        from mlflow.gateway import constants

        own = request.headers.get(getattr(constants, "MLFLOW_GATEWAY_AUTH_HEADER", ""), "")
        sent = Authorization.from_header(own) if own else sent
    if sent is None or sent.type != "basic" or not sent.username:
        return None
    return sent.username, sent.password or ""


def _is_internal(prefix: str, password: str) -> bool:
    """Whether a job of this server itself asks its gateway: MLflow gives it a token instead of a user's password."""
    from mlflow import environment_variables as variables

    known = getattr(variables, "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN", None)
    token = known.get() if known is not None else None
    return bool(token) and _is_gateway(prefix) and hmac.compare_digest(password.encode(), str(token).encode())


def _is_gateway(prefix: str) -> bool:
    from flask import request

    return request.path.removeprefix(prefix).startswith("/gateway/")


def _is_navigation(prefix: str) -> bool:
    """Whether a person opens a page, who can be sent to another; not a script's or a client's request."""
    from flask import request

    if request.method not in ("GET", "HEAD") or request.path.removeprefix(prefix).startswith(API_MARKS):
        return False
    mode = request.headers.get("Sec-Fetch-Mode", "")
    return mode == "navigate" if mode else "text/html" in request.headers.get("Accept", "")


def _to_login(gate: Gate) -> Response:
    from flask import Response, request

    asked = request.full_path.rstrip("?") if request.query_string else request.path
    answer = Response(status=303, headers={"Location": f"{gate.base}/login?next={quote(asked, safe='')}"})
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _challenge(make: Callable[[], Any]) -> Response:
    """MLflow's own 401. A browser gets no challenge: it would show a dialog, which nobody can log out of again."""
    from flask import request

    answer: Response = make()
    if "Sec-Fetch-Mode" in request.headers or request.headers.get("User-Agent", "").startswith("Mozilla/"):
        answer.headers.pop("WWW-Authenticate", None)
    return answer


def _slow_down(error: TooMany) -> Response:
    from flask import jsonify, make_response

    answer = make_response(jsonify({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": str(error)}), 429)
    answer.headers["Retry-After"] = str(error.wait_s)
    return answer


def _authorization(name: str) -> Authorization:
    from werkzeug.datastructures import Authorization

    return Authorization("basic", {"username": name, "password": ""})


def _check_hash(known: str, password: str) -> bool:
    from werkzeug.security import check_password_hash

    return check_password_hash(known, password)
