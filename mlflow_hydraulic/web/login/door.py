"""The pages of the log-in: the form, the way over the OpenID Connect provider, and the log-out. `install` adds them.

All are answered without a log-in, and every POST carries a token that only this server's own form has.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec
from flask import Blueprint, Response, request

from mlflow_hydraulic.errors import HydraulicError, Refused, Unavailable
from mlflow_hydraulic.version import VERSION
from mlflow_hydraulic.web import guard, shell
from mlflow_hydraulic.web.login.gate import Gate, TooMany
from mlflow_hydraulic.web.login.session import LONGEST

if TYPE_CHECKING:
    from mlflow_hydraulic.web.login.provider import Person, Provider

FORM_S = 3600
ROUND_TRIP_S = 600  # from here to the provider and back
LONGEST_FORM = 16_000  # bytes
OWN = "hydraulic-"  # how the names of controller and monitor begin
WRONG = "Wrong user or password."
STALE = "This form was open for too long, or cookies are off: try again."
ENDPOINTS = ("login_form", "login_send", "login_start", "login_back", "logout_send", "logged_out")


class _Trip(msgspec.Struct, frozen=True, array_like=True):
    """What must come back from the provider unharmed; kept in a cookie. at_s: Unix seconds."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    back: str
    at_s: int


