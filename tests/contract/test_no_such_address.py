"""Addresses of ours that lead nowhere: told as such, to people with a log-in and to none."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_hydraulic.people.rights import Who
from tests.support.house import DS2, client, make_house

API, AJAX = "/api/2.0/hydraulic", "/ajax-api/2.0/hydraulic"


@pytest.mark.parametrize("who", [Who(), DS2], ids=["nobody", "ds2"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/nothing"),
        ("POST", f"{AJAX}/projects/x/y/z"),
        ("PATCH", f"{API}/projects"),
        ("GET", f"{API}/about/"),
    ],
)
def test_a_route_that_is_not_there(tmp_path: Path, who: Who, method: str, path: str) -> None:
    answer = client(make_house(tmp_path, who=who)).open(path, method=method)
    assert (answer.status_code, answer.get_json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "no route of that name and method" in answer.get_json()["message"]


def test_a_page_that_is_not_there(tmp_path: Path) -> None:
    browser = client(make_house(tmp_path, who=DS2))
    for path in ("/hydraulic/nothing", "/hydraulic/projects/x/<script>", "/hydraulic/models/"):
        answer = browser.get(path)
        assert answer.status_code == 404 and "there is no such page" in answer.text
        assert "<script>'" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{API}/about", 200),
        ("/hydraulic/projects", 200),
        ("/hydraulic/static/app.css", 200),
        ("/hydraulic/static/none.css", 404),
        ("/hydraulic", 302),
    ],
)
def test_what_is_there_is_still_found(tmp_path: Path, path: str, status: int) -> None:
    with client(make_house(tmp_path)).get(path) as answer:
        assert answer.status_code == status and b"no such page" not in answer.get_data()
