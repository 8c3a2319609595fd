"""Every route and every page as everybody: what is answered comes from the right that it declares, and nothing else.

The tests find the routes by themselves, so that a new one is covered without being named. What a handler then does is
not looked at here: each is replaced by one that says that it was reached.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from sqlalchemy import insert

from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.evidence.tables import sight
from mlflow_hydraulic.people.rights import MLFLOW_ROLES, Right, Role, Who
from mlflow_hydraulic.web import api, blueprint, views
from mlflow_hydraulic.web.openapi import PARAMETERS
from mlflow_hydraulic.web.page import PAGES, Page
from mlflow_hydraulic.web.route import ROUTES, Route
from mlflow_hydraulic.web.sample import sample
from tests.support.house import ADMIN, TestHouse, add_model, add_project, make_house

assert api, views  # they declare themselves
PROJECT, MODEL, FREE, PLACE = "rig", "cooler", "pump", ("dev", "cooler")
REACHED = 422
STRANGER = Who(name="stranger")
MEMBERS = {role: Who(name=role.value) for role in Role}
FREE_USERS = {word: Who(name=f"free {word}") for word in (*MLFLOW_ROLES, "none")}
EVERYBODY = {"admin": ADMIN, "without a log-in": Who(), "stranger": STRANGER}
EVERYBODY |= {role.value: who for role, who in MEMBERS.items()}

Declared = Route | Page
DECLARED: list[Declared] = [*ROUTES, *PAGES]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> TestHouse:
    """The project rig with a member of every role; a model in it and one in none; a deployment of each."""
    house = make_house(tmp_path_factory.mktemp("house"))
    add_project(house.engine, PROJECT, {who.name: role for role, who in MEMBERS.items()})
    add_project(house.engine, "theirs", {STRANGER.name: Role.OWNER})
    add_model(house.engine, MODEL, PROJECT)
    add_model(house.engine, FREE)
    for word, who in FREE_USERS.items():
        house.accounts.permissions[who.name, FREE] = word
    with house.engine.begin() as connection:
        for name in (MODEL, FREE):
            connection.execute(insert(sight).values(**_seen(name)))
    return house


@pytest.fixture(scope="module")
def browser(house: TestHouse) -> Iterator[FlaskClient]:
    app = Flask("tests")
    blueprint.install(app, house, lambda: None)
    yield app.test_client()


@pytest.fixture
def reached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Declared:
    """The route or page under test, its handler replaced."""
    declared: Declared = request.param
    assert declared.hints is not None  # of the real handler, kept by the route

    @functools.wraps(declared.handler)
    def handler(*_given: object, **_named: object) -> NoReturn:
        raise Failed("reached")

    monkeypatch.setitem(vars(declared), "handler", handler)
    return declared


def each(some: list[Declared]) -> pytest.MarkDecorator:
    names = [f"{getattr(one, 'method', 'PAGE')} {one.path}" for one in some]
    return pytest.mark.parametrize("reached", some, ids=names, indirect=True)


def _seen(model: str) -> dict[str, object]:
    named: dict[str, object] = {"environment": "dev", "deployment": model, "model": model, "managed": 1}
    texts = dict.fromkeys(("endpoint", "cause"), "")
    return {**named, **texts, "workspace": "default", "state": "healthy", "since": "", "said": "{}"}


def ask(browser: FlaskClient, declared: Declared, name: str) -> tuple[int, str]:
    """Status and text of the answer, with a body and a query as small as the types allow. name: of model and place."""
    known = {"project": PROJECT, "model": name, "environment": "dev", "deployment": name}
    path = declared.path
    for parameter in set(_parameters(declared.path)):
        value = known.get(parameter) or PARAMETERS.get(parameter, ("", "1"))[1]
        path = path.replace(f"{{{parameter}}}", quote(value, safe=""))
    base = blueprint.API if isinstance(declared, Route) else blueprint.PAGES_AT
    given: dict[str, Any] = {"method": getattr(declared, "method", "GET")}
    if "body" in declared.hints:
        given["json"] = sample(declared.hints["body"])
    if "query" in declared.hints:
        given["query_string"] = sample(declared.hints["query"])
    answer = browser.open(base + path, **given)
    return answer.status_code, answer.text


def _parameters(path: str) -> list[str]:
    return [part[1:].partition("}")[0] for part in path.split("/") if part.startswith("{")]


def wanted(right: Right | None, role: Role | None) -> int:
    """The status for somebody with `role`; None: a stranger."""
    if right is None:
        return REACHED
    return 404 if role is None else REACHED if right in role.rights else 403


def role_of(who: Who) -> Role | None:
    if who.everywhere:
        return Role.OWNER
    return next((role for role, member in MEMBERS.items() if member == who), None)


@each(DECLARED)
def test_what_one_may_comes_from_the_declared_right(reached: Declared, house: TestHouse, browser: FlaskClient) -> None:
    for named, who in EVERYBODY.items():
        house.accounts.caller = who
        status, text = ask(browser, reached, MODEL)
        assert status == wanted(reached.right, role_of(who)), f"{named}: {text[:300]}"
        if status == 403 and reached.right is not None:
            assert f"may not {reached.right.value}" in text, named


@each([one for one in DECLARED if one.right and "{project}" not in one.path])
def test_of_a_model_in_no_project_mlflows_own_permission_holds(
    reached: Declared, house: TestHouse, browser: FlaskClient
) -> None:
    for word, who in FREE_USERS.items():
        house.accounts.caller = who
        status, text = ask(browser, reached, FREE)
        assert status == wanted(reached.right, MLFLOW_ROLES.get(word)), f"{word}: {text[:300]}"


def test_without_a_log_in_nothing_is_reached_and_nothing_is_said(house: TestHouse) -> None:
    app = Flask("tests")
    blueprint.install(app, house, lambda: Response("log in", status=401))
    browser = app.test_client()
    house.accounts.caller = ADMIN
    for declared in DECLARED:
        assert ask(browser, declared, MODEL) == (401, "log in"), declared.path


def test_both_bases_ask_for_the_same_right(house: TestHouse, browser: FlaskClient) -> None:
    rules = {str(rule) for rule in browser.application.url_map.iter_rules()}
    ours = {rule.removeprefix(blueprint.API) for rule in rules if rule.startswith(blueprint.API)}
    assert ours == {rule.removeprefix(blueprint.AJAX) for rule in rules if rule.startswith(blueprint.AJAX)}
    house.accounts.caller = STRANGER
    for base in (blueprint.API, blueprint.AJAX):
        assert browser.get(f"{base}/projects/{PROJECT}/events").status_code == 404


@pytest.mark.parametrize("declared", [one for one in ROUTES if one.method != "GET"], ids=lambda one: one.path)
def test_whatever_changes_something_declares_a_right(declared: Route) -> None:
    """The others check in their handlers what the path cannot say; each stands here with the reason."""
    assert declared.right is not None or declared.name in NEEDS_NO_PLACE, (
        f"{declared.name} changes something and declares no right: declare one, or say here why it needs none"
    )


NEEDS_NO_PLACE = {
    "create_project": "whoever is logged in may make one, and owns it",
    **dict.fromkeys(
        ("acknowledge_alert", "mute_alert", "unmute_alert", "close_alert"),
        "an alert's id says its model to the handler",
    ),
    "verify_events": "reads the chain of hashes, which tells nothing of what the rows say",
}


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one.path)
def test_a_name_or_a_reason_that_no_database_holds_is_refused(
    declared: Declared, house: TestHouse, browser: FlaskClient
) -> None:
    house.accounts.caller = ADMIN
    base = blueprint.API if isinstance(declared, Route) else blueprint.PAGES_AT
    path = base + "/".join("a%00b" if part.startswith("{") else part for part in declared.path.split("/"))
    method = getattr(declared, "method", "GET")
    if "{" in declared.path:
        assert browser.open(path, method=method).status_code in (404, 400)
    headers = {blueprint.REASON_HEADER: "because%00"}
    assert browser.open(path, method=method, headers=headers).status_code in (404, 400)
