"""A house of the pages beside a monitored world: a real record, true values, findings and alerts of prod/cooler."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import sight
from mlflow_hydraulic.monitor.configured import Monitoring
from mlflow_hydraulic.people.rights import Role
from mlflow_hydraulic.web.monitoring import scene
from tests.support.house import TestHouse, add_model, add_project, client, make_house
from tests.support.watching import World, normal

API = "/api/2.0/hydraulic"
PAGES = "/hydraulic"
COOLER = f"{API}/deployments/prod/cooler/monitoring"
ROLES = {"ds1": Role.OWNER, "ds2": Role.READER}


@dataclass(frozen=True, kw_only=True)
class Monitored:
    """browser: Flask's test client. ids: of the predictions that were asked."""

    world: World
    house: TestHouse
    browser: FlaskClient
    ids: list[str]

    def get(self, path: str, status: int = 200, /, **query: Any) -> Any:  # Any: JSON
        """The answer of a GET below the deployment's monitoring."""
        answer = self.browser.get(f"{COOLER}{path}", query_string={"last": "7d", **query})
        assert answer.status_code == status, (answer.status_code, answer.text[:500])
        return answer.json

    def chart(self, path: str, name: str, /, **query: Any) -> Any:  # Any: JSON
        return next(one for one in self.get(path, **query)["charts"] if one["name"] == name)

    def table(self, path: str, name: str, /, **query: Any) -> Any:  # Any: JSON
        return next(one for one in self.get(path, **query)["tables"] if one["name"] == name)


def make_monitored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, rows: int = 300, monitoring: Monitoring | None = None
) -> Monitored:
    """cooler of prod runs version 3, its inputs as in training but for tsa_temp; "cooler" is in the project rig."""
    made = make_house(folder)
    world = World(folder)
    world.engine = made.engine
    world.now = utc_now() - timedelta(minutes=1)
    settings = replace(made.settings, record_folder=str(folder))
    house = replace(made, settings=settings, monitoring=monitoring or Monitoring())
    monkeypatch.setattr(scene, "_versions", lambda home, files: world.versions)
    add_project(house.engine, "rig", ROLES)
    add_model(house.engine, "cooler", "rig")
    add_model(house.engine, "pump")
    part = sight.Part(role="champion", name="v3", model="cooler", version="3", digest="d", ready=1)
    see(house, sight.Said(predictors=(part,), target="seldon-local", namespace="prod"))
    ids = world.ask("cooler", normal(rows, 5, shift=1.5)) if rows else []
    return Monitored(world=world, house=house, browser=client(house), ids=ids)


def see(house: TestHouse, said: sight.Said) -> None:
    """What the controller saw of prod/cooler."""
    seen = sight.Seen(environment="prod", deployment="cooler", model="cooler", managed=True, state="healthy", said=said)
    now = utc_now()
    with house.engine.begin() as connection:
        found = sight.changes(
            connection, house.workspace, [seen], looked={"prod": ""}, configured=["dev", "prod"], now=now
        )
        sight.write(connection, house.workspace, found, now)
