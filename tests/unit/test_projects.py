"""Projects and members by REST API and pages on a real SQLite file: names, owners, two at once, hostile input."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask.testing import FlaskClient

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import Conflict
from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.evidence.words import told
from mlflow_hydraulic.people.projects import Office
from mlflow_hydraulic.people.rights import Role, Who
from tests.support.house import ADMIN, DS1, DS2, TestHouse, add_model, add_project, client, make_house

API = "/api/2.0/hydraulic/projects"


@pytest.fixture
def house(tmp_path: Path) -> TestHouse:
    return make_house(tmp_path, who=DS1)


@pytest.fixture
def web(house: TestHouse) -> FlaskClient:
    return client(house)


def story(house: TestHouse) -> list[str]:
    with house.engine.connect() as connection:
        return [told(row) for row in ledger.rows(connection)]


def test_the_life_of_a_project_is_in_the_ledger(house: TestHouse, web: FlaskClient) -> None:
    because = {"X-Hydraulic-Reason": "for%20the%20rig"}
    assert web.post(API, json={"name": " cooling ", "description": "the rig"}, headers=because).json == {
        "name": "cooling"
    }
    add_model(house.engine, "cooler", "cooling")
    assert web.post(f"{API}/cooling/members", json={"user": "ds2", "role": "reader"}).status_code == 204
    assert web.put(f"{API}/cooling/members/ds2", json={"role": "operator"}).status_code == 204
    house.accounts.caller = DS2
    assert web.post(f"{API}/cooling/leave", json={}).status_code == 204
    house.accounts.caller = DS1
    assert web.delete(f"{API}/cooling", headers=because).json == {"models": ["cooler"]}
    assert story(house) == [
        "ds1 made project cooling: for the rig",
        "ds1 shared project cooling with ds2 as reader",
        "ds1 made ds2 operator of project cooling (was reader)",
        "ds2 left project cooling (was operator)",
        "ds1 took model cooler out of project cooling: for the rig",
        "ds1 removed project cooling: for the rig",
    ]
    assert web.get(API).json == {"items": [], "there": 0}
    with house.engine.connect() as connection:
        assert ledger.verify(connection).holds


def test_a_model_of_a_removed_project_is_not_that_of_its_namesake(house: TestHouse, web: FlaskClient) -> None:
    web.post(API, json={"name": "cooling"})
    add_model(house.engine, "cooler", "cooling")
    web.delete(f"{API}/cooling")
    house.accounts.caller = DS2
    web.post(API, json={"name": "cooling"})
    assert web.get(f"{API}/cooling/models").json == []


@pytest.mark.parametrize(
    "name", ["", "  ", "a" * 61, "a/b", "a\\b", "a\nb", "a\x00b", "\ud800", ".", "..", "\u200b", "a\u202eb", None, 7]
)
def test_names_against_the_rule_are_refused(house: TestHouse, web: FlaskClient, name: Any) -> None:
    answer = web.post(API, data=json.dumps({"name": name}), content_type="application/json")
    assert answer.status_code == 400, answer.text
    assert story(house) == []


@pytest.mark.parametrize("name", ["a" * 60, "Kühlung 2", "{x} %2F ?#&", "<b>", "'", "日本"])
def test_names_within_the_rule_have_their_pages(web: FlaskClient, name: str) -> None:
    from urllib.parse import quote

    assert web.post(API, json={"name": name}).status_code == 200
    for tab in ("", "/models", "/members"):
        page = web.get(f"/hydraulic/projects/{quote(name, safe='')}{tab}")
        assert page.status_code == 200
        assert "<b>" not in page.text


def test_a_name_is_taken_whatever_its_case(web: FlaskClient) -> None:
    assert web.post(API, json={"name": "Straße"}).status_code == 200
    for taken in ("straße", "STRASSE", " Straße "):
        assert web.post(API, json={"name": taken}).status_code == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"name": "x", "owner": "ds2"}),
        ("", {"name": "x", "description": "a" * 1001}),
        ("", ["x"]),
        ("/cooling/members", {"user": "ds2", "role": "king"}),
        ("/cooling/members", {"user": "", "role": "reader"}),
        ("/cooling/members", {"user": "a\x00b"}),
        ("/cooling/models", {"model": "a\x00b"}),
    ],
)
def test_bodies_that_do_not_fit_are_refused(house: TestHouse, web: FlaskClient, path: str, body: Any) -> None:
    add_project(house.engine, "cooling", {"ds1": Role.OWNER})
    assert web.post(API + path, json=body).status_code == 400
    assert story(house) == []


def test_there_is_always_an_owner(house: TestHouse, web: FlaskClient) -> None:
    add_project(house.engine, "cooling", {"ds1": Role.OWNER, "ds2": Role.OPERATOR})
    for answer in (
        web.put(f"{API}/cooling/members/ds1", json={"role": "reader"}),
        web.delete(f"{API}/cooling/members/ds1"),
        web.post(f"{API}/cooling/leave", json={}),
    ):
        assert answer.status_code == 409
        assert "only owner" in answer.text
    web.put(f"{API}/cooling/members/ds2", json={"role": "owner"})
    assert web.post(f"{API}/cooling/leave", json={}).status_code == 204
    assert web.get(f"{API}/cooling").status_code == 404


def test_only_users_that_there_are_become_members(house: TestHouse, web: FlaskClient) -> None:
    add_project(house.engine, "cooling", {"ds1": Role.OWNER})
    assert web.post(f"{API}/cooling/members", json={"user": "ghost"}).status_code == 404
    assert web.post(f"{API}/cooling/members", json={"user": "ds1"}).status_code == 409
    assert web.put(f"{API}/cooling/members/ds2", json={"role": "reader"}).status_code == 404
    assert web.get(f"{API}/cooling/users").json == ["admin", "ds2"]
    house.accounts.caller = Who()  # no log-in: nobody knows who there is
    assert web.post(f"{API}/cooling/members", json={"user": "ghost"}).status_code == 204


def test_what_is_not_shared_is_not_there(house: TestHouse, web: FlaskClient) -> None:
    add_project(house.engine, "cooling", {"ds1": Role.OWNER})
    add_model(house.engine, "cooler", "cooling")
    house.accounts.caller = DS2
    assert web.get(API).json == {"items": [], "there": 0}
    for name in ("cooling", "nothing"):
        answers = [web.get(f"{API}/{name}{tab}") for tab in ("", "/members", "/models", "/users", "/candidates")]
        answers += [web.get(f"/hydraulic/projects/{name}{tab}") for tab in ("", "/members", "/models")]
        answers += [web.delete(f"{API}/{name}"), web.post(f"{API}/{name}/leave", json={})]
        assert {answer.status_code for answer in answers} == {404}
    assert "cooler" not in web.get("/hydraulic/projects").text
    house.accounts.caller = ADMIN
    assert web.get(f"{API}/cooling/models").json == ["cooler"]


def test_a_role_that_changes_holds_with_the_next_request(house: TestHouse, web: FlaskClient) -> None:
    add_project(house.engine, "cooling", {"ds1": Role.OWNER, "ds2": Role.OWNER})
    web.put(f"{API}/cooling/members/ds2", json={"role": "reader"})
    house.accounts.caller = DS2
    for answer in (
        web.post(f"{API}/cooling/members", json={"user": "admin"}),
        web.put(f"{API}/cooling", json={"description": "mine"}),
        web.put(f"{API}/cooling/members/ds2", json={"role": "owner"}),
        web.delete(f"{API}/cooling"),
    ):
        assert answer.status_code == 403
        assert "reader of project 'cooling'" in answer.text
    assert "Delete project" not in web.get("/hydraulic/projects/cooling").text


def test_models_join_that_one_may_edit(house: TestHouse, web: FlaskClient) -> None:
    add_project(house.engine, "cooling", {"ds1": Role.OPERATOR})
    add_project(house.engine, "elsewhere", {"ds2": Role.OWNER})
    add_model(house.engine, "theirs", "elsewhere")
    for model, permission in (("mine", "edit"), ("seen", "read"), ("hidden", "none")):
        add_model(house.engine, model)
        house.accounts.permissions["ds1", model] = permission
    assert web.get(f"{API}/cooling/candidates").json == ["mine", "seen"]
    assert web.get(f"{API}/cooling/candidates?text=MI").json == ["mine"]
    for model in ("seen", "hidden", "nothing"):
        assert web.post(f"{API}/cooling/models", json={"model": model}).status_code == 404
    assert web.delete(f"{API}/cooling/models/theirs").status_code == 404


def test_two_at_once_do_not_both_win(house: TestHouse) -> None:
    def office(by: str) -> Office:
        return Office(engine=house.engine, workspace="default", by=by, now=utc_now(), everywhere=False)

    def at_once(*acts: Any) -> list[bool]:
        start = Barrier(len(acts))

        def run(act: Any) -> bool:
            start.wait()
            try:
                act()
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(len(acts)) as pool:
            return sorted(pool.map(run, acts))

    assert at_once(lambda: office("ds1").create("rig"), lambda: office("ds2").create("RIG")) == [False, True]
    add_project(house.engine, "cooling", {"ds1": Role.OWNER, "ds2": Role.OWNER})
    both = (lambda: office("ds1").remove("cooling", "ds1"), lambda: office("ds2").remove("cooling", "ds2"))
    assert at_once(*both) == [False, True], "one owner is left"
    assert len(story(house)) == 2
