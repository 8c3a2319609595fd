"""The log-in: who gets in, for how long, and what ends it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.web.login.door import safe_path
from mlflow_hydraulic.web.login.session import IDLE_S, RENEW_S, WHOLE_S, Held, Sessions, Signer
from tests.support.login import PASSWORDS, Browser, Site, alert_of, make_site


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self):  # type: ignore[no-untyped-def]  # utc_now's type
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Site:
    return make_site(tmp_path, sessions=Sessions(Signer("the key of a test"), now=clock))


def test_the_right_password_lets_in_and_a_log_out_ends_every_copy_of_the_session(site: Site) -> None:
    browser = site.browser()
    assert browser.user() == ""
    answer = browser.log_in("ds1", back="/hydraulic/events?q=1#top")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/hydraulic/events?q=1#top")
    assert browser.user() == "ds1"
    cookie = browser.cookie()
    copy = site.browser()
    copy.client.set_cookie(cookie.key, cookie.value)
    assert copy.user() == "ds1"
    assert browser.log_out().status_code == 200
    assert browser.user() == "" and copy.user() == ""
    assert browser.log_in("ds1").status_code == 303 and browser.user() == "ds1"  # the next is another session


def test_the_cookie_is_for_no_script_and_no_other_site_and_for_https_alone_where_that_is_used(site: Site) -> None:
    browser = site.browser()
    for headers, secure in (({}, False), ({"X-Forwarded-Proto": "https"}, True)):
        answer = browser.log_in("ds1", **headers)
        said = [line for line in answer.headers.getlist("Set-Cookie") if line.startswith("hydraulic_session")]
        assert len(said) == 1 and "HttpOnly" in said[0] and "SameSite=Lax" in said[0] and "Path=/;" in said[0]
        assert ("Secure" in said[0]) is secure
        browser.log_out()


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ds1", "wrong"),
        ("nobody", "wrong"),
        ("", "x"),
        ("ds1\0", PASSWORDS["ds1"]),
        ("ds1", "\0" + PASSWORDS["ds1"]),
        ("ds1", "x" * 1025),
        ("x" * 256, "x"),
        ("DS1", PASSWORDS["ds1"]),
        ("ds1' or 1=1 --", "x"),
    ],
)
def test_nothing_else_lets_in_and_all_of_it_gets_the_same_answer(site: Site, name: str, password: str) -> None:
    browser = site.browser()
    answer = browser.log_in(name, password)
    assert (answer.status_code, alert_of(answer)) == (401, "Wrong user or password.")
    assert browser.user() == "" and f'value="{password}"' not in answer.get_data(as_text=True)


def test_a_session_ends_with_the_password_and_with_the_user(site: Site) -> None:
    browser = site.browser()
    browser.log_in("ds1")
    site.users.passwords["ds1"] = "another password"
    assert browser.user() == ""
    site.users.passwords["ds1"] = PASSWORDS["ds1"]
    assert browser.user() == "ds1"
    del site.users.passwords["ds1"]
    assert browser.user() == ""


def test_a_session_slides_while_it_is_used_and_ends_after_a_day_of_work(site: Site, clock: Clock) -> None:
    browser = site.browser()
    browser.log_in("ds1")
    clock.pass_s(IDLE_S + 1)
    assert browser.user() == ""
    browser.log_in("ds1")
    step = IDLE_S - 60
    assert step > RENEW_S
    for _ in range(WHOLE_S // step):
        clock.pass_s(step)
        assert browser.user() == "ds1"
    clock.pass_s(step)
    assert browser.user() == ""  # however busy it was


def test_a_forged_or_foreign_cookie_is_nobodys(site: Site, tmp_path: Path) -> None:
    other = make_site(_folder(tmp_path), secret="another key")
    stranger = other.browser()
    stranger.log_in("ds1")
    cookie = stranger.cookie()
    assert other.gate.sessions.cookie != site.gate.sessions.cookie
    real = site.gate.sessions.write(site.gate.sessions.begin("ds1", "hash of the password of ds1"))
    unmarked = Held(user="ds1", id="0" * 32, mark="", began_s=0, seen_s=0)
    forged = [cookie.value, real[:-1], real + "x", "", "." * 9, "é" * 40, "x" * 4010]
    forged.append(site.gate.signer.write("session", ["ds1"]))
    forged.append(site.gate.signer.write("known", ["ds1", "x"]))  # signed, for something else
    forged.append(site.gate.sessions.write(unmarked))
    for value in forged:
        browser = site.browser()
        browser.client.set_cookie(site.gate.sessions.cookie, value)
        assert browser.user() == "", value
    browser = site.browser()
    browser.client.set_cookie(site.gate.sessions.cookie, real)
    assert browser.user() == "ds1"


def test_a_cookie_does_not_write_for_another_sites_page(site: Site) -> None:
    browser = site.browser()
    browser.log_in("ds1")
    with site.app.test_request_context(
        "/api/2.0/mlflow/registered-models/create",
        method="POST",
        headers={"Cookie": _cookies(browser), "Origin": "http://elsewhere.example"},
    ):
        assert site.gate.held() is None
    with site.app.test_request_context("/any", method="POST", headers={"Cookie": _cookies(browser)}):
        assert site.gate.held() is not None


def test_the_forms_are_ours(site: Site) -> None:
    browser = site.browser()
    sent = {"user": "ds1", "password": PASSWORDS["ds1"]}
    assert browser.client.post("/hydraulic/login", data=sent).status_code == 400
    token = browser.token()
    assert site.browser().client.post("/hydraulic/login", data={**sent, "token": token}).status_code == 400
    assert browser.client.post("/hydraulic/login", data={**sent, "token": "é" + token}).status_code == 400
    assert browser.client.post("/hydraulic/login", data={**sent, "token": token}).status_code == 303
    for refused in ("", "x", "é", token):
        assert browser.client.post("/hydraulic/logout", data={"token": refused}).status_code == 403
    assert browser.user() == "ds1"


def test_an_open_form_of_yesterday_says_so_and_keeps_what_was_typed(site: Site, clock: Clock) -> None:
    browser = site.browser()
    token = browser.token()
    clock.pass_s(7200)
    sent = {"user": "ds1", "password": PASSWORDS["ds1"], "token": token}
    answer = browser.client.post("/hydraulic/login", data=sent)
    assert answer.status_code == 400 and "too long" in alert_of(answer)
    assert 'value="ds1"' in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    "given",
    [
        *("//elsewhere.example", "https://elsewhere.example", "\\\\elsewhere.example", "/\\elsewhere.example"),
        *("/\t/elsewhere.example", "/\n/elsewhere.example", "javascript:alert(1)", "elsewhere", "", "/" + "x" * 2001),
        *("http:/elsewhere.example", "/\r\nSet-Cookie: a=b", " //elsewhere.example", "///elsewhere.example"),
    ],
)
def test_no_way_back_leads_to_another_server(site: Site, given: str) -> None:
    assert safe_path(given) == ""
    answer = site.browser().log_in("ds1", back=given)
    assert answer.headers["Location"] == "/hydraulic/projects"


def test_a_hostile_name_and_way_back_are_shown_as_text(site: Site) -> None:
    hostile = '"><script>alert(1)</script>'
    answer = site.browser().log_in(hostile, "x", back="/" + hostile)
    assert "<script>alert" not in answer.get_data(as_text=True) and "&lt;script&gt;" in answer.get_data(as_text=True)


def test_guesses_at_once_are_not_all_looked_at(site: Site) -> None:
    browsers = [(browser, browser.token()) for browser in (site.browser() for _ in range(20))]

    def guess(one: tuple[Browser, str]) -> int:
        sent = {"user": "ds1", "password": "guess", "token": one[1]}
        return one[0].client.post("/hydraulic/login", data=sent).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, browsers))
    assert answers.count(429) >= 13 and site.users.checked <= 7


def test_a_strangers_guesses_keep_no_browser_out_that_logged_in_before(site: Site) -> None:
    known, stranger, new = site.browser(), site.browser(), site.browser()
    known.log_in("ds1")
    known.log_out()
    answers = [stranger.log_in("ds1", f"guess {number}").status_code for number in range(9)]
    assert answers[:5] == [401] * 5 and answers[-1] == 429
    site.users.passwords["ds1"] = "changed meanwhile"  # so that nothing but the browser speaks for itself
    refused = new.log_in("ds1", "changed meanwhile")
    assert refused.status_code == 429 and int(refused.headers["Retry-After"]) <= 60
    assert "try again in" in alert_of(refused)
    assert known.log_in("ds1", "changed meanwhile").status_code == 303
    assert stranger.log_in("ds2").status_code == 303  # another name at the same address


def test_under_a_prefix_all_of_it_stays_there(tmp_path: Path) -> None:
    site = make_site(tmp_path, prefix="/ml")
    browser = Browser(site.app.test_client(), site.gate)
    answer = browser.log_in("ds1")
    assert answer.headers["Location"] == "/ml/hydraulic/projects"
    assert all("Path=/ml" in line for line in answer.headers.getlist("Set-Cookie"))
    assert browser.client.get("/ml/api/2.0/hydraulic/about").get_json()["user"] == "ds1"


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


def _cookies(browser: Browser) -> str:
    cookie = browser.cookie()
    return f"{cookie.key}={cookie.value}"
