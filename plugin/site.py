"""MLflow as the pages see it: who asks, its users and their permissions; and the pages put into MLflow's server."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.configuration import read_configuration
from mlflow_hydraulic.monitor.configured import read_monitoring
from mlflow_hydraulic.people.projects import Office
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.people.visible import Readable
from mlflow_hydraulic.plugin import catalogue
from mlflow_hydraulic.plugin.caller import caller
from mlflow_hydraulic.plugin.files import ServersFiles
from mlflow_hydraulic.plugin.grants import readable_models
from mlflow_hydraulic.plugin.login import set_up
from mlflow_hydraulic.plugin.registrar import ServersRegistrar
from mlflow_hydraulic.settings import read_settings, read_tables
from mlflow_hydraulic.web.blueprint import install
from mlflow_hydraulic.web.guard import ORIGINS
from mlflow_hydraulic.web.house import House

if TYPE_CHECKING:
    from flask import Flask, Response
    from sqlalchemy import Engine


class NoAccounts:
    """A server without a log-in."""

    def who(self) -> Who:
        return Who()

    def names(self) -> Sequence[str]:
        return ()

    def permission(self, who: Who, model: str) -> str:
        del who, model
        return "manage"

    def readable(self, who: Who) -> Readable:
        del who
        return Readable()


class BasicAuth:
    """MLflow's basic-auth."""

    def __init__(self) -> None:
        from mlflow.server import auth

        self._auth: Any = auth  # Any: MLflow is untyped

    def authenticate(self) -> Response | None:
        """Say in `flask.g` who asks, as MLflow does; or the answer that asks for a log-in."""
        from flask import Response, g

        found = self._auth.authenticate_request()
        if isinstance(found, Response):
            return found
        g.mlflow_authenticated_user = found.username
        return None

    @property
    def store(self) -> Any:
        """MLflow's users."""
        return self._auth.store

    def who(self) -> Who:
        from flask import g

        name = g.get("mlflow_authenticated_user") or ""
        return Who(name=name, admin=bool(self._auth.store.get_user(name).is_admin))

    def names(self) -> Sequence[str]:
        return sorted(user.username for user in self._auth.store.list_users())

    def permission(self, who: Who, model: str) -> str:
        found = self._auth._graphql_get_permission_for_model(model, who.name)  # by name: checks no password again
        return "manage" if found.can_manage else "edit" if found.can_update else "read" if found.can_read else "none"

    def readable(self, who: Who) -> Readable:
        return Readable() if who.everywhere else readable_models(self._auth, who.name)


def forget_deleted(store: Any, engine: Engine) -> None:  # Any: MLflow's user store, which is untyped
    """Have the user store end a user's memberships with the user: the name may be somebody else's later."""
    delete_user: Callable[[str], None] = store.delete_user

    def delete_and_forget(username: str) -> None:
        store.get_user(username)  # raises where there is none
        office = Office(engine=engine, workspace="default", by=caller().name, now=utc_now(), reason="user deleted")
        office.forget(username)
        delete_user(username)

    store.delete_user = delete_and_forget


def add_pages(app: Flask, *, authenticated: bool) -> None:
    """Put pages and REST API into MLflow's application; not where it has no registry (--artifacts-only)."""
    from mlflow.server import handlers
    from mlflow.server.security_utils import get_allowed_origins_from_env

    store = handlers._get_model_registry_store()
    engine = getattr(store, "engine", None)
    if engine is None:
        return
    app.config[ORIGINS] = get_allowed_origins_from_env() or ()
    accounts = BasicAuth() if authenticated else NoAccounts()
    tables, settings = read_tables(), read_settings()
    configuration = read_configuration(tables)
    house = House(
        engine=engine,
        settings=settings,
        configuration=configuration,
        catalogue=catalogue.of_server(engine),
        registrar=ServersRegistrar(configuration=configuration),
        accounts=accounts,
        files=ServersFiles(settings.home),
        monitoring=read_monitoring(tables),
        prefix=os.environ.get("_MLFLOW_STATIC_PREFIX", "").rstrip("/"),
    )
    if not isinstance(accounts, BasicAuth):
        install(app, house, lambda: None)
        return
    forget_deleted(accounts.store, engine)
    install(app, house, accounts.authenticate, set_up(app, engine, house.prefix))
