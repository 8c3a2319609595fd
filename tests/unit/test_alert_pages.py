"""Alerts as pages and REST: who sees which, who may act, what is written down, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence import queries
from mlflow_hydraulic.monitor.alerts import judge
from mlflow_hydraulic.monitor.findings import Subject
from mlflow_hydraulic.monitor.rules import Rules
from mlflow_hydraulic.people.rights import Role, Who
from mlflow_hydraulic.web.filters import utc
from tests.support.alerting import COOLER, finding
from tests.support.house import ADMIN, TestHouse, add_model, add_project, client, make_house

API = "/api/2.0/hydraulic/alerts"
PUMP = Subject(environment="dev", deployment="pump", model="hydraulic-pump")
ORPHAN = Subject(environment="dev", deployment="gone", model="")
NOW = utc_now()
ACTS = ("acknowledge", "mute", "unmute", "close")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[TestHouse]:
    """hydraulic-cooler is in the project rig, with a member of each role; hydraulic-pump in nobody's."""
    made = make_house(tmp_path, who=Who(name="operator"))
    add_project(made.engine, "rig", {role.value: role for role in Role})
    add_model(made.engine, "hydraulic-cooler", "rig")
    add_model(made.engine, "hydraulic-pump")
    found = [finding("o", 0, NOW, rule="shape"), finding("r", 0, NOW), finding("r", 0, NOW, subject=PUMP)]
    judge(made.engine, [*found, finding("r", 0, NOW, subject=ORPHAN)], Rules(), NOW)
    yield made


@pytest.fixture
def browser(house: TestHouse) -> FlaskClient:
    return client(house)


