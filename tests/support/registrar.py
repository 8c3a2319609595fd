"""A house of the pages with MLflow's real registry store behind it: gate, ledger and moves, without a server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flask import Flask, g
from flask.testing import FlaskClient
from sqlalchemy import column, insert, table

from mlflow_hydraulic.configuration import Configuration, read_configuration
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.plugin.client import OwnRegistry
from mlflow_hydraulic.plugin.registrar import ServersRegistrar
from mlflow_hydraulic.plugin.watched_store import make_store
from mlflow_hydraulic.settings import read_tables
from mlflow_hydraulic.web import blueprint
from tests.support.house import TestHouse, make_house

API = "/api/2.0/hydraulic"
RUNS = table("runs", column("run_uuid"), column("user_id"), column("experiment_id"))  # MLflow's


@dataclass(frozen=True)
class Registry:
    """A house, a browser on it, and the registry's own client, which makes models without being asked who it is."""

    house: TestHouse
    application: Flask
    browser: FlaskClient
    own: OwnRegistry
    registrar: ServersRegistrar

    def model(self, name: str = "m", versions: int = 3, trainer: str = "") -> None:
        """A registered model with versions of runs of `trainer`, or of no run where nobody is named."""
        self.own.create_registered_model(name)
        for number in range(1, versions + 1):
            run = f"{name}-{number}" if trainer else None
            if trainer:
                with self.house.engine.begin() as connection:
                    connection.execute(insert(RUNS).values(run_uuid=run, user_id=trainer, experiment_id=0))
            self.own.create_model_version(name, f"s3://models/{name}/{number}", run)

    def post(self, path: str, body: object = None, *, who: Who | None = None) -> Any:  # Any: Flask's response
        """POST to the API as `who`."""
        if who is not None:
            self.house.accounts.caller = who
        return self.browser.post(API + path, json=body if body is not None else {})

    def close(self) -> None:
        self.own.store.engine.dispose()
        self.house.engine.dispose()


def make_registry(folder: Path, toml: str = "") -> Registry:
    """A new one; `toml` is its hydraulic.toml, which HYDRAULIC_CONFIG must name (`folder`/hydraulic.toml)."""
    (folder / "hydraulic.toml").write_text(toml, encoding="utf-8")
    configuration: Configuration = read_configuration(read_tables())
    house = make_house(folder, configuration=configuration)
    own = OwnRegistry(make_store(str(house.engine.url)))
    registrar = ServersRegistrar(configuration=configuration, client=lambda: own)
    house = replace(house, registrar=registrar)
    app = Flask("tests")
    app.testing = True

    def log_in() -> None:
        g.mlflow_authenticated_user = house.accounts.caller.name

    blueprint.install(app, house, log_in)
    return Registry(house=house, application=app, browser=app.test_client(), own=own, registrar=registrar)
