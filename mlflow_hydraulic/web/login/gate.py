"""Who is logged in, in the request under way: by our cookie, or by a password that is checked at most once a request.

One `Gate` a process. `door` shows its pages, `plugin.login` makes it and tells MLflow.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from flask import Response, request
from sqlalchemy import Engine

from mlflow_hydraulic.errors import Refused
from mlflow_hydraulic.evidence import ended
from mlflow_hydraulic.web import guard
from mlflow_hydraulic.web.login.session import Held, Sessions, Signer
from mlflow_hydraulic.web.login.throttle import Throttle, keys_of
from mlflow_hydraulic.web.shell import LOGOUT

HELD = "hydraulic.held"  # in the request's environ: the session that was found, or None
KNOWN_S = 180 * 24 * 3600
LONGEST_NAME, LONGEST_PASSWORD = 255, 1024  # characters


class TooMany(Refused):
    """Too many wrong passwords. wait_s: after which the next is looked at."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = max(ceil(wait_s), 1)
        super().__init__(f"too many wrong passwords: try again in {self.wait_s} s")


class Users(Protocol):
    """MLflow's users."""

    def password_hash(self, name: str) -> str | None:
        """As it is stored; None where there is no such user."""
        ...

    def matches(self, name: str, password: str, *, fresh: bool) -> bool:
        """Whether this is the user's password; as slow where there is no such user.

        fresh: read now, never from the cache of checks that MLflow may keep for a while.
        """
        ...

    def add(self, name: str) -> None:
        """Make a user with a password that nobody knows; one that is there stays as it is."""
        ...

    def is_admin(self, name: str) -> bool:
        """Whether this user, who is there, is an administrator."""
        ...

    def set_admin(self, name: str, admin: bool) -> None:
        """Make or unmake an administrator; the one that MLflow's configuration names stays one."""
        ...


@dataclass(frozen=True, kw_only=True)
class Gate:
    """prefix: MLflow's static prefix, "" or "/mlflow"."""

    signer: Signer
    sessions: Sessions
    users: Users
    engine: Engine
    throttle: Throttle
    prefix: str = ""

    @property
    def base(self) -> str:
        return f"{self.prefix}/hydraulic"

    @property
    def path(self) -> str:
        """What cookies are sent for: all of MLflow's server."""
        return self.prefix or "/"

    @property
    def known_cookie(self) -> str:
        """The cookie of a browser that logged in before."""
        return f"hydraulic_known_{self.signer.suffix}"

    def held(self) -> Held | None:
        """The log-in that the request's cookie holds; looked up once a request."""
        if HELD not in request.environ:
            found = self._find()
            request.environ[HELD] = found
            request.environ[LOGOUT] = self.form_token(found) if found else ""
        held: Held | None = request.environ[HELD]
        return held

    def _find(self) -> Held | None:
        held = self.sessions.read(request.cookies.get(self.sessions.cookie, ""))
        if held is None or guard.is_foreign():
            return None  # a cookie is sent by itself: a write that another site caused is nobody's
        password_hash = self.users.password_hash(held.user)
        if password_hash is None or self.sessions.mark(held.user, password_hash) != held.mark:
            return None
        with self.engine.connect() as connection:
            return None if ended.is_ended(connection, held.id) else held

    def check(self, name: str, password: str, address: str, *, fresh: bool) -> bool:
        """Whether this is the user's password; `TooMany` before it is looked at. fresh: as of `Users.matches`."""
        if not 0 < len(name) <= LONGEST_NAME or not 0 < len(password) <= LONGEST_PASSWORD:
            return False
        if not _is_storable(name + password):
            return False
        digest = self.signer.mark("vouched", f"{name}\0{password}")
        if self.throttle.is_vouched(digest):
            right = self.users.matches(name, password, fresh=fresh)
            if not right:
                self.throttle.doubt(digest)
            return right
        keys = keys_of(name, address, self._known(name))
        wait_s = self.throttle.begin(keys)
        if wait_s:
            raise TooMany(wait_s)
        right = self.users.matches(name, password, fresh=fresh)
        if right:
            self.throttle.hit(keys)
            self.throttle.vouch(digest)
        return right

    def _known(self, name: str) -> str:
        """The mark of a browser that logged in as `name` before; "" for any other."""
        said = self.signer.read("known", request.cookies.get(self.known_cookie, ""))
        known = isinstance(said, list) and len(said) == 2 and said[0] == name
        return str(said[1]) if known and isinstance(said, list) else ""

    def let_in(self, response: Response, name: str) -> Held:
        """Begin a log-in of `name`, whose password or provider has just said so; the cookies go with `response`."""
        held = self.sessions.begin(name, self.users.password_hash(name) or "")
        request.environ[HELD] = held
        self.set_cookie(response, self.sessions.cookie, self.sessions.write(held))
        known = self.signer.write("known", [name, secrets.token_hex(8)])
        if not self._known(name):
            self.set_cookie(response, self.known_cookie, known, max_age_s=KNOWN_S)
        return held

    def let_out(self, response: Response) -> Held | None:
        """End the log-in of this request: here, in the browser, and in every copy of its cookie."""
        held = self.held()
        if held is not None:
            ended.end(self.engine, held.id, until_s=held.ends_s, now_s=self.sessions.now_s())
        self.drop_cookie(response, self.sessions.cookie)
        request.environ[HELD] = None
        return held

    def keep(self, response: Response) -> Response:
        """Renew the log-in's cookie with an answer, where it is old enough. Flask calls it after every request."""
        held: Held | None = request.environ.get(HELD)
        renewed = self.sessions.renewed(held) if held is not None else None
        if renewed is not None:
            self.set_cookie(response, self.sessions.cookie, self.sessions.write(renewed))
        return response

    def form_token(self, held: Held) -> str:
        """What the log-out form of a session must send along."""
        return self.signer.mark("logout", held.id)

    def set_cookie(
        self, response: Response, name: str, value: str, *, path: str = "", max_age_s: int | None = None
    ) -> None:
        """A cookie that no script reads and that other sites' requests do not carry; until the browser ends, or for
        `max_age_s`."""
        response.set_cookie(
            name,
            value,
            max_age=max_age_s,
            path=path or self.path,
            secure=guard.is_https(),
            httponly=True,
            samesite="Lax",
        )

    def drop_cookie(self, response: Response, name: str, *, path: str = "") -> None:
        response.delete_cookie(name, path=path or self.path, secure=guard.is_https(), httponly=True, samesite="Lax")


def _is_storable(text: str) -> bool:
    """Whether every database takes it: no NUL, no half of a surrogate pair."""
    return "\0" not in text and text == text.encode("utf-8", "replace").decode()