def listed(browser: FlaskClient, **query: object) -> list[dict[str, Any]]:
    answer = browser.get(API, query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json["items"]  # type: ignore[index, no-any-return]


def act(browser: FlaskClient, alert: str, what: str, reason: str = "pump is on order", **body: object) -> Any:
    headers = {"X-Hydraulic-Reason": quote(reason)}
    return browser.post(f"{API}/{alert}/{what}", json=body or ({"hours": 2} if what == "mute" else {}), headers=headers)


def test_one_sees_the_alerts_of_ones_own_models_the_worst_first(house: TestHouse, browser: FlaskClient) -> None:
    assert [(one["rule"], one["colour"]) for one in listed(browser)] == [("inputs", "red"), ("shape", "orange")]
    assert [one["rule"] for one in listed(browser, colour="orange")] == ["shape"]
    assert listed(browser, project="rig", deployment="cooler") and not listed(browser, deployment="pump")
    assert listed(browser, project="nobodys") == [] and listed(browser, level="service") == []
    house.accounts.caller = ADMIN
    assert {one["deployment"] for one in listed(browser)} == {"cooler", "pump", "gone"}
    assert {one["deployment"] for one in listed(browser, project="rig")} == {"cooler"}
    house.accounts.caller = Who(name="eve")
    assert listed(browser) == [] and "No alert is open" in browser.get("/hydraulic/alerts").text
    house.accounts.permissions["eve", "hydraulic-pump"] = "read"
    assert [one["deployment"] for one in listed(browser)] == ["pump"]


def test_a_list_takes_few_queries_however_long_it_is(house: TestHouse, browser: FlaskClient) -> None:
    many = [Subject(environment="prod", deployment=f"d{number}", model="hydraulic-cooler") for number in range(80)]
    judge(house.engine, [finding("r", 0, NOW, subject=one) for one in many], Rules(), NOW)
    said: list[str] = []
    event.listen(house.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    first = browser.get(API, query_string={"size": 50}).json
    assert first and first["total"] == 82 and len(first["items"]) == 50 and len(said) <= 4, said
    assert len(listed(browser, size=50, page=2)) == 32 and listed(browser, page=1000) == []
    assert "Alerts 51 to 82 of 82" in browser.get("/hydraulic/alerts", query_string={"page": 2}).text


def test_who_may_act_acts_and_the_ledger_knows_it(house: TestHouse, browser: FlaskClient) -> None:
    alert = listed(browser)[0]["id"]
    for role in Role:
        house.accounts.caller = Who(name=role.value)
        may = role in (Role.OPERATOR, Role.OWNER)
        assert browser.get(f"{API}/{alert}").json["may_act"] is may  # type: ignore[index]
        assert ('data-open="acknowledge"' in browser.get(f"/hydraulic/alerts/{alert}").text) is may
        if not may:
            for what in ACTS:
                refused = act(browser, alert, what)
                assert refused.status_code == 403 and "operator or owner" in refused.json["message"], (role, what)
    house.accounts.caller = Who(name="operator")
    assert act(browser, alert, "acknowledge", "Grüße").json["alert"]["acknowledged_because"] == "Grüße"
    mute = act(browser, alert, "mute").json["alert"]["mutes"][0]
    assert mute["by"] == "operator"
    for path in ("", f"/{alert}"):
        assert f"until {utc(mute['until'])}" in browser.get(f"/hydraulic/alerts{path}").text
    assert [one["rule"] for one in listed(browser, state="muted")] == ["inputs"]
    assert [one["rule"] for one in listed(browser, state="open")] == ["shape"]
    assert act(browser, alert, "unmute").json["alert"]["mutes"] == []
    assert act(browser, alert, "close").json["alert"]["state"] == "closed"
    with house.engine.connect() as connection:
        rows = queries.newest(connection, queries.Asked(actor="operator"), 9)
    assert sorted((row.verb, row.reason) for row in rows)[-1] == ("mute", "pump is on order") and len(rows) == 4
    story = browser.get(f"{API}/{alert}").json["story"]  # type: ignore[index]
    assert [step["what"] for step in story] == ["closed", "acknowledged", "opened"]
    assert listed(browser, state="closed")[0]["reason"] == "pump is on order"


def test_what_one_may_not_see_is_answered_as_what_is_not_there(house: TestHouse, browser: FlaskClient) -> None:
    alert = listed(browser)[0]["id"]
    house.accounts.caller = Who(name="eve")
    told = {browser.get(f"{API}/{one}").json["message"].replace(one, "X") for one in (alert, "0" * 10)}  # type: ignore[index]
    assert len(told) == 1
    for path in (f"{API}/{alert}/plot", f"/hydraulic/alerts/{alert}"):
        assert browser.get(path).status_code == 404
    assert {act(browser, alert, what).status_code for what in ACTS} == {404}
    house.accounts.caller = ADMIN
    gone = next(one["id"] for one in listed(browser) if one["deployment"] == "gone")
    assert act(browser, gone, "acknowledge").status_code == 200, "of no model that is registered: administrators may"


def test_what_cannot_be_done_is_said(browser: FlaskClient) -> None:
    alert = listed(browser)[0]["id"]
    assert "reason is empty" in act(browser, alert, "acknowledge", "  ").json["message"]
    for body in (
        {"hours": 0},
        {"hours": 1e9},
        {"until": "soon"},
        {"until": "2001-01-01"},
        {"hours": 1, "until": "2030-01-01"},
    ):
        assert act(browser, alert, "mute", **body).status_code == 400, body
    assert act(browser, alert, "mute", until="9999-01-01").status_code == 400
    assert act(browser, alert, "unmute").status_code == 404
    assert act(browser, alert, "close").status_code == 200
    again = act(browser, alert, "close")
    assert again.status_code == 409 and "closed" in again.json["message"]
    for text in ("\0", "x" * 5000, "%", alert[:4]):
        assert browser.get(f"{API}/{quote(text, safe='')}").status_code == 404, text
    for query in (
        {"state": "odd"},
        {"page": 0},
        {"size": 9999},
        {"size": "1e400"},
        {"unknown": 1},
        {"project": "x" * 300},
    ):
        assert browser.get(API, query_string=query).status_code == 400, query


def test_two_at_once_are_both_written_down_or_told(house: TestHouse) -> None:
    alert = listed(client(house))[0]["id"]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: act(client(house), alert, "close").status_code, range(2)))
    assert sorted(done) == [200, 409]


def test_the_page_tells_who_was_told_and_escapes_every_text(house: TestHouse, browser: FlaskClient) -> None:
    hostile = "</title><script>alert(1)</script>"
    judge(house.engine, [finding("r", 1, NOW, rule=hostile)], Rules(), utc_now())
    for one in listed(browser):
        text = browser.get(f"/hydraulic/alerts/{one['id']}").text
        assert "<td>log</td>" in text and "waits" in text and "4.2 bar higher" in text
        assert hostile not in text and f"/alerts/{one['id']}/plot" in text
    plot = browser.get(f"{API}/{listed(browser)[0]['id']}/plot")
    assert (
        plot.mimetype == "image/svg+xml"
        and plot.data == b"<svg/>"
        and "script-src 'self'" in plot.headers["Content-Security-Policy"]
    )
    assert hostile not in browser.get("/hydraulic/alerts").text
    assert COOLER.deployment in browser.get("/hydraulic/alerts?environment=prod").text
