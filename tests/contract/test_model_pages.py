"""A version's pages and routes: whatever its names and values are, whatever is away; comments, tags, comparison."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert

from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.words import sentence
from mlflow_hydraulic.people.rights import Role, Who
from mlflow_hydraulic.plugin.catalogue_run import LOGGED, LOGGED_PARAMS
from tests.support.house import DS1, DS2, TestHouse, add_project, client
from tests.support.registered import add_dataset, add_history, add_run, add_version, make_registry, set_stage

API = "/api/2.0/hydraulic"
SCRIPT = "<script>alert(1)</script>"
RUN, OTHER = "a" * 32, "b" * 32
HOSTILE = ["it's", 'a"b', "100%25", "100%", "模型 é", "a?b#c&d=e", "a+b", SCRIPT.replace("/", ""), "x" * 256, " "]
TABS = ("", "/metadata", "/figures", "/lineage")


@pytest.fixture
def house(tmp_path: Path) -> TestHouse:
    """Cooler in rig (ds1 owns, ds2 reads), its two versions of two runs with artifacts."""
    house = make_registry(tmp_path)
    add_project(house.engine, "rig", {"ds1": Role.OWNER, "ds2": Role.READER, "val": Role.VALIDATOR})
    add_project(house.engine, "secret", {"ds2": Role.OWNER})
    artifacts = tmp_path / "artifacts"
    (artifacts / "figures").mkdir(parents=True)
    (artifacts / "figures" / "drawn.svg").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>")
    (artifacts / "figures" / "page.png").write_text(f"<html>{SCRIPT}</html>")
    (artifacts / "notes.txt").write_text("secret notes")
    metrics = {"val/accuracy": 0.9, "val/log_loss": 0.3, "depth": 3, "odd": math.nan, "endless": -math.inf}
    add_run(house.engine, RUN, metrics, params={"target": "cool_cond_y"}, tags={"note": SCRIPT}, place=str(artifacts))
    add_run(
        house.engine, OTHER, {**metrics, "val/accuracy": 0.95, "val/log_loss": 0.4, "depth": 4}, place=str(artifacts)
    )
    add_history(house.engine, RUN, "val/loss", [3, math.nan, math.inf, 1, 0.5])
    add_version(house.engine, "cooler", 1, project="rig", run=RUN, tags={SCRIPT: SCRIPT, "long": "y" * 5000})
    add_version(house.engine, "cooler", 2, run=OTHER, tags={"long": "y" * 5000})
    return house


@pytest.fixture
def browser(house: TestHouse) -> FlaskClient:
    return client(house)


def at(model: str, number: int = 1) -> str:
    return f"/models/{quote(model, safe='')}/versions/{number}"


def send(browser: FlaskClient, method: str, path: str, body: object = None) -> Any:
    return browser.open(API + path, method=method, json=body)


def test_hostile_names_give_pages(house: TestHouse, browser: FlaskClient) -> None:
    for name in HOSTILE:
        add_version(house.engine, name, run=RUN)
        for tab in TABS:
            answer = browser.get(f"/hydraulic{at(name)}{tab}")
            assert answer.status_code == 200, (name, tab, answer.text)
            assert "<script>alert" not in answer.text and "scriptalert" not in answer.text
        assert browser.get(f"/hydraulic/models/{quote(name, safe='')}").status_code == 200
        assert browser.get(f"/hydraulic/models/{quote(name, safe='')}/compare").status_code == 200
        assert send(browser, "GET", at(name)).get_json()["version"]["line"]["model"] == name
        report = send(browser, "GET", f"{at(name)}/report")
        assert report.status_code == 200 and report.headers["Content-Disposition"].startswith("attachment")
    page = browser.get("/hydraulic/models?size=200").text
    for name in HOSTILE:
        assert f'href="/hydraulic/models/{quote(name, safe="/")}/versions/1"' in page


def test_hostile_values_are_escaped_and_what_is_no_number_is_told(browser: FlaskClient) -> None:
    for path in (*(f"/hydraulic{at('cooler')}{tab}" for tab in TABS), f"{API}{at('cooler')}/report"):
        text = browser.get(path).text
        assert SCRIPT not in text, path
    metadata = browser.get(f"/hydraulic{at('cooler')}/metadata").text
    assert "not a number" in metadata and "-∞" in metadata and "&lt;script&gt;" in metadata
    assert "y" * 2000 + "…" in metadata
    run = send(browser, "GET", at("cooler")).get_json()["version"]["run"]
    assert {one["key"]: one["value"] for one in run["metrics"]} == {
        "depth": 3,
        "endless": None,
        "odd": None,
        "val/accuracy": 0.9,
        "val/log_loss": 0.3,
    }
    assert run["duration_s"] == 90 and run["params"] == [{"key": "target", "value": "cool_cond_y"}]


def test_a_parameter_that_run_and_model_share_is_told_once(house: TestHouse, browser: FlaskClient) -> None:
    add_version(house.engine, "cooler", 3, run=RUN, source="models:/m-1")
    told = {"target": "cool_cond_y", "depth": "7"}
    model = {"experiment_id": 0, "name": "m", "artifact_location": "", "status": 2, "lifecycle_stage": "active"}
    model |= {"creation_timestamp_ms": 0, "last_updated_timestamp_ms": 0}
    rows = [{"model_id": "m-1", "experiment_id": 0, "param_key": key, "param_value": told[key]} for key in told]
    with house.engine.begin() as connection:
        connection.execute(insert(LOGGED).values(model_id="m-1", **model))
        connection.execute(insert(LOGGED_PARAMS), rows)
    for path in (f"/hydraulic{at('cooler', 3)}", f"{API}{at('cooler', 3)}/report"):
        text = browser.get(path).text
        assert (text.count('<th scope="row">target<'), text.count('<th scope="row">depth<')) == (1, 1), path


def test_three_thousand_metrics_are_filtered_by_words(house: TestHouse, browser: FlaskClient) -> None:
    add_run(house.engine, "c" * 32, {f"metric/{number}": number for number in range(3000)})
    add_version(house.engine, "many", run="c" * 32)
    page = browser.get(f"/hydraulic{at('many')}/metadata").text
    assert "3000 of 3000 lines" in page and page.count("<tr>") < 520
    found = browser.get(f"/hydraulic{at('many')}/metadata?find=Metric 2999").text
    assert "1 of 3000 lines" in found and "metric/2999" in found
    assert browser.get(f"/hydraulic{at('many')}/metadata?find=nothing+such").text.count("No line has these words") == 1


def test_figures_are_images_and_nothing_else(house: TestHouse, browser: FlaskClient) -> None:
    listed = send(browser, "GET", f"{at('cooler')}/files").get_json()["figures"]
    assert [(one["path"], one["media"]) for one in listed] == [
        ("figures/drawn.svg", "image/svg+xml"),
        ("figures/page.png", "image/png"),
    ]
    for figure in listed:
        answer = send(browser, "GET", f"{at('cooler')}/figure?path={figure['path']}")
        assert answer.status_code == 200 and answer.headers["Content-Type"].split(";")[0] == figure["media"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "script-src" not in answer.headers["Content-Security-Policy"]
    for path in (
        "notes.txt",
        "../mlflow.db",
        "figures/../notes.txt",
        "/etc/passwd",
        "figures/none.png",
        "a/..%2Fb.png",
    ):
        assert send(browser, "GET", f"{at('cooler')}/figure?path={path}").status_code == 404, path
    house.accounts.caller = Who(name="stranger")
    assert send(browser, "GET", f"{at('cooler')}/figure?path=figures/page.png").status_code == 404


def test_a_chart_has_gaps_where_there_is_no_number(browser: FlaskClient) -> None:
    (history,) = send(browser, "GET", f"{at('cooler')}/metrics").get_json()
    assert [point["value"] for point in history["points"]] == [3, None, None, 1, 0.5]
    page = browser.get(f"/hydraulic{at('cooler')}/figures").text
    assert '<path d="M4.0 4.0 M193.0 61.6 L256.0 76.0"' in page
    assert len(send(browser, "GET", f"{at('cooler')}/metrics?key=val/loss").get_json()) == 1
    assert send(browser, "GET", f"{at('cooler')}/metrics?key=none").get_json() == []


@pytest.mark.parametrize("place", ["", "/nowhere/at/all", "mlflow-artifacts:/0/none", "strange://host/path", "s3://"])
def test_artifacts_that_are_away_take_nothing_else_with_them(
    house: TestHouse, browser: FlaskClient, place: str
) -> None:
    add_run(house.engine, "d" * 32, {"loss": 1}, place=place)
    add_version(house.engine, "gone", run="d" * 32, source="models:/m-" + "d" * 32)
    for tab in TABS:
        assert browser.get(f"/hydraulic{at('gone')}{tab}").status_code == 200, tab
    files = send(browser, "GET", f"{at('gone')}/files").get_json()
    assert files["card"] is None and files["figures"] == [] and "gone" in files["problems"][0]
    assert send(browser, "GET", f"{at('gone')}/report").status_code == 200
    assert send(browser, "GET", f"{at('gone')}/figure?path=a.png").status_code in (404, 503)


def test_a_run_that_is_deleted_or_was_never_there(house: TestHouse, browser: FlaskClient) -> None:
    add_run(house.engine, "e" * 32, deleted=True)
    add_version(house.engine, "old", 1, run="e" * 32)
    add_version(house.engine, "old", 2, run="f" * 32)
    add_version(house.engine, "old", 3, source="")
    for number, said in ((1, "deleted in MLflow"), (2, "no longer there"), (3, "registered without one")):
        assert said in browser.get(f"/hydraulic{at('old', number)}").text
        assert all(browser.get(f"/hydraulic{at('old', number)}{tab}").status_code == 200 for tab in TABS)
    for text in ("4", "0", "-1", "x", "1.0", "9" * 40, "²"):
        assert browser.get(f"/hydraulic/models/old/versions/{quote(text)}").status_code == 404
    assert browser.get("/hydraulic/models/none").status_code == 404


def test_comments_stay_for_ever_and_follow_the_model(house: TestHouse, browser: FlaskClient) -> None:
    path = f"{at('cooler')}/comments"
    house.accounts.caller = DS2
    assert send(browser, "POST", path, {"text": "may I?"}).status_code == 403
    house.accounts.caller = Who(name="val")
    assert send(browser, "POST", path, {"text": f" {SCRIPT}\nü "}).status_code == 200
    house.accounts.caller = DS1
    assert send(browser, "POST", path, {"text": "z" * 4000}).status_code == 200
    for wrong in ({"text": ""}, {"text": "z" * 4001}, {"text": " \n"}, {"text": "a\0"}, {}, {"text": "a", "b": 1}):
        assert send(browser, "POST", path, wrong).status_code == 400, wrong
    assert send(browser, "POST", f"{at('cooler', 7)}/comments", {"text": "a"}).status_code == 404
    found = send(browser, "GET", path).get_json()
    assert [(one["author"], one["text"]) for one in found] == [("ds1", "z" * 4000), ("val", f"{SCRIPT}\nü")]
    page = browser.get(f"/hydraulic{at('cooler')}").text
    assert SCRIPT not in page and "&lt;script&gt;alert(1)&lt;/script&gt;\nü" in page
    with house.engine.begin() as connection:
        row = next(ledger.rows(connection, model="cooler"))
        assert sentence(row) == f"val commented on version 1: {SCRIPT}\nü"
        assert ledger.verify(connection).holds
        renamed = Event(
            verb="rename model", subject="models:/was", actor="ds1", model="was", before="was", after="cooler"
        )
        append(connection, [renamed])
    assert send(browser, "GET", path).get_json() == [], "these were said of another, which had the name before"


def test_what_was_said_before_a_rename_is_there_and_what_was_said_of_a_deleted_namesake_is_not(
    house: TestHouse, browser: FlaskClient
) -> None:
    def note(verb: str, subject: str, model: str, after: object) -> None:
        with house.engine.begin() as connection:
            append(connection, [Event(verb=verb, subject=subject, actor="ds1", model=model, after=after)])

    note("comment", "models:/cooler/1", "cooler", "of one that was deleted")
    note("delete model", "models:/cooler", "cooler", None)
    note("comment", "models:/chiller/1", "chiller", "under its first name")
    note("rename model", "models:/chiller", "chiller", "cooler")
    note("comment", "models:/cooler/1", "cooler", "under its name")
    found = send(browser, "GET", f"{at('cooler')}/comments").get_json()
    assert [one["text"] for one in found] == ["under its name", "under its first name"]


def test_facts_are_nobodys_to_change(house: TestHouse, browser: FlaskClient) -> None:
    house.accounts.caller = DS1
    for key in ("hydraulic.prod.state", "hydraulic.origin"):
        refused = send(browser, "PUT", f"{at('cooler')}/tags", {"key": key, "value": "x"})
        assert refused.status_code == 400 and "facts" in refused.get_json()["message"]
        assert send(browser, "DELETE", f"{at('cooler')}/tags?key={key}").status_code == 400
    house.accounts.caller = DS2
    assert send(browser, "PUT", f"{at('cooler')}/tags", {"key": "a", "value": "x"}).status_code == 403


def test_two_versions_side_by_side(house: TestHouse, browser: FlaskClient) -> None:
    compared = send(browser, "GET", "/models/cooler/compare?left=1&right=2").get_json()
    lines = {line["name"]: line for group in compared["groups"] for line in group["lines"]}
    assert (lines["val/accuracy"]["better"], round(lines["val/accuracy"]["difference"], 9)) == ("right", 0.05)
    assert (lines["val/log_loss"]["better"], lines["depth"]["better"]) == ("left", "")
    assert not lines["odd"]["differs"] and lines["endless"]["difference"] is None and not lines["long"]["differs"]
    few = send(browser, "GET", "/models/cooler/compare?left=1&right=2&only=differences").get_json()
    assert all(line["differs"] for group in few["groups"] for line in group["lines"])
    assert browser.get("/hydraulic/models/cooler/compare").status_code == 200
    add_version(house.engine, "theirs", project="secret", run=RUN)
    assert send(browser, "GET", "/models/cooler/compare?left=1&right=1&other=theirs").status_code == 200
    house.accounts.caller = DS1
    assert send(browser, "GET", "/models/cooler/compare?left=1&right=1&other=theirs").status_code == 404
    assert browser.get("/hydraulic/models/cooler/compare?other=theirs").status_code == 404
    assert send(browser, "GET", "/models/cooler/compare?left=1").status_code == 404


def test_what_was_deleted_meanwhile_is_not_there(house: TestHouse, browser: FlaskClient) -> None:
    set_stage(house.engine, "cooler", 1, "Deleted_Internal")
    for path in (at("cooler"), f"{at('cooler')}/files", f"{at('cooler')}/comments", f"{at('cooler')}/report"):
        assert send(browser, "GET", path).status_code == 404, path
    assert send(browser, "POST", f"{at('cooler')}/comments", {"text": "a"}).status_code == 404


def test_what_else_came_of_the_same_run_or_data(house: TestHouse, browser: FlaskClient) -> None:
    add_dataset(house.engine, [RUN, OTHER], SCRIPT, "39ff")
    add_version(house.engine, "copied", run=RUN)
    add_version(house.engine, "theirs", project="secret", run=OTHER)
    found = send(browser, "GET", f"{at('cooler')}/siblings").get_json()
    assert {(one["model"], one["version"], one["of"]) for one in found} == {
        ("cooler", 2, SCRIPT),
        ("copied", 1, "run"),
        ("theirs", 1, SCRIPT),
    }
    house.accounts.caller = DS1
    assert [one["model"] for one in send(browser, "GET", f"{at('cooler')}/siblings").get_json()] == ["cooler"]
    page = browser.get(f"/hydraulic{at('cooler')}/lineage").text
    assert "/models/cooler/versions/2" in page and "theirs" not in page and SCRIPT not in page
    assert "39ff" in browser.get(f"/hydraulic{at('cooler')}/metadata?find=digest").text
