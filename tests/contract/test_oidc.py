"""OpenID Connect over real HTTP with a provider that lies: who gets in, who does not, and what they are told.

`tests/integration/test_login_oidc.py` has a real provider.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import TestResponse

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.settings import TABLES
from mlflow_hydraulic.web.login.settings import SECRET as VARIABLE
from mlflow_hydraulic.web.login.settings import OidcSettings, read_oidc
from tests.support.login import Browser, Site, alert_of, make_site
from tests.support.oidc import CLIENT, SECRET, FakeProvider, fake_provider


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with fake_provider() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def site_with(folder: Path, provider: FakeProvider, **settings: Any) -> Site:
    given = {"client_id": CLIENT, "client_secret": SECRET, "label": "Campus", **settings}
    return make_site(folder, oidc=OidcSettings(issuer=provider.issuer, **given))


def go(browser: Browser, provider: FakeProvider, back: str = "") -> TestResponse:
    """The whole way: from the form's link to the provider, which lets in, and back here."""
    started = browser.client.get("/hydraulic/login/start", query_string={"next": back})
    assert started.status_code == 303, alert_of(started)
    returned = urlsplit(provider.allow(started.headers["Location"]))
    return browser.client.get(f"{returned.path}?{returned.query}")


def test_who_the_provider_knows_comes_in_and_back_to_where_they_were(folder: Path, provider: FakeProvider) -> None:
    site = site_with(folder, provider)
    browser = site.browser()
    page = browser.client.get("/hydraulic/login?next=/hydraulic/events").get_data(as_text=True)
    assert "Log in with Campus" in page and "/hydraulic/login/start?next=%2Fhydraulic%2Fevents" in page
    answer = go(browser, provider, "/hydraulic/events")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/hydraulic/events")
    assert browser.user() == "ds1"
    assert "/userinfo" not in provider.asked  # the ID token said enough
    assert SECRET not in "".join(answer.headers.getlist("Set-Cookie"))


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another client"}, "aud"),
        ({"aud": [CLIENT, "another"]}, "azp"),
        ({"aud": None}, "aud"),
        ({"azp": "another client"}, "azp"),
        ({"iss": "https://elsewhere.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"exp": int(time.time()) - 600}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": int(time.time()) + 600}, "iat"),
        ({"sub": None}, "sub"),
        ({"at_hash": "not that"}, "at_hash"),
        ({"preferred_username": 7}, "preferred_username"),
        ({"preferred_username": ""}, "preferred_username"),
        ({"preferred_username": "a\nb"}, "preferred_username"),
        ({"preferred_username": "x" * 256}, "preferred_username"),
    ],
)
def test_a_token_that_is_not_for_us_and_now_lets_nobody_in(
    folder: Path, provider: FakeProvider, claims: dict[str, Any], told: str
) -> None:
    provider.claims = claims
    site = site_with(folder, provider, users=("*",))
    browser = site.browser()
    answer = go(browser, provider)
    assert answer.status_code == 403 and told in alert_of(answer)
    assert browser.user() == "" and set(site.users.passwords) == {"admin", "ds1", "ds2"}


@pytest.mark.parametrize("signature", ["other", "secret", "none"])
def test_a_token_that_the_provider_did_not_sign_lets_nobody_in(
    folder: Path, provider: FakeProvider, signature: str
) -> None:
    provider.signature = signature
    browser = site_with(folder, provider).browser()
    answer = go(browser, provider)
    assert answer.status_code == 403 and "cannot be trusted" in alert_of(answer)
    assert browser.user() == ""


def test_clocks_may_differ_by_a_minute(folder: Path, provider: FakeProvider) -> None:
    provider.claims = {"iat": int(time.time()) + 40, "exp": int(time.time()) + 100}
    assert go(site_with(folder, provider).browser(), provider).status_code == 303


