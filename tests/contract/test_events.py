"""The ledger's pages: who sees which rows, filters, pages by seq, exports, and whether the chain holds."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.evidence.export import verify_file
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.tables import ledger
from mlflow_hydraulic.people.rights import Role, Who
from tests.support.house import ADMIN, DS1, DS2, TestHouse, add_model, add_project, client, make_house

API = "/api/2.0/hydraulic"
AUDITOR = Who(name="auditor")


@pytest.fixture
def house(tmp_path: Path) -> TestHouse:
    """Project rig of ds1 with the model cooler; valve was in it for a while; pump is in nobody's, hidden from ds2."""
    house = make_house(tmp_path, who=DS1)
    add_project(house.engine, "rig", {"ds1": Role.OWNER, "auditor": Role.AUDITOR})
    add_project(house.engine, "other", {"ds2": Role.OWNER})
    add_model(house.engine, "cooler", "rig")
    add_model(house.engine, "valve", "other")
    add_model(house.engine, "pump")
    house.accounts.permissions["ds1", "pump"] = "read"
    write(
        house,
        event("project", "projects:/rig", after={"what": "created", "owner": "ds1"}),
        event("stage", "models:/valve/1", "valve", reason="before it joined"),
        event("project", "projects:/rig", "valve", after={"what": "joined"}),
        event("stage", "models:/valve/1", "valve", reason="while it was in"),
        event("project", "projects:/rig", "valve", after={"what": "left"}),
        event("stage", "models:/valve/1", "valve", reason="after it left"),
        event("stage", "models:/cooler/1", "cooler", environment="dev,prod", reason="of cooler"),
        event("stage", "models:/pump/1", "pump", reason="of pump"),
        event("member", "projects:/other", after={"user": "ds2", "role": "owner"}),
        event("mute", "mute */*", after={"until": "2026-01-01T00:00:00+00:00"}),
    )
    return house


def event(
    verb: str,
    subject: str,
    model: str = "",
    *,
    before: object = "None",
    after: object = "Staging",
    environment: str = "",
    reason: str = "",
    actor: str = "ds1",
) -> Event:
    return Event(
        verb=verb,
        subject=subject,
        actor=actor,
        model=model,
        before=before,
        after=after,
        environment=environment,
        reason=reason,
    )


def write(house: TestHouse, *events: Event) -> None:
    with house.engine.begin() as connection:
        append(connection, events, utc_now())


def seen(browser: FlaskClient, path: str = "/events") -> list[int]:
    answer = browser.get(API + path)
    assert answer.status_code == 200, answer.text
    return [one["seq"] for one in answer.get_json()["events"]]


def test_somebody_sees_what_is_of_their_projects_and_models_and_nothing_else(house: TestHouse) -> None:
    browser = client(house)
    assert seen(browser) == [8, 7, 5, 4, 3, 1]  # pump, cooler, what valve did while it was in rig; rig itself
    house.accounts.caller = DS2
    assert seen(browser) == [9, 6, 4, 2]  # valve is in their project now, with its past; not that it was in rig
    for unlimited in (ADMIN, Who()):
        house.accounts.caller = unlimited
        assert seen(browser) == list(range(10, 0, -1))


def test_a_projects_events_are_its_own_and_its_models(house: TestHouse) -> None:
    browser = client(house)
    assert seen(browser, "/projects/rig/events") == [7, 5, 4, 3, 1]
    assert seen(browser, "/events?project=rig") == [7, 5, 4, 3, 1]
    assert seen(browser, "/events?project=other") == []
    house.accounts.caller = DS2
    assert browser.get(f"{API}/projects/rig/events").status_code == 404
    assert seen(browser, "/projects/other/events") == [9, 6, 4, 2]


def test_a_namesake_made_later_shows_nothing_of_the_project_before_it(house: TestHouse) -> None:
    write(house, event("project", "projects:/late", after={"what": "created"}))
    add_project(house.engine, "late", {"ds1": Role.OWNER})
    assert seen(client(house), "/projects/late/events") == []


