"""A person with MLflow's page: the log-in, the entry that leads to our pages and back, the log-out. In Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as PlaywrightError

from tests.browser.plant import Plant

ENTRY = "#hydraulic-entry a"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab of somebody who was never here."""
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield context.new_page()


def log_in(page: Page, plant: Plant, user: str) -> None:
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(plant.server.login(user)[1])
    page.get_by_role("button", name="Log in").click()


def test_from_mlflows_page_to_ours_and_out_again(plant: Plant, page: Page) -> None:
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    at = plant.server.uri + plant.server.prefix
    page.goto(f"{at}/#/models")
    page.get_by_label("User").fill("ds1")
    page.get_by_label("Password").fill("not that")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("Wrong user or password.")
    expect(page.get_by_label("User")).to_have_value("ds1")
    log_in(page, plant, "ds1")
    page.wait_for_url(f"{at}/#/models")  # where the person wanted to go, with what stands behind the #

    entry = page.locator(ENTRY)
    expect(entry).to_have_text("Projects")
    page.get_by_text("Model training").click()  # MLflow draws its list anew, and the entry stays its last
    expect(page.get_by_role("link", name="Model registry")).to_be_visible()
    expect(entry).to_have_count(1)
    expect(page.locator("aside nav ul > li").last.get_by_role("link")).to_have_text("Projects")
    page.locator("aside button").first.click()  # narrow: icons only
    expect(page.get_by_role("link", name="Projects", exact=True)).to_have_count(1)
    expect(entry).not_to_have_text("Projects")
    page.get_by_role("link", name="Projects", exact=True).click()
    page.wait_for_url(f"{at}/hydraulic/projects")

    expect(page.locator("body")).to_contain_text("ds1")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="You are logged out")).to_be_visible()
    page.goto(f"{at}/hydraulic/projects")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert not wrong


def test_a_log_in_that_runs_out_under_an_open_page_leads_back_to_it(plant: Plant, page: Page) -> None:
    at = plant.server.uri + plant.server.prefix
    page.goto(f"{at}/#/models")
    log_in(page, plant, "ds2")
    expect(page.locator(ENTRY)).to_be_visible()
    page.context.clear_cookies()
    with suppress(
        PlaywrightError
    ):  # its own scripts ask all the time: they may be the first, and the page is gone then
        page.evaluate("() => { fetch('ajax-api/2.0/mlflow/users/current'); }")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    log_in(page, plant, "ds2")
    page.wait_for_url(f"{at}/#/models")


def test_another_mlflow_without_such_a_list_is_left_alone(plant: Plant, page: Page) -> None:
    at = plant.server.uri + plant.server.prefix
    page.goto(f"{at}/hydraulic/login")
    log_in(page, plant, "ds1")
    page.wait_for_url("**/hydraulic/projects")
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # its scripts do not come: what is drawn is ours to say
    page.route("**/static-files/**", lambda route: route.abort())
    page.goto(f"{at}/")
    for drawn in ("<aside><nav><ul></ul></nav></aside>", "<ul><li><a href='#/x'><svg></svg>x</a></li></ul>", ""):
        page.evaluate(
            "async (html) => { document.body.innerHTML = html; await new Promise(requestAnimationFrame); }", drawn
        )
        expect(page.locator("#hydraulic-entry")).to_have_count(0)
    two = "<li><a href='#/x'><svg></svg>x</a></li><li><a href='#/y'><svg></svg>y</a></li>"
    page.evaluate("(html) => { document.body.innerHTML = html; }", f"<aside><nav><ul>{two}</ul></nav></aside>")
    expect(page.locator(ENTRY)).to_have_text("Projects")
    assert not wrong