def test_what_came_back_serves_once_and_in_the_browser_that_began(folder: Path, provider: FakeProvider) -> None:
    site = site_with(folder, provider)
    browser, thief = site.browser(), site.browser()
    started = browser.client.get("/hydraulic/login/start")
    returned = urlsplit(provider.allow(started.headers["Location"]))
    back = f"{returned.path}?{returned.query}"
    refused = thief.client.get(back)
    assert refused.status_code == 403 and "not begun in this browser" in alert_of(refused)
    trip = browser.client.get_cookie(f"hydraulic_trip_{site.gate.signer.suffix}", path="/hydraulic/login")
    assert trip is not None
    assert browser.client.get(back).status_code == 303
    assert "not begun in this browser" in alert_of(browser.client.get(back))
    browser.client.set_cookie(trip.key, trip.value, path="/hydraulic/login")  # a copy of the cookie helps nobody
    replayed = browser.client.get(back)
    assert replayed.status_code == 403 and "invalid_grant" in alert_of(replayed)
    browser.client.get("/hydraulic/login/start")
    for state in ("", "other", "é"):  # a log-in that somebody else began and sends along
        forged = browser.client.get("/hydraulic/login/back", query_string={"state": state, "code": "x"})
        assert forged.status_code == 403 and "not begun in this browser" in alert_of(forged)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"error": "access_denied"}, "cancelled there"),
        ({"error": "server_error", "error_description": "<b>boom</b>"}, "(server_error)"),
        ({"error": "<script>"}, "(no code)"),
        ({}, "(no code)"),
    ],
)
def test_a_refusal_by_the_provider_is_told(
    folder: Path, provider: FakeProvider, query: dict[str, str], told: str
) -> None:
    browser = site_with(folder, provider).browser()
    started = browser.client.get("/hydraulic/login/start")
    state = parse_qs(urlsplit(started.headers["Location"]).query)["state"][0]
    answer = browser.client.get("/hydraulic/login/back", query_string={**query, "state": state})
    text = answer.get_data(as_text=True)
    assert answer.status_code == 403 and told in text and "<script>" not in text and "<b>" not in text


def test_a_provider_that_is_away_or_something_else_is_told(folder: Path, provider: FakeProvider) -> None:
    site = site_with(folder, provider)
    provider.broken = "/.well-known/openid-configuration"
    assert "something else than OpenID Connect" in alert_of(site.browser().client.get("/hydraulic/login/start"))
    provider.broken, provider.metadata = "", {"issuer": "https://elsewhere.example"}
    assert "calls itself" in alert_of(site.browser().client.get("/hydraulic/login/start"))
    provider.metadata = {}
    for broken in ("/token", "/jwks"):
        provider.broken = broken
        answer = go(site.browser(), provider)
        assert answer.status_code == 403 and SECRET not in answer.get_data(as_text=True)
    provider.broken, provider.id_token = "", False
    assert "no ID token" in alert_of(go(site.browser(), provider))
    provider.id_token = True
    assert go(site.browser(), provider).status_code == 303  # each of them passes
    away = make_site(_new(folder, "away"), oidc=OidcSettings(issuer="http://127.0.0.1:9", client_id=CLIENT))
    answer = away.browser().client.get("/hydraulic/login/start")
    assert answer.status_code == 503 and "does not answer" in alert_of(answer)


def test_a_wrong_client_secret_is_told_with_the_variable_to_look_at(folder: Path, provider: FakeProvider) -> None:
    answer = go(site_with(folder, provider, client_secret="a wrong secret").browser(), provider)
    assert VARIABLE in alert_of(answer) and "a wrong secret" not in answer.get_data(as_text=True)


def test_who_becomes_a_user_is_said_by_the_table(folder: Path, provider: FakeProvider) -> None:
    provider.claims = {"preferred_username": "new@lab.example"}
    site = site_with(folder, provider)
    answer = go(site.browser(), provider)
    assert answer.status_code == 403 and "no user of this server" in alert_of(answer)
    assert "new@lab.example" not in site.users.passwords
    site = site_with(_new(folder, "open"), provider, users=("*@lab.example",))
    browser = site.browser()
    assert go(browser, provider).status_code == 303
    assert browser.user() == "new@lab.example" and "new@lab.example" not in site.users.admins


def test_groups_say_who_may_log_in_and_who_administers(folder: Path, provider: FakeProvider) -> None:
    groups = {"groups_claim": "groups", "user_groups": ("data",), "admin_groups": ("ops",)}
    site = site_with(folder, provider, **groups)
    provider.userinfo = {"groups": ["sales"]}  # not in the ID token: asked for
    answer = go(site.browser(), provider)
    assert answer.status_code == 403 and "none of the groups" in alert_of(answer)
    provider.userinfo = {"groups": ["data", "ops"]}
    assert go(site.browser(), provider).status_code == 303 and "ds1" in site.users.admins
    provider.userinfo = {"groups": "data"}
    assert go(site.browser(), provider).status_code == 303 and "ds1" not in site.users.admins
    provider.userinfo = {"groups": ["ops"], "sub": "another person"}
    assert go(site.browser(), provider).status_code == 403 and "ds1" not in site.users.admins


