"""axe on every page, in light and dark, on a desk and a phone: nothing serious. Screenshots: HYDRAULIC_SCREENSHOTS."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest

from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.web import api, views
from mlflow_hydraulic.web.page import PAGES
from mlflow_hydraulic.web.sample import sample
from tests.browser.conftest import SCREENSHOTS
from tests.browser.plant import make_registry
from tests.servers import Server, mlflow_server
from tests.support import planted

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

assert api, views  # they declare themselves
pytestmark = pytest.mark.slow
WIDE, NARROW = 1280, 390
LOOKS = (
    ("light", WIDE, None),
    ("dark", WIDE, "color-contrast"),
    ("light", NARROW, "color-contrast"),
    ("dark", NARROW, None),
)
GRAVE = ("serious", "critical")
READY = "document.fonts.ready.then(() => true)"


@pytest.fixture(scope="module")
def planted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with log-ins and something to show on each page; what stands for the names in paths."""
    folder = tmp_path_factory.mktemp("server")
    make_registry(folder)
    with mlflow_server(folder, auth=True, env={"HYDRAULIC_HOME": str(folder / "home")}) as server:
        engine = database.open_database(server.backend)
        alerts = planted.plant(engine)
        engine.dispose()
        environment, deployment = planted.PLACE
        named = {"project": planted.PROJECT, "model": planted.MODEL, "version": "1", "alert": alerts[0]}
        yield server, {**named, "environment": environment, "deployment": deployment}


@pytest.fixture
def page(chromium: Browser, planted_server: tuple[Server, dict[str, str]]) -> Iterator[Page]:
    """A tab of ds1, who owns the project; a script's error fails the test."""
    name, password = planted_server[0].login("ds1")
    header = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    context = chromium.new_context(extra_http_headers={"Authorization": header})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert errors == []


def look(page: Page, theme: str, width: int) -> None:
    """Show the page that is open in another theme and at another width."""
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    page.evaluate(READY)


def grave(page: Page, rule: str | None) -> list[str]:
    """axe's findings that keep somebody out. rule: only this one is asked, None for all."""
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rule:
        options["runOnly"] = {"type": "rule", "values": [rule]}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:200]}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("shown", PAGES, ids=lambda one: one.path)
def test_a_page_keeps_nobody_out(
    shown: Any, page: Page, planted_server: tuple[Server, dict[str, str]], tmp_path: Path
) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed: pages are NOT checked")
    server, named = planted_server
    path = shown.path
    for name, value in named.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    if "query" in shown.hints:
        asked = sample(shown.hints["query"])
        path += "?" + urlencode({name: named.get(name, value) for name, value in asked.items()})
    folder = Path(SCREENSHOTS or tmp_path) / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    answer = page.goto(f"{server.uri}/hydraulic{path}")
    assert answer is not None
    assert answer.status == 200, page.inner_text("body")
    for theme, width, rule in LOOKS:
        look(page, theme, width)
        page.screenshot(path=folder / f"{shown.name}-{theme}-{width}.png", full_page=True)
        assert grave(page, rule) == [], f"{theme}, {width} pixels"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than {width} pixels"


def test_the_frame_by_keyboard(page: Page, planted_server: tuple[Server, dict[str, str]]) -> None:
    """The skip link leads to the page; a menu opens, moves and closes; a dialog gives the focus back."""
    server, _ = planted_server
    page.goto(f"{server.uri}/hydraulic/projects/{planted.PROJECT}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    menu = page.locator("main details.menu summary").first
    menu.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('details.menu').open")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.localName") == "summary"
    share = page.locator("main button[data-open]:visible").first
    share.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert share.evaluate("one => one === document.activeElement")


def test_the_theme_is_chosen_kept_and_shared_with_mlflow(
    page: Page, planted_server: tuple[Server, dict[str, str]]
) -> None:
    server, _ = planted_server
    page.emulate_media(color_scheme="light")
    page.goto(f"{server.uri}/hydraulic/projects")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "light"
    page.locator("[data-theme-switch]").click()
    assert page.evaluate(theme) == "dark"
    page.goto(f"{server.uri}/hydraulic/events")
    assert page.evaluate(theme) == "dark"
    assert page.evaluate("localStorage.getItem('_mlflow_dark_mode_toggle_enabled')") == "true"


def test_events_are_filtered_as_one_types_and_verified_by_a_click(
    page: Page, planted_server: tuple[Server, dict[str, str]]
) -> None:
    server, _ = planted_server
    page.goto(f"{server.uri}/hydraulic/events")
    rows = page.locator("#rows tbody tr")
    before = rows.count()
    page.locator("[name=text]").press_sequentially("unseen runs", delay=20)
    page.wait_for_url("**/events?text=unseen+runs")
    assert 0 < rows.count() < before
    assert page.evaluate("document.activeElement.name") == "text"
    since = page.locator("[name=since]")
    since.press_sequentially("2 moo", delay=20)
    page.locator("[name=since][aria-invalid=true]").wait_for()
    assert page.locator(".toast").count() == 0, "who still types is not told off"
    since.press("Tab")
    page.get_by_text("It could not be filtered: time '2 moo' cannot be read").wait_for()
    since.fill("2d")
    page.locator("[name=since]:not([aria-invalid])").wait_for()
    page.get_by_role("button", name="Verify now").click()
    page.get_by_text("form one unbroken chain").wait_for()


@pytest.mark.parametrize("acted", [True, False])
def test_a_page_that_follows_an_act_looks_soon_for_what_came_of_it(
    page: Page, planted_server: tuple[Server, dict[str, str]], acted: bool
) -> None:
    server, _ = planted_server
    page.clock.install()
    page.goto(f"{server.uri}/hydraulic/projects")
    page.evaluate("acted => acted && sessionStorage.setItem('hydraulic.toast', 'Done')", acted)
    page.goto(f"{server.uri}/hydraulic/projects")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.clock.run_for(5000)
    page.evaluate("() => fetch('/hydraulic/static/icon.svg')")  # so that what was asked before it is known
    assert (f"{server.uri}/hydraulic/projects" in asked) is acted


def test_an_act_that_cannot_be_shown_says_why(page: Page, planted_server: tuple[Server, dict[str, str]]) -> None:
    server, _ = planted_server
    page.goto(f"{server.uri}/hydraulic/models")
    link = page.locator("main table a").first
    link.evaluate("one => { one.pathname = '/hydraulic/models/gone/versions/1/deploy' }")
    link.click()
    page.locator("#toasts").get_by_text("there is no model 'gone' here").wait_for()
