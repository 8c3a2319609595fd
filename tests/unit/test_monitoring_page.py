"""The monitoring page: who may see it, that nothing in it is obeyed, Grafana's links, and plotly's script from here."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.configured import read_monitoring
from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.web.monitoring import plotly
from mlflow_hydraulic.web.route import ROUTES
from tests.support.house import ADMIN, DS1, DS2, client
from tests.support.monitored import API, PAGES, Monitored, make_monitored
from tests.support.watching import normal

PAGE = f"{PAGES}/deployments/prod/cooler/monitoring"


@pytest.fixture
def monitored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Monitored:
    return make_monitored(tmp_path, monkeypatch, rows=30)


def test_only_members_see_anything_of_it(monitored: Monitored) -> None:
    paths = [one.rule.replace("<environment>", "prod").replace("<deployment>", "cooler") for one in ROUTES]
    mine = [f"{API}{path}" for path in paths if "/monitoring" in path]
    assert len(mine) == 7
    for who, status in ((DS1, 200), (DS2, 200), (ADMIN, 200), (Who(name="eve"), 404)):
        monitored.house.accounts.caller = who
        for path in (*mine, PAGE):
            answer = monitored.browser.get(path)
            assert answer.status_code == status, (who, path)
            assert status == 200 or "tsa_temp" not in answer.text
    assert monitored.browser.get(PAGE.replace("cooler", "nothing")).status_code == 404


def test_the_page_holds_its_parts_and_runs_nothing_of_its_own(monitored: Monitored) -> None:
    monitored.world.watch().look()
    for tab in ("service", "drift", "accuracy", "anomalies", "column", "comparison"):
        text = monitored.browser.get(PAGE, query_string={"tab": tab, "refresh": "5", "last": "1h"}).text
        assert f'data-source="/deployments/prod/cooler/monitoring/{tab}"' in text
        assert re.search(r'<option value="5" selected>', text) and re.search(r'<option value="1h" selected>', text)
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", text), "the policy forbids scripts in the page"
        assert "static/plotly.min.js?" in text and "http" not in re.sub(
            r"http://www.w3.org", "", text.split("<main")[1]
        )
    assert monitored.browser.get(PAGE, query_string={"tab": "nothing"}).status_code == 400


def test_names_that_are_markup_stay_text(monitored: Monitored) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    monitored.world.ask("cooler", normal(5, 1), version=hostile)  # type: ignore[arg-type]
    text = monitored.browser.get(PAGE, query_string={"tab": "drift"}).text
    assert hostile not in text and "&lt;img src=x" in text


def test_grafana_is_linked_where_it_is_configured(monitored: Monitored) -> None:
    assert "Grafana" not in monitored.browser.get(PAGE).text
    set_up = read_monitoring({"monitor": {"grafana": "https://grafana.example.com/"}})
    text = client(replace(monitored.house, monitoring=set_up)).get(PAGE).text
    assert (
        "https://grafana.example.com/d/hydraulic-deployment?var-namespace=prod&amp;var-deployment=cooler&amp;from="
        in text
    )
    for url in ("javascript:alert(1)", "//evil", "https://a b"):
        with pytest.raises(BadInput, match=r"monitor\.grafana"):
            read_monitoring({"monitor": {"grafana": url}})


def test_plotlys_script_comes_from_here_and_is_kept(monitored: Monitored) -> None:
    path = f"{PAGES}/{plotly.url()}"
    first = monitored.browser.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert first.status_code == 200 and "immutable" in first.headers["Cache-Control"]
    assert first.headers["Content-Encoding"] == "gzip" and len(first.data) < 2_000_000
    assert b"window.Plotly" in monitored.browser.get(path).data
    again = monitored.browser.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]})
    assert (
        again.status_code == 304
        and again.data == b""
        and "script-src 'self'" in again.headers["Content-Security-Policy"]
    )
