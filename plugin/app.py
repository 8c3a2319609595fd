"""`mlflow server --app-name hydraulic`: MLflow's own server with our registry store, and the page's comment kept.

With basic-auth where that is configured, without it where it is not. Called by MLflow once in every worker; the command
itself imports this module before it starts them, and what would make them fail ends it there, with one error.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from mlflow_hydraulic.configuration import read_configuration
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.evidence.database import SCHEMES
from mlflow_hydraulic.plugin.around import Around
from mlflow_hydraulic.plugin.errors import PluginError, translated
from mlflow_hydraulic.plugin.login import GATE, check_login
from mlflow_hydraulic.plugin.site import add_pages
from mlflow_hydraulic.settings import read_settings, read_tables

if TYPE_CHECKING:
    from flask import Flask, Response

AUTH_VARIABLES = ("MLFLOW_AUTH_CONFIG_PATH", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
PAGE_SCRIPT = Path(__file__).with_name("page.js")
ENTRY_SCRIPT = Path(__file__).with_name("entry.js")


def create_app() -> Any:  # Any: a Flask or a FastAPI application, as MLflow's server of the day wants it
    """The application that MLflow's server runs."""
    from mlflow.server import app

    with translated():
        read_configuration(read_tables())
        authenticated = wants_auth(os.environ)
    watch_registry()
    app.before_request(forget_plain_page)
    app.after_request(keep_comment)
    with translated():
        add_pages(app, authenticated=authenticated)
    if authenticated:
        return _with_auth(app)
    return _without_auth(app)


def wants_auth(environ: os._Environ[str] | dict[str, str]) -> bool:
    """Whether basic-auth is configured: by HYDRAULIC_AUTH ("on", "off"), or by any of MLflow's own variables."""
    said = environ.get("HYDRAULIC_AUTH", "").lower()
    if said not in ("", "on", "off"):
        raise BadInput(f'HYDRAULIC_AUTH={said!r}: write "on" or "off", or leave it unset')
    return said == "on" or (said == "" and any(environ.get(name) for name in AUTH_VARIABLES))


def check_start() -> None:
    """Refuse to start what could not serve: a registry that is no database, a ledger elsewhere, half an auth.

    Raises `PluginError`, which the command line prints as one line. MLflow's supervisor would restart such workers for
    ever; for its own basic-auth MLflow checks in the same place.
    """
    from mlflow.environment_variables import _MLFLOW_AUTH_ADMIN_BOOTSTRAPPED
    from mlflow.server import handlers
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    with translated():
        read_configuration(read_tables())
        store = handlers._model_registry_store  # opened by the command; None with --artifacts-only
        if store is not None and (not isinstance(store, SqlAlchemyStore) or store.db_type not in SCHEMES):
            kind = getattr(store, "db_type", type(store).__name__)
            raise BadInput(
                f"--app-name hydraulic: changes of a registry in {kind} cannot be watched; "
                f"give --backend-store-uri a database: {', '.join(f'{scheme}://...' for scheme in SCHEMES)}"
            )
        if store is not None:
            database.require_same(str(store.engine.url), read_settings().database)
            database.ready(store.engine)
        check_login(os.environ, authenticated=wants_auth(os.environ))
        if not wants_auth(os.environ):
            return
    with _one_line():
        _auth().get_flask_server_secret_key()
        _auth().bootstrap_admin_user()
    os.environ[_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED.name] = "true"


def _auth() -> ModuleType:
    """MLflow's basic-auth."""
    try:
        from mlflow.server import auth
    except ImportError as error:
        raise PluginError(
            f"basic-auth is configured and not installed ({error}): pip install 'mlflow-hydraulic[auth]', "
            f"or set HYDRAULIC_AUTH=off",
            error_code=INVALID_PARAMETER_VALUE,
        ) from error
    return auth  # type: ignore[no-any-return]  # mlflow is untyped


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise PluginError(error.message) from error


def watch_registry() -> None:
    """Make the server's registry and workspace stores the watched ones, whatever plain URI it was started with."""
    from mlflow.server import handlers
    from mlflow.tracking._workspace.registry import _get_workspace_store_registry

    from mlflow_hydraulic.plugin.workspaces import open_workspaces

    for scheme in SCHEMES:
        handlers._model_registry_store_registry.register(scheme, _open_store)
        _get_workspace_store_registry().register(scheme, open_workspaces)


def _open_store(store_uri: str) -> Any:  # Any: MLflow's store types are not typed
    from mlflow.server.constants import READ_REPLICA_BACKEND_STORE_URI_ENV_VAR

    from mlflow_hydraulic.plugin.watched_store import make_store

    return make_store(store_uri, os.environ.get(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR))


def _with_auth(app: Flask) -> Any:
    from mlflow_hydraulic.plugin import logged_models, sharing

    sharing.install(_auth())
    app.after_request(logged_models.withhold)
    made = _auth().create_app(app)
    if made is not app:  # FastAPI around Flask
        made.add_middleware(Around)
    return made


def _without_auth(app: Flask) -> Any:
    from mlflow.environment_variables import _MLFLOW_SGI_NAME

    if _MLFLOW_SGI_NAME.get() != "uvicorn":
        return app
    from mlflow.server.fastapi_app import create_fastapi_app

    return create_fastapi_app(app)


def forget_plain_page() -> None:
    """Answer with the page itself, never "304 Not Modified": a browser may hold it from before our script was in it."""
    from flask import request

    if _is_page(request.path):
        for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE"):
            request.environ.pop(name, None)


def _is_page(path: str) -> bool:
    return path in (f"{_prefix()}/", _prefix() or "/")


def _prefix() -> str:
    return os.environ.get("_MLFLOW_STATIC_PREFIX", "").rstrip("/")


@cache
def _scripts(base: str, *, login: bool) -> str:
    """Our scripts' elements; `data-stages` where a stage says what runs: the page that moves stages is wanted then."""
    environments = read_configuration(read_tables()).environments
    stages = any(one.kind == "stage" for env in environments for one in (*env.champion, *env.challenger))
    attribute = ' data-stages="yes"' if stages else ""
    page = f"<script{attribute}>{PAGE_SCRIPT.read_text(encoding='utf-8')}</script>"
    attributes = f'data-base="{base}"' + (' data-login="yes"' if login else "")
    return f"{page}<script {attributes}>{ENTRY_SCRIPT.read_text(encoding='utf-8')}</script>"


def keep_comment(response: Response) -> Response:
    """Put our scripts into MLflow's one page: they send the stage dialog's comment along, and lead to our pages."""
    from flask import current_app, request

    if not _is_page(request.path) or response.mimetype != "text/html" or response.status_code != 200:
        return response
    response.direct_passthrough = False
    page = response.get_data(as_text=True)
    base = html.escape(f"{_prefix()}/hydraulic")
    response.set_data(page.replace("<head>", f"<head>{_scripts(base, login=GATE in current_app.config)}", 1))
    for name in ("ETag", "Last-Modified"):
        response.headers.pop(name, None)
    response.headers["Cache-Control"] = "no-store"
    return response


def _starting() -> bool:
    """Whether this is the command `mlflow server` or `mlflow ui`, about to start its workers."""
    context = click.get_current_context(silent=True)
    return context is not None and context.params.get("app_name") == "hydraulic"


if _starting():  # MLflow gives an app no other word before it starts its workers than this import
    check_start()
