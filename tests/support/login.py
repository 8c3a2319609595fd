"""A log-in on a real SQLite file of our tables, with users that a test sets, and a browser that fills in its forms."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask, Response, g, jsonify
from flask.testing import FlaskClient
from werkzeug.test import Cookie, TestResponse

from mlflow_hydraulic.configuration import Configuration
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.evidence.tables import metadata
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.settings import Settings
from mlflow_hydraulic.web import blueprint
from mlflow_hydraulic.web.login.door import Door
from mlflow_hydraulic.web.login.gate import Gate
from mlflow_hydraulic.web.login.provider import Provider
from mlflow_hydraulic.web.login.session import Sessions, Signer
from mlflow_hydraulic.web.login.settings import OidcSettings
from mlflow_hydraulic.web.login.throttle import Throttle
from tests.support.house import FakeAccounts, TestHouse

FORM_TOKEN = re.compile(r'name="token" value="([0-9a-f]+)"')
ALERT = re.compile(r'role="alert"[^>]*>([^<]*)<')
PASSWORDS = {"ds1": "the password of ds1", "ds2": "the password of ds2", "admin": "the password of admin"}


@dataclass
class FakeUsers:
    """Users in memory. checked: how many passwords were looked at."""

    passwords: dict[str, str] = field(default_factory=lambda: dict(PASSWORDS))
    admins: set[str] = field(default_factory=lambda: {"admin"})
    checked: int = 0

    def password_hash(self, name: str) -> str | None:
        return f"hash of {self.passwords[name]}" if name in self.passwords else None

    def matches(self, name: str, password: str, *, fresh: bool) -> bool:
        del fresh
        self.checked += 1
        return self.passwords.get(name) == password

    def add(self, name: str) -> None:
        self.passwords.setdefault(name, "nobody knows it")

    def is_admin(self, name: str) -> bool:
        return name in self.admins

    def set_admin(self, name: str, admin: bool) -> None:
        if name == "admin":  # as MLflow's configuration names it
            return
        (self.admins.add if admin else self.admins.discard)(name)


@dataclass
class Site:
    """Pages behind a log-in. users: to be changed by a test."""

    app: Flask
    gate: Gate
    users: FakeUsers

    def browser(self) -> Browser:
        return Browser(self.app.test_client(), self.gate)


def make_site(
    folder: Path,
    *,
    sessions: Sessions | None = None,
    oidc: OidcSettings | None = None,
    prefix: str = "",
    secret: str = "the key of a test",  # noqa: S107 - signs nothing real
) -> Site:
    """A site on a new database in `folder`."""
    engine = database.open_database(f"sqlite:///{folder / 'ours.db'}")
    metadata.create_all(engine)
    accounts = FakeAccounts()
    house = TestHouse(
        engine=engine, settings=Settings(home=folder), configuration=Configuration(), accounts=accounts, prefix=prefix
    )
    users, signer = FakeUsers(), Signer(secret)
    gate = Gate(
        signer=signer,
        sessions=sessions or Sessions(signer),
        users=users,
        engine=engine,
        throttle=Throttle(),
        prefix=prefix,
    )
    door = Door(gate=gate, provider=Provider(oidc) if oidc else None)
    app = Flask("tests")
    app.testing = True

    def authenticate() -> Response | None:
        held = gate.held()
        if held is None:
            refused = jsonify(message="who are you?")
            refused.status_code = 401
            return refused
        g.user = held.user
        accounts.caller = Who(name=held.user, admin=held.user in users.admins)
        return None

    blueprint.install(app, house, authenticate, door)
    return Site(app=app, gate=gate, users=users)


@dataclass
class Browser:
    """One browser: keeps cookies, and sends what its forms hold."""

    client: FlaskClient
    gate: Gate

    @property
    def base(self) -> str:
        return self.gate.base

    def user(self) -> str:
        """Who it is logged in as; "" where it is not."""
        answer = self.client.get(f"{self.gate.prefix}/api/2.0/hydraulic/about")
        return str(answer.get_json()["user"]) if answer.status_code == 200 else ""

    def cookie(self) -> Cookie:
        """That of its session."""
        found = self.client.get_cookie(self.gate.sessions.cookie, path=self.gate.path)
        assert found is not None
        return found

    def token(self) -> str:
        """That of the log-in form."""
        return str(FORM_TOKEN.findall(self.client.get(f"{self.base}/login").get_data(as_text=True))[0])

    def log_in(self, name: str, password: str = "", *, back: str = "", **headers: str) -> TestResponse:
        sent = {"user": name, "password": password or PASSWORDS[name], "token": self.token(), "next": back}
        return self.client.post(f"{self.base}/login", data=sent, headers=headers)

    def log_out(self) -> TestResponse:
        held = self.gate.sessions.read(self.cookie().value)
        assert held is not None
        return self.client.post(f"{self.base}/logout", data={"token": self.gate.form_token(held)})


def alert_of(answer: TestResponse) -> str:
    """What a page of the log-in says is wrong."""
    return alert_of_text(answer.get_data(as_text=True))


def alert_of_text(page: str) -> str:
    """The same, of the page itself."""
    found = ALERT.search(page)
    return found[1] if found else ""