@dataclass(frozen=True, kw_only=True)
class Door:
    """provider: None where only passwords let in."""

    gate: Gate
    provider: Provider | None = None

    def install(self, blueprint: Blueprint, pages_at: str) -> None:
        """Add the routes, without their static prefix, to the blueprint of the pages."""
        for method, path, view in (
            ("GET", "/login", self.login_form),
            ("POST", "/login", self.login_send),
            ("GET", "/login/start", self.login_start),
            ("GET", "/login/back", self.login_back),
            ("POST", "/logout", self.logout_send),
            ("GET", "/logout", self.logged_out),
        ):
            blueprint.add_url_rule(
                pages_at + path, endpoint=view.__name__, view_func=_told(self, view), methods=[method]
            )

    def login_form(self) -> Response:
        back = self._back(request.args.get("next", ""))
        return _go(back) if self.gate.held() else self._form(back)

    def login_send(self) -> Response:
        """Check user and password, and begin a session."""
        if (request.content_length or 0) > LONGEST_FORM:
            raise Refused("that is too long for a log-in")
        name, password = request.form.get("user", ""), request.form.get("password", "")
        back = self._back(request.form.get("next", ""))
        if self.provider is not None and not self.provider.settings.passwords:
            raise Refused(f"passwords do not let in here: log in with {self.provider.settings.label}")
        if not self._is_our_form():
            return self._form(back, user=name, message=STALE, status=400)
        try:
            right = self.gate.check(name, password, request.remote_addr or "", fresh=True)
        except TooMany as error:
            answer = self._form(back, user=name, message=f"{error}.".capitalize(), status=429)
            answer.headers["Retry-After"] = str(error.wait_s)
            return answer
        if not right:
            return self._form(back, user=name, message=WRONG, status=401)
        return self._let_in(name, back)

    def login_start(self) -> Response:
        """Send the browser to the provider."""
        provider = self._provider()
        redirect_uri = self._own(f"{self.gate.base}/login/back")
        start = provider.start(redirect_uri)
        back = self._back(request.args.get("next", ""))
        trip = _Trip(start.state, start.nonce, start.verifier, redirect_uri, back, self.gate.sessions.now_s())
        answer = _go(start.url)
        written = self.gate.signer.write("trip", msgspec.to_builtins(trip))
        self.gate.set_cookie(answer, self._trip_cookie, written, path=self._trip_path, max_age_s=ROUND_TRIP_S)
        return answer

    def login_back(self) -> Response:
        """Take the browser back from the provider."""
        provider = self._provider()
        trip = self._trip()
        given = request.args.get("state", "")
        if trip is None or not hmac.compare_digest(trip.state.encode(), given.encode("utf-8", "replace")):
            raise Refused("this log-in was not begun in this browser, or more than ten minutes ago: log in again")
        if request.args.get("iss", provider.settings.issuer) != provider.settings.issuer:
            raise Refused(f"another provider than {provider.settings.label} answered: log in again")
        if "code" not in request.args:
            raise Refused(_refusal(provider.settings.label, request.args.get("error", "")))
        code = request.args["code"]
        person = provider.finish(code=code, redirect_uri=trip.redirect_uri, nonce=trip.nonce, verifier=trip.verifier)
        self._admit(provider, person)
        answer = self._let_in(person.name, trip.back)
        if len(person.id_token) < LONGEST:
            self.gate.set_cookie(answer, self._token_cookie, person.id_token, path=f"{self.gate.base}/logout")
        return answer

    def logout_send(self) -> Response:
        """End the session: in the browser, on the server, and where the provider offers it also there."""
        held = self.gate.held()
        token = request.form.get("token", "")
        if held is not None and not _same(token, self.gate.form_token(held)):
            raise Refused("the log-out was not asked for by a page of this server: log out there")
        id_token = request.cookies.get(self._token_cookie, "")
        there = ""
        if self.provider is not None and id_token and held is not None:
            there = self.provider.end_url(id_token, self._own(f"{self.gate.base}/logout"))
        # not a redirect: a browser holds one to the policy of the form that led there
        answer = self._page("login/logged_out.html", there=there, label=self._label)
        self.gate.let_out(answer)
        self.gate.drop_cookie(answer, self._token_cookie, path=f"{self.gate.base}/logout")
        return answer

    def logged_out(self) -> Response:
        """Where the provider sends the browser after the log-out there; who is logged in may log out here."""
        held = self.gate.held()
        if held is not None:
            token = self.gate.form_token(held)
            return self._page("login/leave.html", user=held.user, token=token, back=f"{self.gate.base}/projects")
        return self._page("login/logged_out.html", there="", label="")

    def problem(self, error: HydraulicError) -> Response:
        """A page that says what is wrong, with the way back to the form."""
        status = 503 if isinstance(error, Unavailable) else 403
        return self._page("login/problem.html", message=str(error), status=status)

    def _admit(self, provider: Provider, person: Person) -> None:
        """Make the person a user, and an administrator, as [oidc] says; `Refused` where it does not let them in."""
        settings, users = provider.settings, self.gate.users
        if person.name.startswith(OWN):
            raise Refused(f"{person.name!r}: names that begin with {OWN!r} are of this server's own accounts")
        if settings.user_groups and not person.groups & {*settings.user_groups, *settings.admin_groups}:
            wanted = ", ".join(settings.user_groups)
            raise Refused(
                f"{person.name!r} is in none of the groups that may log in here ({wanted}): ask the administrator"
            )
        if users.password_hash(person.name) is None:
            if not settings.makes(person.name):
                raise Refused(f"{person.name!r} is no user of this server: ask its administrator to make you one")
            users.add(person.name)
        if settings.admin_groups:
            users.set_admin(person.name, bool(person.groups & set(settings.admin_groups)))
        if users.is_admin(person.name) and not person.groups & set(settings.admin_groups):
            raise Refused(
                f"{person.name!r} is an administrator of this server, and its configuration names no group of "
                f"{settings.label} that makes this account one: log in with the password"
            )

    def _let_in(self, name: str, back: str) -> Response:
        answer = _go(back)
        self.gate.let_in(answer, name)
        self.gate.drop_cookie(answer, self._trip_cookie, path=self._trip_path)
        self.gate.drop_cookie(answer, self._form_cookie)
        return answer

    def _form(self, back: str, *, user: str = "", message: str = "", status: int = 200) -> Response:
        settings = self.provider.settings if self.provider else None
        nonce = self._form_nonce() or secrets.token_urlsafe(24)
        answer = self._page(
            "login/form.html",
            status=status,
            message=message,
            user=user,
            next=back,
            token=self.gate.signer.mark("login form", nonce),
            passwords=settings is None or settings.passwords,
            label=self._label,
            start=f"{self.gate.base}/login/start?next={quote(back, safe='')}",
        )
        written = self.gate.signer.write("form", [nonce, self.gate.sessions.now_s()])
        self.gate.set_cookie(answer, self._form_cookie, written, max_age_s=FORM_S)
        return answer

    def _is_our_form(self) -> bool:
        nonce = self._form_nonce()
        return bool(nonce) and _same(request.form.get("token", ""), self.gate.signer.mark("login form", nonce))

    def _form_nonce(self) -> str:
        """What this browser's form was made for; "" where it has none that is still good."""
        said = self.gate.signer.read("form", request.cookies.get(self._form_cookie, ""))
        try:
            nonce, at = msgspec.convert(said, tuple[str, int])
        except msgspec.ValidationError:
            return ""
        return nonce if 0 <= self.gate.sessions.now_s() - at < FORM_S else ""

    def _trip(self) -> _Trip | None:
        said = self.gate.signer.read("trip", request.cookies.get(self._trip_cookie, ""))
        try:
            trip = msgspec.convert(said, _Trip)
        except msgspec.ValidationError:
            return None
        return trip if 0 <= self.gate.sessions.now_s() - trip.at_s < ROUND_TRIP_S else None

    def _page(self, template: str, *, status: int = 200, **shown: object) -> Response:
        text = (
            shell.engine()
            .get_template(template)
            .render(base=self.gate.base, version=VERSION, form=f"{self.gate.base}/login", **shown)
        )
        return Response(text, status=status, mimetype="text/html")

    def _provider(self) -> Provider:
        if self.provider is None:
            raise Refused("no OpenID Connect provider is configured here: log in with user and password")
        return self.provider

    def _own(self, path: str) -> str:
        named = self.provider.settings.server_url.rstrip("/") if self.provider else ""
        return (named or guard.own_origin()) + path

    def _back(self, given: str) -> str:
        return safe_path(given) or f"{self.gate.base}/projects"

    @property
    def _label(self) -> str:
        return self.provider.settings.label if self.provider else ""

    @property
    def _form_cookie(self) -> str:
        return f"hydraulic_form_{self.gate.signer.suffix}"

    @property
    def _trip_cookie(self) -> str:
        return f"hydraulic_trip_{self.gate.signer.suffix}"

    @property
    def _token_cookie(self) -> str:
        return f"hydraulic_token_{self.gate.signer.suffix}"

    @property
    def _trip_path(self) -> str:
        return f"{self.gate.base}/login"