def test_a_namesake_of_the_controller_is_nobody_here(folder: Path, provider: FakeProvider) -> None:
    provider.claims = {"preferred_username": "hydraulic-controller", "groups": ["ops"]}
    site = site_with(folder, provider, groups_claim="groups", admin_groups=("ops",))
    site.users.passwords["hydraulic-controller"] = "of the machine"
    site.users.admins.add("hydraulic-controller")
    browser = site.browser()
    assert go(browser, provider).status_code == 403 and browser.user() == ""
    assert "hydraulic-controller" in site.users.admins


def test_a_namesake_at_the_provider_is_no_administrator_here(folder: Path, provider: FakeProvider) -> None:
    provider.claims = {"preferred_username": "admin"}
    answer = go(site_with(folder, provider).browser(), provider)
    assert answer.status_code == 403 and "log in with the password" in alert_of(answer)
    site = site_with(folder, provider, groups_claim="groups", admin_groups=("ops",))
    for groups, status in (([], 403), (["sales"], 403), (["ops"], 303)):
        provider.userinfo = {"groups": groups}
        browser = site.browser()
        assert go(browser, provider).status_code == status and browser.user() == ("admin" if status == 303 else "")


def test_an_address_that_nobody_verified_is_no_name(folder: Path, provider: FakeProvider) -> None:
    site = site_with(folder, provider, username_claim="email", users=("*",))
    provider.claims = {"email": "ds1", "email_verified": False}
    answer = go(site.browser(), provider)
    assert answer.status_code == 403 and "not verified" in alert_of(answer)
    provider.claims = {"email": "ds1", "email_verified": True}
    assert go(site.browser(), provider).status_code == 303


def test_a_log_out_goes_on_to_the_provider(folder: Path, provider: FakeProvider) -> None:
    site = site_with(folder, provider, server_url="https://models.example")
    browser = site.browser()
    assert go(browser, provider).status_code == 303
    page = browser.log_out().get_data(as_text=True)
    assert (
        f"url={provider.issuer}/end?id_token_hint=" in page
        and "https%3A%2F%2Fmodels.example%2Fhydraulic%2Flogout" in page
    )
    assert browser.user() == ""
    browser.log_in("ds1")  # with the password: the provider has no part in it
    assert provider.issuer not in browser.log_out().get_data(as_text=True)


def test_passwords_can_be_left_to_the_provider(folder: Path, provider: FakeProvider) -> None:
    browser = site_with(folder, provider, passwords=False).browser()
    assert 'type="password"' not in browser.client.get("/hydraulic/login").get_data(as_text=True)
    sent = {"user": "ds1", "password": "the password of ds1"}
    assert browser.client.post("/hydraulic/login", data=sent).status_code == 403


GOOD = {"issuer": "https://id.example", "client_id": "mlflow"}


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({}, "issuer and client_id must be given"),
        ({"client_id": "x"}, "issuer must be given"),
        ("x", "must be given"),
        ({**GOOD, "isuer": "x"}, "isuer"),
        ({**GOOD, "scopes": "openid"}, "array"),
        ({**GOOD, "scopes": ["email"]}, 'must hold "openid"'),
        ({**GOOD, "issuer": "http://id.example"}, "https://"),
        ({**GOOD, "issuer": "id.example"}, "https://"),
        ({**GOOD, "server_url": "models.example"}, "server_url"),
        ({**GOOD, "client_secret": "x"}, VARIABLE),
        ({**GOOD, "admin_groups": ["ops"]}, "groups_claim"),
    ],
)
def test_a_wrong_table_is_told_before_the_server_starts(table: Any, named: str) -> None:
    with pytest.raises(BadInput, match=r"\[oidc\]") as raised:
        read_oidc({"oidc": table}, {})
    assert named in str(raised.value)


def test_the_secret_is_a_variable_and_shown_nowhere() -> None:
    assert read_oidc({}, {}) is None and "oidc" in TABLES
    found = read_oidc({"oidc": GOOD}, {VARIABLE: "hidden"})
    assert found is not None and found.client_secret == "hidden" and "hidden" not in f"{found} {found!r}"


def _new(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
