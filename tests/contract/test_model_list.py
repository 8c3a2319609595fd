"""The table of model versions: filters, order, pages, who sees what, in few SQL statements whatever there is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, insert

from mlflow_hydraulic.evidence.sight import Part, Said
from mlflow_hydraulic.evidence.tables import sight
from mlflow_hydraulic.people.rights import Role, Who
from mlflow_hydraulic.plugin.catalogue_rows import MODEL_TAGS
from tests.support.house import ADMIN, DS1, DS2, TestHouse, add_project, client
from tests.support.registered import add_run, add_version, make_registry, set_score

LIST = "/api/2.0/hydraulic/models"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> TestHouse:
    """Cooler (three versions, in rig, of ds1), pump (in theirs, of ds2), fan (in no project)."""
    house = make_registry(tmp_path_factory.mktemp("planted"))
    engine = house.engine
    add_project(engine, "rig", {"ds1": Role.OWNER, "ds2": Role.READER})
    add_project(engine, "theirs", {"ds2": Role.OWNER})
    for number, score in ((1, 0.9), (2, math.nan), (3, 0.97)):
        add_run(engine, f"{number:032}", {"unseen_runs/accuracy": score, "loss": 1.0 / number})
        stage = ("Archived", "Production", "Staging")[number - 1]
        add_version(engine, "cooler", number, project="rig", run=f"{number:032}", stage=stage, day=number)
    add_run(engine, "4" * 32, {"loss": math.inf}, user="ds2")
    add_version(engine, "pump", project="theirs", run="4" * 32, tags={"shape": "round", "hydraulic.x": "y"}, day=9)
    set_score(engine, "pump", "loss")
    add_version(engine, "fan", aliases=["b", "a"], day=5)
    for environment, model, version in (("dev", "cooler", 3), ("prod", "cooler", 2), ("prod", "pump", 1)):
        see(house, environment, model, version)
    return house


@pytest.fixture
def house(planted: TestHouse) -> TestHouse:
    """The same for all tests that change nothing in its tables."""
    planted.accounts.caller, planted.accounts.other = Who(), "none"
    planted.accounts.permissions.clear()
    return planted


@pytest.fixture
def browser(house: TestHouse, page: FlaskClient) -> FlaskClient:
    """A browser on `house`."""
    assert house
    return page


@pytest.fixture(scope="module")
def page(planted: TestHouse) -> FlaskClient:
    return client(planted)


@pytest.fixture
def own(planted: TestHouse, tmp_path: Path) -> TestHouse:
    """A copy that a test may change."""
    return make_registry(tmp_path, like=planted)


def see(house: TestHouse, environment: str, model: str, version: int) -> None:
    said = Said(predictors=(Part(role="champion", name="p", model=model, version=str(version)),))
    words = {"managed": 1, "state": "healthy", "since": "", "endpoint": "", "cause": ""}
    row = {"workspace": "default", "environment": environment, "deployment": model, "model": model, **words}
    with house.engine.begin() as connection:
        connection.execute(insert(sight).values(**row, said=msgspec.json.encode(said).decode()))


def listed(browser: FlaskClient, query: str = "") -> list[str]:
    """ "cooler 3" for each row."""
    return [f"{one['model']} {one['version']}" for one in asked(browser, query)["items"]]


def asked(browser: FlaskClient, query: str = "") -> dict[str, Any]:
    answer = browser.get(f"{LIST}?{query}")
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def test_the_latest_of_each_model_newest_first_and_all_on_demand(house: TestHouse, browser: FlaskClient) -> None:
    assert listed(browser) == ["pump 1", "fan 1", "cooler 3"]
    assert listed(browser, "versions=all") == ["pump 1", "fan 1", "cooler 3", "cooler 2", "cooler 1"]
    assert [asked(browser, f"versions=all&size=2&page={page}")["total"] for page in (1, 3, 4)] == [5, 5, 5]
    assert asked(browser, "text=nobody-says-this") == {"items": [], "total": 0, "page": 1, "size": 50}
    assert [listed(browser, f"versions=all&size=2&page={page}") for page in (1, 2, 3, 4)] == [
        ["pump 1", "fan 1"],
        ["cooler 3", "cooler 2"],
        ["cooler 1"],
        [],
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("text=COOL", ["cooler 3"]),
        ("text=round", ["pump 1"]),
        ("text=shape ds2", ["pump 1"]),
        ("text=shape ds1", []),
        ("text=%25", []),
        ("text=_", []),
        ("text=ds1&versions=all", ["cooler 3", "cooler 2", "cooler 1"]),
        ("project=rig", ["cooler 3"]),
        ("project=nowhere", []),
        ("environment=prod&versions=all", ["pump 1", "cooler 2"]),
        ("environment=dev", ["cooler 3"]),
        ("environment=mars", []),
        ("stage=Production&versions=all", ["cooler 2"]),
        ("model=fan", ["fan 1"]),
    ],
)
def test_filters(browser: FlaskClient, query: str, found: list[str]) -> None:
    assert listed(browser, query) == found
    assert asked(browser, query)["total"] == len(found)


@pytest.mark.parametrize(
    ("sort", "up", "down"),
    [
        ("model", ["cooler", "fan", "pump"], ["pump", "fan", "cooler"]),
        ("created", ["cooler", "fan", "pump"], ["pump", "fan", "cooler"]),
        ("score", ["cooler", "pump", "fan"], ["pump", "cooler", "fan"]),
        ("owner", ["cooler", "pump", "fan"], ["pump", "cooler", "fan"]),
        ("project", ["cooler", "pump", "fan"], ["pump", "cooler", "fan"]),
        ("stage", ["cooler", "fan", "pump"], ["cooler", "fan", "pump"]),
        ("environment", ["cooler", "pump", "fan"], ["cooler", "pump", "fan"]),
        ("alias", ["fan", "cooler", "pump"], ["fan", "cooler", "pump"]),
        ("version", ["fan", "pump", "cooler"], ["cooler", "fan", "pump"]),
    ],
)
def test_every_column_sorts_and_what_is_not_said_comes_last(
    browser: FlaskClient, sort: str, up: list[str], down: list[str]
) -> None:
    for order, models in (("asc", up), ("desc", down)):
        assert [one.split()[0] for one in listed(browser, f"sort={sort}&order={order}")] == models


def test_a_row_says_all(house: TestHouse, browser: FlaskClient) -> None:
    pump, fan, cooler = asked(browser)["items"]
    assert (cooler["scorer"], cooler["score"], cooler["owner"]) == ("unseen_runs/accuracy", 0.97, "ds1")
    assert cooler["environments"] == [
        {"environment": "dev", "deployment": "cooler", "role": "champion", "state": "healthy"}
    ]
    assert (cooler["stage"], cooler["project"], cooler["created"][:10]) == ("Staging", "rig", "1970-01-04")
    assert (pump["scorer"], pump["score"], pump["tags"]) == ("loss", None, [{"key": "shape", "value": "round"}])
    assert (fan["scorer"], fan["score"], fan["owner"], fan["aliases"]) == ("", None, "", ["a", "b"])
    page = browser.get("/hydraulic/models?versions=all").text
    assert "∞" in page and "not a number" in page


def test_everybody_sees_their_own(house: TestHouse, browser: FlaskClient) -> None:
    house.accounts.caller = DS1
    assert listed(browser, "versions=all") == ["cooler 3", "cooler 2", "cooler 1"]
    house.accounts.caller = DS2
    assert listed(browser) == ["pump 1", "cooler 3"]
    house.accounts.permissions["ds2", "fan"] = "read"
    house.accounts.permissions["ds1", "pump"] = "manage"  # it is in a project: MLflow's own word counts no more
    assert listed(browser) == ["pump 1", "fan 1", "cooler 3"]
    house.accounts.caller = DS1
    assert asked(browser)["total"] == 1
    house.accounts.other = "read"
    assert listed(browser) == ["fan 1", "cooler 3"]
    house.accounts.caller = ADMIN
    assert listed(browser) == ["pump 1", "fan 1", "cooler 3"]


def test_prompts_and_deleted_versions_are_not_there(own: TestHouse) -> None:
    browser = client(own)
    add_version(own.engine, "words", day=100)
    add_version(own.engine, "cooler", 4, stage="Deleted_Internal", day=100)
    with own.engine.begin() as connection:
        prompt = {"workspace": "default", "name": "words", "key": "mlflow.prompt.is_prompt", "value": "true"}
        connection.execute(insert(MODEL_TAGS).values(**prompt))
    assert listed(browser) == ["pump 1", "fan 1", "cooler 3"]
    assert browser.get(f"{LIST}/cooler/versions/4").status_code == 404


def test_a_handful_of_statements_whatever_there_is(own: TestHouse) -> None:
    browser = client(own)
    for number in range(60):
        add_version(own.engine, f"many-{number}", tags={"a": "b"}, day=30)
    own.accounts.caller = DS2
    own.accounts.other = "read"
    said: list[str] = []
    event.listen(own.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    assert asked(browser)["total"] == 63
    assert len(said) == 4
    said.clear()
    assert browser.get("/hydraulic/models?environment=prod&sort=score&text=a").status_code == 200
    assert len(said) <= 10, "the table, the filter's projects, and what the frame counts"


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "size=201",
        "size=x",
        "sort=bad",
        "order=up",
        "stage=Live",
        "text=" + "x" * 201,
        "unknown=1",
        "text=a%00b",
    ],
)
def test_what_does_not_fit_is_a_400_that_names_it(browser: FlaskClient, query: str) -> None:
    answer = browser.get(f"{LIST}?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.get_json()["message"]


def test_links_of_heads_and_pages_keep_the_filter(house: TestHouse, browser: FlaskClient) -> None:
    page = browser.get("/hydraulic/models?text=o&versions=all&size=2&sort=score").text
    assert "/hydraulic/models?text=o&amp;versions=all&amp;sort=score&amp;page=2&amp;size=2" in page
    assert (
        'aria-sort="descending"><a href="/hydraulic/models?text=o&amp;versions=all&amp;sort=score&amp;order=asc' in page
    )
    assert "1 to 2 of" in page