def safe_path(given: str) -> str:
    """`given` where it is a path on this server, else "": what a browser would take for another one is refused.

    >>> safe_path("/hydraulic/projects?q=a#b"), safe_path("//elsewhere/"), safe_path("https:x")
    ('/hydraulic/projects?q=a#b', '', '')
    """
    if not given.startswith("/") or given.startswith("//") or "\\" in given or len(given) > 2000:
        return ""
    if not given.isprintable():  # browsers drop tabs and line ends: "/\t/elsewhere"
        return ""
    try:
        parts = urlsplit(given)
    except ValueError:
        return ""
    return "" if parts.scheme or parts.netloc else given


def _refusal(label: str, error: str) -> str:
    if error == "access_denied":
        return f"{label} did not let you in: it was cancelled there, or you may not use this server"
    named = error if error.replace("_", "").isalnum() and len(error) < 40 else "no code"
    return f"{label} did not let you in ({named}): log in again, or tell its administrator"


def _told(door: Door, view: Callable[[], Response]) -> Callable[[], Response]:
    """`view`, with errors as a page."""

    def answer() -> Response:
        try:
            return view()
        except HydraulicError as error:
            return door.problem(error)

    return answer


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _go(url: str) -> Response:
    return Response(status=303, headers={"Location": url})
