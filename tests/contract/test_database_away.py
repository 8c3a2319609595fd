"""Pages and REST API while the database is away, locked or damaged: told in words, by a status that says "later"."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from mlflow_hydraulic.web import access
from tests.support.house import KIND, SERVERS, client, make_house

WORDS = "the database does not answer for now"


def test_a_database_that_is_away_is_no_fault_of_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = client(make_house(tmp_path))

    def away(*_: object) -> None:
        raise OperationalError("SELECT secret", {"of": "nobody's business"}, Exception("disk I/O error"))

    monkeypatch.setattr(access, "check", away)
    answer = browser.get("/api/2.0/hydraulic/projects")
    assert (answer.status_code, answer.get_json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    page = browser.get("/hydraulic/projects")
    assert page.status_code == 503
    for said in (answer.text, page.text):
        assert WORDS in said
        assert "SELECT" not in said and "disk" not in said


@pytest.mark.skipif(KIND in SERVERS, reason="a server's database is no file")
def test_a_file_that_is_no_database_any_more_is_told(tmp_path: Path) -> None:
    house = make_house(tmp_path)
    browser = client(house)
    house.engine.dispose()
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    (tmp_path / "mlflow.db").mkdir()
    assert browser.get("/api/2.0/hydraulic/projects").status_code == 503
    assert WORDS in browser.get("/hydraulic/projects").text


def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    large = b" " * 1_000_001
    answer = client(make_house(tmp_path)).post(
        "/api/2.0/hydraulic/projects", data=large, content_type="application/json"
    )
    assert answer.status_code == 400
    assert "1000001 bytes" in answer.get_json()["message"]
