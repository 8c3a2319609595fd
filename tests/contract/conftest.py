"""What the suites run on: a fresh database for each test, of every kind alike; every target in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine

from mlflow_hydraulic.evidence import database
from tests import services
from tests.contract.subjects import Subject, kubernetes_subject, local_subject


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with services.postgres() as uri:
        yield uri


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[str]:
    with services.mariadb() as uri:
        yield uri


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'evidence.db'}"
    server: str = request.getfixturevalue({"postgresql": "postgres_server", "mysql": "mysql_server"}[request.param])
    return services.new_database(server)


@pytest.fixture
def evidence(database_uri: str) -> Iterator[Engine]:
    """An evidence database at the newest schema, beside a table that stands for MLflow's."""
    engine = database.open_database(database_uri)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table registered_models (name varchar(9) primary key)"))
    database.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=["local", "kubernetes"])
def subject(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    """A target with nothing deployed; whatever the test leaves is deleted."""
    made = local_subject(tmp_path, monkeypatch) if request.param == "local" else kubernetes_subject(tmp_path)
    with made as one:
        yield one
