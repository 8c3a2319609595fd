"""The monitoring page and an alert in a real Chromium: charts drawn by our own plotly, tables by keyboard, acts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from werkzeug.serving import make_server

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.monitor import standing
from tests.support.monitored import Monitored, make_monitored
from tests.support.watching import normal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE = "/hydraulic/deployments/prod/cooler/monitoring"
DRAWN = "#panel[aria-busy=false] .chart .main-svg"


@pytest.fixture
def monitored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Monitored:
    found = make_monitored(tmp_path, monkeypatch)
    found.world.watch().look()
    return found


@pytest.fixture
def page(monitored: Monitored, chromium: Browser) -> Iterator[Page]:
    """A tab at the pages' address; what a script or the policy complains of fails the test."""
    server = make_server("127.0.0.1", 0, monitored.browser.application, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    context = chromium.new_context(base_url=f"http://127.0.0.1:{server.port}", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
    try:
        yield page
    finally:
        context.close()
        server.shutdown()
        thread.join(30)
        server.server_close()
    assert said == []


def test_charts_are_drawn_each_is_a_table_too_and_they_stay_fresh(monitored: Monitored, page: Page) -> None:
    foreign: list[str] = []
    page.on("request", lambda sent: foreign.append(sent.url) if "127.0.0.1" not in sent.url else None)
    page.goto(f"{PAGE}?tab=drift&last=1h")
    page.wait_for_selector(DRAWN)
    assert "tsa_temp" in page.locator("#chart-shift .ytick text").all_text_contents()
    details = page.locator("#chart-shift details")
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.locator("tbody tr").first.locator("td").first.text_content() == "tsa_temp"
    before = page.locator("#chart-shift .says").text_content()
    page.select_option("[name=refresh]", "5")
    monitored.world.ask("cooler", normal(40, 9))
    page.wait_for_function("old => document.querySelector('#chart-shift .says').textContent !== old", arg=before)
    assert details.get_attribute("open") is not None, "what is open stays open, and nothing was reloaded"
    assert "refresh=5" in page.url and "tab=drift" in page.url
    light = page.locator("#chart-shift .xtitle").first.evaluate("at => getComputedStyle(at).fill")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function(
        "old => getComputedStyle(document.querySelector('#chart-shift .xtitle')).fill !== old", arg=light
    )
    page.click("#table-inputs a:has-text('tsa_temp')")
    page.wait_for_selector(DRAWN)
    assert page.locator("[name=name]").input_value() == "tsa_temp"
    assert page.locator("#panel .chart .main-svg").count() >= 3 and foreign == []
    page.select_option("[name=last]", "custom")
    for name, days in (("since", 30), ("until", 29)):
        page.fill(f"[name={name}]", f"{utc_now() - timedelta(days=days):%Y-%m-%dT%H:%M}")
    page.wait_for_selector("#chart-course .empty:has-text('Nothing was asked')")


def test_an_alert_is_acknowledged_with_a_reason(monitored: Monitored, page: Page) -> None:
    page.goto("/hydraulic/alerts")
    page.locator("#rows tbody a").first.click()
    page.click("button:has-text('Acknowledge')")
    dialog = page.locator("dialog[open]")
    dialog.locator("[name=reason]").fill("new pump; ds1 retrains")
    dialog.locator("button.primary").click()
    page.wait_for_selector(".pill:has-text('acknowledged by anonymous')")
    page.click("button:has-text('Mute')")
    page.locator("dialog[open] [name=reason]").fill("pump is on order")
    page.locator("dialog[open] button.primary").click()
    page.wait_for_selector("button:has-text('Unmute')")
    with monitored.house.engine.connect() as connection:
        reasons = [one.acknowledged_because for one in standing.current(connection, "default").values()]
    assert "new pump; ds1 retrains" in reasons
