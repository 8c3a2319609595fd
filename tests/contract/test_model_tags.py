"""Tags and descriptions from the pages, on MLflow's real watched store: row and change in one transaction, judged."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.evidence.words import told
from mlflow_hydraulic.plugin.catalogue import MlflowCatalogue
from mlflow_hydraulic.plugin.watched_store import make_store
from tests.support.house import TestHouse, client, uri_of
from tests.support.registered import add_version, make_registry

TAGS = "/api/2.0/hydraulic/models/cooler/versions/1/tags"
WHY = {"X-Hydraulic-Reason": "audit%20of%20week%2047"}


@pytest.fixture
def house(tmp_path: Path) -> TestHouse:
    house = make_registry(tmp_path)
    add_version(house.engine, "cooler", tags={"old": "1"})
    store = make_store(uri_of(house.engine))
    catalogue = MlflowCatalogue(engine=house.engine, tracking=lambda: house.engine, store=lambda: store)
    return replace(house, catalogue=catalogue)


@pytest.fixture
def browser(house: TestHouse) -> FlaskClient:
    return client(house)


def tags(browser: FlaskClient) -> dict[str, str]:
    found: dict[str, Any] = browser.get("/api/2.0/hydraulic/models/cooler/versions/1").get_json()
    return {tag["key"]: tag["value"] for tag in found["version"]["line"]["tags"]}


def rows(house: TestHouse) -> list[ledger.Row]:
    with house.engine.connect() as connection:
        assert ledger.verify(connection).holds
        return list(ledger.rows(connection))


def test_tags_come_change_and_go_with_their_rows(house: TestHouse, browser: FlaskClient) -> None:
    for body in ({"key": "a/b", "value": "<i>"}, {"key": "old", "value": ""}):
        assert browser.put(TAGS, json=body, headers=WHY).status_code == 200
    assert tags(browser) == {"a/b": "<i>", "old": ""}
    assert browser.delete(f"{TAGS}?key=a/b").status_code == 204
    assert browser.delete(f"{TAGS}?key=a/b").status_code == 404
    assert browser.put(TAGS, json={"key": "old", "value": ""}).status_code == 200, "again: nothing changes"
    assert [told(row) for row in rows(house)] == [
        "anonymous tagged version 1 with a/b: <i>: audit of week 47",
        "anonymous tagged version 1 with old:  (was 1): audit of week 47",
        "anonymous removed the tag a/b of version 1 (was <i>)",
    ]
    assert [json.loads(row.before) for row in rows(house)] == [None, "1", "<i>"]


def test_a_tag_of_intent_is_the_gates_to_judge_and_to_record(house: TestHouse, browser: FlaskClient) -> None:
    assert browser.put(TAGS, json={"key": "hydraulic.weight", "value": "50"}, headers=WHY).status_code == 200
    (row,) = rows(house)
    assert (row.verb, row.reason) == ("tag", "audit of week 47")
    refused = browser.put(TAGS, json={"key": "mlflow.prompt.is_prompt", "value": "true"})
    assert refused.status_code == 403 and "stays one" in refused.get_json()["message"]


def test_what_mlflow_refuses_changes_nothing(house: TestHouse, browser: FlaskClient) -> None:
    refused = browser.put(TAGS, json={"key": "a<b", "value": ""})
    assert refused.status_code == 400 and "a<b" in refused.get_json()["message"]
    assert browser.put(TAGS, json={"key": "a", "value": "x" * 5001}).status_code == 400
    assert browser.put(TAGS.replace("1/tags", "9/tags"), json={"key": "a", "value": "x"}).status_code == 404
    assert tags(browser) == {"old": "1"} and rows(house) == []


def test_a_description(house: TestHouse, browser: FlaskClient) -> None:
    path = TAGS.replace("/tags", "/description")
    assert browser.put(path, json={"description": "the forest\nof week 47"}).status_code == 200
    assert "the forest\nof week 47" in browser.get("/hydraulic/models/cooler/versions/1").text
    assert [row.verb for row in rows(house)] == ["described"]


def test_many_at_once_leave_every_tag_and_a_whole_chain(house: TestHouse) -> None:
    catalogue = house.catalogue
    assert catalogue is not None

    def tag(number: int) -> None:
        catalogue.tag("cooler", 1, f"t{number}", "x")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tag, range(12)))
    assert {row.subject.partition("#")[2] for row in rows(house)} == {f"t{number}" for number in range(12)}
    with pytest.raises(HydraulicError, match="facts"):
        catalogue.tag("cooler", 1, "hydraulic.dev.state", "healthy")
