"""What the pages of deployments show, to whom, and how they say that it is old. A real database, no server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, update

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.configuration import Configuration
from mlflow_hydraulic.deployment import deployment_name
from mlflow_hydraulic.evidence.ledger import Event, Row
from mlflow_hydraulic.evidence.sight import Note
from mlflow_hydraulic.evidence.tables import ledger
from mlflow_hydraulic.evidence.words import sentence
from mlflow_hydraulic.people.rights import Role, Who
from tests.support.house import ADMIN, DS1, DS2, TestHouse, add_model, add_project, client, make_house
from tests.support.seen import deployment, moved, part, ran, say, show

STRANGER = Who(name="stranger")
API = "/api/2.0/hydraulic/deployments"
PAGE = "/hydraulic/deployments"


@pytest.fixture
def house(tmp_path: Path) -> TestHouse:
    """A project of ds1's that ds2 reads; `free` is in none."""
    made = make_house(tmp_path, who=DS1)
    add_project(made.engine, "rig", {"ds1": Role.OWNER, "ds2": Role.READER})
    for model in ("cooler", "valve"):
        add_model(made.engine, model, "rig")
    add_model(made.engine, "free")
    return made


def items(browser: FlaskClient, query: str = "") -> list[dict[str, Any]]:  # Any: JSON
    answer = browser.get(f"{API}?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["items"]  # type: ignore[index]
    return found


def names(found: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{one['environment']}/{one['deployment']}" for one in found]


def test_a_line_tells_what_runs_since_when_and_by_whose_word(house: TestHouse) -> None:
    say(house, moved("cooler", 2, "Staging", "ds1", "refit"), ran("cooler", 2))
    arms = (part(2, role="arm", traffic=30), part(3, role="arm", traffic=70))
    show(house, deployment("cooler", *arms), deployment("valve", part(1), part(2, role="challenger")))
    cooler, valve = items(client(house))
    assert (cooler["type"], cooler["version"], cooler["versions"]) == ("A/B", "3", "v2 30%/v3 70%")
    assert (cooler["project"], cooler["deployed_by"], cooler["reason"]) == ("rig", "ds1", "refit")
    assert cooler["deployed"] <= utc_now().isoformat()
    assert (valve["type"], valve["versions"], valve["deployed"]) == ("champion/challenger", "v1 + challenger v2", "")


def test_what_is_said_of_what_comes_next_is_not_what_runs(house: TestHouse) -> None:
    say(house, moved("cooler", 1, "Production", "ds2", "of PROD"), moved("cooler", 2, "Staging", "ds1", "refit"))
    say(house, ran("cooler", 2), moved("cooler", 2, "Archived", "ds2", "sold"))
    show(house, deployment("cooler", part(2)), deployment("valve"))
    cooler, _ = items(client(house))
    assert (cooler["deployed_by"], cooler["reason"]) == ("ds1", "refit")
    say(house, moved("cooler", 3, "Staging", "ds2", "again"), ran("cooler", 3))
    cooler, _ = items(client(house))
    assert (cooler["deployed_by"], cooler["reason"]) == ("ds2", "again")


def test_one_sees_what_is_shared_and_nothing_else(house: TestHouse) -> None:
    show(
        house,
        deployment("cooler"),
        deployment("free"),
        deployment("loose", model="runs-model", managed=False),
        deployment("theirs", model="other/cooler", managed=False),
    )
    seen = {}
    for who in (DS1, DS2, STRANGER, ADMIN, Who()):
        house.accounts.caller = who
        browser = client(house)
        seen[who.actor] = names(items(browser))
        for name in ("cooler", "free", "loose", "theirs"):
            there = browser.get(f"{API}/dev/{name}").status_code, browser.get(f"{PAGE}/dev/{name}").status_code
            assert there == ((200, 200) if f"dev/{name}" in seen[who.actor] else (404, 404)), (who, name)
    assert seen["ds1"] == seen["ds2"] == ["dev/cooler"]
    assert seen["stranger"] == []
    assert seen["admin"] == seen["anonymous"] == ["dev/cooler", "dev/free", "dev/theirs", "dev/loose"]
    house.accounts.caller = STRANGER
    house.accounts.permissions["stranger", "free"] = "read"
    assert names(items(client(house))) == ["dev/free"], "MLflow's own permission"


def test_filters_sorts_and_pages_on_the_server(house: TestHouse) -> None:
    prod = replace(deployment("valve", part(7)), environment="prod")
    show(house, deployment("cooler", state="failed"), deployment("valve", part(1), part(2, role="challenger")), prod)
    browser = client(house)
    assert names(items(browser, "text=VALVE+v7")) == ["prod/valve"]
    assert names(items(browser, "environment=prod")) == ["prod/valve"]
    assert names(items(browser, "state=failed")) == ["dev/cooler"]
    assert names(items(browser, "type=champion/challenger")) == ["dev/valve"]
    assert names(items(browser, "project=rig&sort=state&order=desc"))[-1] == "dev/cooler"
    assert items(browser, "project=none") == []
    assert names(items(browser, "size=2&page=2")) == ["prod/valve"]
    assert items(browser, "page=99") == []
    page = browser.get(f"{PAGE}?size=1&page=2&sort=environment")
    assert "2 to 2 of 3" in page.text
    assert 'href="?sort=environment&amp;size=1"' in page.text
    for wrong in ("page=0", "size=9999", "sort=said", "unknown=1", "state=well", f"text={'x' * 201}"):
        assert browser.get(f"{API}?{wrong}").status_code == 400, wrong


def test_nothing_there_says_what_to_do(house: TestHouse) -> None:
    browser = client(house)
    assert "No deployments available" in browser.get(PAGE).text
    show(house, deployment("cooler"))
    assert "No deployment fits this filter" in browser.get(f"{PAGE}?text=nothing").text


def test_it_takes_as_many_queries_for_a_hundred_as_for_one(house: TestHouse) -> None:
    counted: list[str] = []
    event.listen(house.engine, "before_cursor_execute", lambda *given: counted.append(given[2]))

    def queries(*count: int) -> list[int]:
        taken = []
        for number in count:
            show(house, *(deployment(f"cooler-{i}", model="cooler") for i in range(number)))
            say(house, *(ran(f"cooler-{i}", 1) for i in range(number)))
            for path in (API, PAGE):
                counted.clear()
                assert client(house).get(f"{path}?size=200").status_code == 200
                taken.append(len(counted))
        return taken

    one, one_page, many, many_page = queries(1, 100)
    assert (many, many_page) == (one, one_page)
    assert one <= 10


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/dev/cooler"])
def test_what_was_seen_long_ago_is_not_told_as_healthy(house: TestHouse, path: str) -> None:
    browser = client(house)
    show(house, deployment("cooler"))
    assert "state-healthy" in browser.get(path).text
    show(house, deployment("cooler"), at=utc_now() + timedelta(seconds=6))  # a clock that is ahead does no harm
    assert "state-healthy" in browser.get(path).text
    with house.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM hydraulic_sight_looks")
    assert "no controller has looked here yet" in browser.get(path).text
    show(house, deployment("cooler"), at=utc_now() - timedelta(minutes=5, seconds=2))
    old = browser.get(path).text
    assert "the controller has not looked for 5 min" in old
    assert "state-healthy" not in old
    assert "was healthy" in old
    show(house, blind={"dev": "connection refused"})
    blind = browser.get(path).text
    assert "its target does not answer: connection refused; seen last 5 min ago" in blind
    assert "state-healthy" not in blind
    (line,) = items(browser)
    assert line["state"] == "healthy"
    assert line["late"]


def test_one_that_failed_shows_cause_log_and_when_it_is_tried_again(house: TestHouse) -> None:
    note = Note(kind="failed", text="no room", wanted="v1", due=utc_now().isoformat())
    log = ("Traceback", "<script>alert(1)</script>")
    show(house, deployment("cooler", state="failed", endpoint="", cause="no <b>room</b>", log=log, note=note))
    page = client(house).get(f"{PAGE}/dev/cooler").text
    assert "no &lt;b&gt;room&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "Tried again" in page
    assert "<script>alert" not in page


def test_the_way_to_healthy_is_shown_while_it_is_gone(house: TestHouse) -> None:
    show(house, deployment("cooler", state="launching", endpoint=""))
    page = client(house).get(f"{PAGE}/dev/cooler").text
    assert '<li class="done">preparing</li>' in page
    assert '<li class="now" aria-current="step">launching</li>' in page
    assert 'data-refresh="2"' in page, "looked at often while it moves"


def test_one_that_nobody_saw_yet_is_told_as_not_found(house: TestHouse) -> None:
    add_model(house.engine, "Kühler 1", "rig")
    named = deployment_name("Kühler 1")
    browser = client(house)
    for name in ("cooler", named):
        found = browser.get(f"{API}/dev/{name}")
        assert found.json["line"]["state"] == "not found"  # type: ignore[index]
        assert "Nothing runs under this name" in browser.get(f"{PAGE}/dev/{name}").text
    assert browser.get(f"{API}/qa/cooler").status_code == 404, "no such environment"
    assert browser.get(f"{API}/dev/{named[:-1]}0").status_code == 404
    house.accounts.caller = STRANGER
    assert browser.get(f"{API}/dev/cooler").status_code == 404
    for hostile in ("%00", "%ff", "..%2f..", quote("'; drop table x; --"), "x" * 3000):
        assert browser.get(f"{API}/dev/{hostile}").status_code in (400, 404)


def test_the_past_names_who_asked_and_why(house: TestHouse) -> None:
    say(
        house,
        moved("cooler", 1, "Staging", "ds1", "first"),
        ran("cooler", 1),
        moved("cooler", 2, "Staging", "ds2", "refit"),
        ran("cooler", 2),
        Event(verb="runs", subject="dev/cooler", actor="unknown", model="cooler", environment="dev", reason="found"),
        ran("cooler", 1, 2),
    )
    show(house, deployment("cooler", part(1, role="arm", traffic=50), part(2, role="arm", traffic=50)))
    browser = client(house)
    past = browser.get(f"{API}/dev/cooler").json["history"]  # type: ignore[index]
    told = [(one["composition"], one["by"], one["reason"], one["now"], one["version"]) for one in past]
    assert told == [
        ("v1 50%/v2 50%", "ds2", "refit", True, 1),
        ("", "unknown", "found", False, 0),
        ("v2", "ds2", "refit", False, 2),
        ("v1", "ds1", "first", False, 1),
    ]
    assert past[1]["until"] == past[0]["at"]
    page = browser.get(f"{PAGE}/dev/cooler").text
    assert "/dev/cooler/rollback?what=v2" in page
    house.accounts.caller = DS2
    assert "rollback?what" not in client(house).get(f"{PAGE}/dev/cooler").text, "a reader is offered no rollback"


def test_a_step_of_a_canary_is_nothing_to_go_back_to(house: TestHouse) -> None:
    began, ended = (
        Event(
            verb="canary",
            subject="dev/cooler",
            actor="hydraulic-controller",
            model="cooler",
            environment="dev",
            after={"phase": phase, "from": 1, "to": 2, "share": share},
        )
        for phase, share in (("begin", 50), ("done", 100))
    )
    say(house, ran("cooler", 1), began, ran("cooler", 1, 2), ended, ran("cooler", 2), ran("cooler", 1, 2))
    say(house, ran("cooler", 1))
    show(house, deployment("cooler"))
    browser = client(house)
    past = browser.get(f"{API}/dev/cooler").json["history"]  # type: ignore[index]
    assert [(one["composition"], one["version"]) for one in past] == [
        ("v1", 1),
        ("v1 50%/v2 50%", 1),
        ("v2", 2),
        ("v1 50%/v2 50%", 0),
        ("v1", 1),
    ]
    assert browser.get(f"{PAGE}/dev/cooler").text.count("/dev/cooler/rollback?what=v1%2050%25/v2%2050%25") == 1


def test_a_row_of_the_past_that_was_tampered_with_is_shown_and_breaks_nothing(house: TestHouse) -> None:
    say(house, ran("cooler", 1))
    with house.engine.begin() as connection:
        connection.execute(update(ledger).values(after='{"predictors": 3}'))
    show(house, deployment("cooler"))
    assert "cannot be read" in client(house).get(f"{PAGE}/dev/cooler").text


def test_tags_are_set_and_removed_and_stand_in_the_ledger(house: TestHouse) -> None:
    show(house, deployment("cooler"))
    browser = client(house)
    reason = {"X-Hydraulic-Reason": "hall%20B"}
    for value in ("1", "1", "<b>"):
        sent = browser.post(f"{API}/dev/cooler/tags", json={"key": "rig_%", "value": value}, headers=reason)
        assert sent.status_code == 204, sent.text
    assert browser.get(f"{API}/dev/cooler").json["tags"] == {"rig_%": "<b>"}  # type: ignore[index]
    assert "&lt;b&gt;" in browser.get(f"{PAGE}/dev/cooler").text
    assert browser.delete(f"{API}/dev/cooler/tags?key=rig_%25").status_code == 204
    assert browser.delete(f"{API}/dev/cooler/tags?key=none").status_code == 204
    assert browser.get(f"{API}/dev/cooler").json["tags"] == {}  # type: ignore[index]
    with house.engine.connect() as connection:
        rows = connection.execute(ledger.select().where(ledger.c.verb == "deployment tag")).all()
    assert [(row.actor, row.before, row.after, row.reason) for row in rows] == [
        ("ds1", "null", '"1"', "hall B"),
        ("ds1", '"1"', '"<b>"', "hall B"),
        ("ds1", '"<b>"', "null", ""),
    ]
    assert [sentence(Row(**row._asdict())) for row in rows[1:]] == [
        "ds1 set tag rig_% of deployment dev/cooler to <b> (was 1)",
        "ds1 removed tag rig_% of deployment dev/cooler (was <b>)",
    ]
    for wrong in ({"key": "", "value": "x"}, {"key": "a/b", "value": "x"}, {"key": "a", "value": "\0"}, {"key": "a"}):
        assert browser.post(f"{API}/dev/cooler/tags", json=wrong).status_code == 400, wrong
    house.accounts.caller = DS2
    assert browser.post(f"{API}/dev/cooler/tags", json={"key": "a", "value": "b"}).status_code == 403


def test_the_configuration_s_environments_are_offered(tmp_path: Path) -> None:
    house = make_house(tmp_path, configuration=Configuration())
    show(house)
    page = client(house).get(PAGE).text
    assert '<option value="prod">PROD</option>' in page
