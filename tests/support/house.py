"""A `House` on a real database with MLflow's tables and ours, and Flask's test client on it: pages without a server.

house = make_house(tmp_path)
house.accounts.caller = Who(name="ds1")
client(house).get("/api/2.0/hydraulic/projects")
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from uuid import uuid4

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.configuration import Configuration
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.evidence.tables import members, projects
from mlflow_hydraulic.people.members import MODEL_TAGS, MODELS, PROJECT_TAG
from mlflow_hydraulic.people.rights import Role, Who
from mlflow_hydraulic.people.visible import Readable
from mlflow_hydraulic.settings import Settings
from mlflow_hydraulic.web import blueprint
from mlflow_hydraulic.web.house import House
from tests import services

KIND = os.environ.get("TEST_DATABASE", "sqlite")
SERVERS = {"postgresql": services.postgres, "mysql": services.mariadb}
DS1, DS2, ADMIN = Who(name="ds1"), Who(name="ds2"), Who(name="admin", admin=True)


@dataclass
class FakeAccounts:
    """MLflow's users as a test wants them. permissions: MLflow's own by (user, model), `other` where none is given."""

    caller: Who = field(default_factory=Who)
    users: Sequence[str] = ("admin", "ds1", "ds2")
    permissions: dict[tuple[str, str], str] = field(default_factory=dict)
    other: str = "none"

    def who(self) -> Who:
        return self.caller

    def names(self) -> Sequence[str]:
        return sorted(self.users)

    def permission(self, who: Who, model: str) -> str:
        return self.permissions.get((who.name, model), self.other)

    def readable(self, who: Who) -> Readable:
        every = self.other != "none"
        differ = {model for (user, model), said in self.permissions.items() if user == who.name}
        names = {model for model in differ if (self.permission(who, model) != "none") is not every}
        return Readable(every=every, names=frozenset(names))


@dataclass(frozen=True, kw_only=True)
class TestHouse(House):
    """A house whose caller a test can change: `house.accounts.caller = DS1`."""

    __test__ = False  # no test class, whatever pytest makes of its name
    accounts: FakeAccounts = field(default_factory=FakeAccounts)


def make_house(
    folder: Path,
    *,
    who: Who | None = None,
    configuration: Configuration | None = None,
    prefix: str = "",
    like: Engine | None = None,
) -> TestHouse:
    """A house on a new database. who: the caller at first; nobody is logged in where it is None. like: see below."""
    return TestHouse(
        engine=make_engine(folder, like),
        settings=Settings(home=folder / "home"),
        configuration=configuration or Configuration(),
        accounts=FakeAccounts(caller=who or Who()),
        prefix=prefix,
    )


def make_engine(folder: Path, like: Engine | None = None) -> Engine:
    """A database with MLflow's tables and ours: a file in `folder`, or one of the server that TEST_DATABASE names:
    "postgresql" or "mysql".

    It begins with what is in the database of `like`; empty where that is None.
    """
    if KIND in SERVERS:
        if like is not None:
            like.dispose()  # a database that somebody is connected to is no template
        template = str(like.url.database) if like is not None else _server_tables()
        return database.open_database(services.new_database(_server(), template))
    file = folder / "mlflow.db"
    file.write_bytes(_content(like) if like is not None else _tables())
    return database.open_database(f"sqlite:///{file}")


def uri_of(engine: Engine) -> str:
    """By which MLflow's stores open the same database."""
    return engine.url.render_as_string(hide_password=False)


def _content(engine: Engine) -> bytes:
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return Path(str(engine.url.database)).read_bytes()


@cache
def _tables() -> bytes:
    """MLflow's tables and ours, made once: MLflow's migrations take seconds."""
    with tempfile.TemporaryDirectory() as folder:
        engine = _made(f"sqlite:///{Path(folder) / 'mlflow.db'}")
        content = _content(engine)
        engine.dispose()
        return content


@cache
def _server() -> str:
    """For as long as this process runs."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(SERVERS[KIND]())


@cache
def _server_tables() -> str:
    """The name of a database on that server with MLflow's tables and ours."""
    engine = _made(services.new_database(_server()))
    engine.dispose()
    return str(engine.url.database)


def _made(uri: str) -> Engine:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with tempfile.TemporaryDirectory() as artifacts:
        SqlAlchemyStore(uri, artifacts).engine.dispose()  # it makes the first experiment, too
    engine = database.open_database(uri)
    database.upgrade(engine)
    return engine


def client(house: House) -> FlaskClient:
    """A browser on the pages and the REST API of `house`; errors that nobody caught reach the test."""
    app = Flask("tests")
    app.testing = True
    blueprint.install(app, house, lambda: None)
    return app.test_client()


def add_model(engine: Engine, name: str, project: str = "", workspace: str = "default") -> None:
    """A registered model, in `project` where one is named, written past the registry's gate."""
    with engine.begin() as connection:
        connection.execute(insert(MODELS).values(workspace=workspace, name=name))
        if project:
            tag = {"workspace": workspace, "name": name, "key": PROJECT_TAG, "value": project}
            connection.execute(insert(MODEL_TAGS).values(**tag))


def add_project(engine: Engine, name: str, roles: dict[str, Role], workspace: str = "default") -> None:
    """A project with these members, written past its ledger."""
    at = utc_now().isoformat(timespec="microseconds")
    identity = uuid4().hex
    made = {"id": identity, "workspace": workspace, "name": name, "description": "", "created": at, "created_by": "ds1"}
    with engine.begin() as connection:
        connection.execute(insert(projects).values(**made))
        for user, role in roles.items():
            member = {"project": identity, "user": user, "role": role.value, "since": at, "by": "ds1"}
            connection.execute(insert(members).values(**member))