def test_a_model_of_the_same_name_made_later_is_not_the_one_that_was_in_the_project(house: TestHouse) -> None:
    write(
        house,
        event("project", "projects:/rig", "gone", after={"what": "joined"}),
        event("delete model", "models:/gone", "gone"),
        event("stage", "models:/gone/1", "gone", reason="somebody else's"),
    )
    assert seen(client(house), "/projects/rig/events?model=gone") == [12, 11]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("verb=project", [5, 3, 1]),
        ("model=cooler", [7]),
        ("environment=prod", [7]),
        ("environment=pro", []),
        ("actor=ds1&text=WHILE", [4]),
        ("actor=ds2", []),
        ("text=%25", []),
        ("since=1h&limit=2", [8, 7]),
        ("until=1h", []),
        ("before=5", [4, 3, 1]),
        ("text=%F0%9F%98%80%27%22%3B--", []),
    ],
)
def test_filters(house: TestHouse, query: str, wanted: list[int]) -> None:
    assert seen(client(house), f"/events?{query}") == wanted


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "limit=0", "limit=501", "before=-1", f"before={2**63}", "model=a%00b", "nonsense=1", "limit=x"],
)
def test_what_cannot_be_read_is_refused_by_name(house: TestHouse, query: str) -> None:
    answer = client(house).get(f"{API}/events?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_pages_go_by_number_and_end(house: TestHouse) -> None:
    house.accounts.caller = ADMIN
    browser = client(house)
    found, before = [], 0
    for _ in range(5):
        page = browser.get(f"{API}/events?limit=4&before={before}").get_json()
        found += [one["seq"] for one in page["events"]]
        write(house, event("stage", "models:/cooler/1", "cooler"))  # what is written meanwhile moves nothing
        if page["older"] is None:
            break
        before = page["older"]
    assert found == list(range(10, 0, -1))


def test_export_is_for_auditors_and_says_every_row(house: TestHouse, tmp_path: Path) -> None:
    browser = client(house)
    assert browser.get(f"{API}/events.jsonl").status_code == 403
    house.accounts.caller = AUDITOR
    assert browser.get(f"{API}/events.csv").status_code == 403
    lines = browser.get(f"{API}/projects/rig/events.jsonl").text.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 3, 4, 5, 7]
    house.accounts.caller = DS2
    assert browser.get(f"{API}/projects/rig/events.csv").status_code == 404
    house.accounts.caller = ADMIN
    file = tmp_path / "events.jsonl"
    answer = browser.get(f"{API}/events.jsonl")
    assert answer.headers["Content-Disposition"] == "attachment; filename=events.jsonl"
    file.write_bytes(answer.data)
    assert verify_file(file).holds


def test_no_cell_of_the_table_is_a_formula(house: TestHouse) -> None:
    hostile = [
        "=1+1",
        "@SUM(A1)",
        "-2",
        "+cmd|' /C calc'!A0",
        "\t=1",
        "\r=1",
        " =1",
        '=HYPERLINK("http://x")',
        "\N{FULLWIDTH EQUALS SIGN}1",
    ]
    write(house, *(event("stage", "models:/cooler/1", "cooler", reason=reason) for reason in hostile))
    cells = list(csv.DictReader(io.StringIO(client(house).get(f"{API}/projects/rig/events.csv").text, newline="")))
    assert [row["reason"] for row in cells[-len(hostile) :]] == [f"'{reason}" for reason in hostile]


def test_the_chain_is_verified_when_asked_and_said_until_it_is_another(house: TestHouse) -> None:
    browser = client(house)
    assert browser.get(f"{API}/events/verification").status_code == 204
    found = browser.post(f"{API}/events/verification").get_json()
    assert (found["rows"], found["count"], found["seq"], found["by"]) == (10, 0, 10, "ds1")
    write(house, event("stage", "models:/cooler/1", "cooler"))
    assert browser.get(f"{API}/events/verification").get_json() == {**found, "since": 1}
    with house.engine.begin() as connection:
        connection.execute(update(ledger).where(ledger.c.seq == 4).values(reason="nobody said so"))
    found = browser.post(f"{API}/events/verification").get_json()
    assert found["faults"] == [{"seq": 4, "problem": "its content was changed after it was written"}]
    page = browser.get("/hydraulic/events").text
    assert "tampered with" in page
    assert "row 4" in page


def test_what_somebody_wrote_into_a_row_is_text_on_the_page(house: TestHouse) -> None:
    write(house, event("stage", "models:/cooler/1", "cooler", after="<script>alert(1)</script>", reason="<b>x</b>"))
    with house.engine.begin() as connection:
        connection.execute(update(ledger).where(ledger.c.seq == 7).values(after='"\\ud800"', before="[" * 9000))
        connection.execute(update(ledger).where(ledger.c.seq == 4).values(after="9" * 400))
    browser = client(house)
    for path in ("/hydraulic/events", "/hydraulic/projects/rig/events", f"{API}/events"):
        answer = browser.get(path)
        assert answer.status_code == 200
        if path.startswith("/hydraulic"):
            assert "<script>alert" not in answer.text
            assert "<b>" not in answer.text


def test_the_page_leads_on_and_back_with_its_filter(house: TestHouse) -> None:
    house.accounts.caller = ADMIN
    browser = client(house)
    first = browser.get("/hydraulic/events?limit=4&actor=ds1").text
    assert "actor=ds1&amp;limit=4&amp;before=7" in first
    second = browser.get("/hydraulic/events?limit=4&actor=ds1&before=7&back=").text
    assert "actor=ds1&amp;limit=4&amp;before=3&amp;back=7" in second
    assert 'rel="prev"' in second
