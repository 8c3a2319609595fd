"""The tutorial's story in our own pages, as ds1 and ds2: from an empty project to a rollback, with nothing but clicks.

Server, controller, monitor and scorers are real. Screenshots of every step: HYDRAULIC_SCREENSHOTS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.browser.conftest import PLAYWRIGHT, SCREENSHOTS
from tests.browser.plant import Plant, controller, make_registry
from tests.servers import PASSWORDS, QUIET, mlflow_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.rig_pages import RigPages

pytestmark = pytest.mark.slow
expect = pytest.importorskip("playwright.sync_api", reason=PLAYWRIGHT).expect
PROJECT, MODEL = "Hydraulic rig", "cooler"
DEV, PROD = f"/deployments/dev/{MODEL}", f"/deployments/prod/{MODEL}"
HOSTILE = "Seen on run 17: <script>document.title = 'owned'</script>"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """A server with log-ins and a controller; the registry has `cooler` in three versions, and no project."""
    folder = tmp_path_factory.mktemp("story")
    make_registry(folder, versions=3)
    home = folder / "home"
    with mlflow_server(folder, auth=True, env={"HYDRAULIC_HOME": str(home)}) as server, controller(server, home):
        yield Plant(server, home)


@pytest.fixture
def ds1(story: Plant, chromium: Browser, tmp_path: Path) -> Iterator[RigPages]:
    yield from _person(story, chromium, tmp_path, "ds1")


@pytest.fixture
def ds2(story: Plant, chromium: Browser, tmp_path: Path) -> Iterator[RigPages]:
    yield from _person(story, chromium, tmp_path, "ds2")


def _person(story: Plant, chromium: Browser, tmp_path: Path, user: str) -> Iterator[RigPages]:
    """A browser of their own, logged in by the form."""
    from tests.browser.rig_pages import RigPages

    folder = Path(SCREENSHOTS or tmp_path) / "story" / user
    folder.mkdir(parents=True, exist_ok=True)
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=story.server.uri)
    tab = RigPages(context, story.server.uri, folder)
    tab.log_in(user, PASSWORDS[user])
    yield tab
    context.close()
    assert tab.problems == []


def test_the_story(story: Plant, ds1: RigPages, ds2: RigPages) -> None:
    _makes_a_project(ds1)
    _sees_nothing_of_it(story, ds2)
    _shares_it(ds1)
    _comments(ds2)
    _deploys_to_dev(ds1)
    _runs_the_sample(ds1)
    _watches(story, ds1)
    _deploys_to_prod(ds2)
    _adds_a_challenger(ds2)
    _splits(ds1)
    _rolls_back(ds1)
    _reads_the_events(ds1)
    _restricts(story, ds1, ds2)
    _logs_out(ds2)
    rows = [(row.actor, row.verb) for row in story.ledger()]
    assert ("ds1", "project") in rows and ("ds2", "comment") in rows and ("ds2", "stage") in rows


def _makes_a_project(ds1: RigPages) -> None:
    ds1.show("no projects")
    ds1.button("Add project").first.click()
    ds1.dialog.get_by_label("Name").fill(PROJECT)
    ds1.dialog.get_by_label("Description").fill("The cooler of the rig")
    ds1.confirm("Add project")
    expect(ds1.page.get_by_role("heading", name=PROJECT)).to_be_visible()
    ds1.page.get_by_role("link", name="Add or remove models").click()
    ds1.dialog.get_by_label("Registered model").fill(MODEL)
    ds1.show("add a model")
    ds1.confirm("Add model", reason="it is the rig's")
    expect(ds1.page.get_by_role("link", name=MODEL, exact=True)).to_be_visible()
    ds1.show("models")


def _sees_nothing_of_it(story: Plant, ds2: RigPages) -> None:
    """Neither by page nor by URL nor by API, ours or MLflow's."""
    ds2.open("/projects")
    expect(ds2.page.get_by_text(PROJECT)).to_have_count(0)
    for path in (f"/projects/{PROJECT}", f"/models/{MODEL}", f"/models/{MODEL}/versions/1", DEV):
        assert ds2.open(path) == 404, path
    ds2.show("not shared")
    for path in (f"hydraulic/projects/{PROJECT}", f"hydraulic/models/{MODEL}"):
        assert _asks(story, "ds2", path).status_code == 404, path
    assert _asks(story, "ds2", "mlflow/registered-models/get", name=MODEL).status_code in (403, 404)
    listed = _asks(story, "ds2", "mlflow/registered-models/search").json()
    assert MODEL not in [one["name"] for one in listed.get("registered_models", [])]


def _shares_it(ds1: RigPages) -> None:
    ds1.open(f"/projects/{PROJECT}")
    ds1.button("Share").click()
    ds1.dialog.get_by_label("User").fill("ds2")
    ds1.dialog.get_by_label("Role").select_option("operator")
    ds1.confirm("Share", reason="they run the rig")
    expect(ds1.row("ds2")).to_contain_text("operator")
    ds1.show("members")


def _comments(ds2: RigPages) -> None:
    assert ds2.open(f"/models/{MODEL}/versions/1") == 200
    ds2.page.get_by_label("Add a comment").fill(HOSTILE)
    ds2.button("Comment").click()
    expect(ds2.page.get_by_text(HOSTILE)).to_be_visible()
    assert ds2.page.title() != "owned"
    ds2.show("comment")


def _deploys_to_dev(ds1: RigPages) -> None:
    """Three clicks from the model's row to an endpoint; then it becomes healthy without a reload by anybody."""
    ds1.open("/models?versions=all")
    row = ds1.page.get_by_role("row", name=MODEL).filter(has=ds1.page.get_by_role("link", name="1", exact=True))
    ds1.choose(row, "Deploy to DEV")
    ds1.show("deploy to DEV")
    ds1.confirm("Deploy to DEV")
    ds1.page.wait_for_url(f"**{DEV}")
    ds1.show("on its way")
    ds1.expect_state("healthy")
    ds1.show("healthy")


def _runs_the_sample(ds1: RigPages) -> None:
    """What the button copies is run as it is, in a shell."""
    ds1.button("The tutorial").click()
    ds1.button("Copy").filter(visible=True).last.click()
    copied = ds1.page.evaluate("navigator.clipboard.readText()")
    said = subprocess.run(["bash", "-c", copied], capture_output=True, text=True, timeout=60, check=True).stdout
    assert json.loads(said)["fields"] == ["cool_cond_y.3", "cool_cond_y.20", "cool_cond_y.100"]
    ds1.button("Ask it").click()
    expect(ds1.page.locator("#tried")).to_contain_text("Prediction id")
    ds1.show("asked")


def _watches(story: Plant, ds1: RigPages) -> None:
    """The monitor looks once; its page shows what it counted."""
    env = {**os.environ, **QUIET, **story.server.environment(), "HYDRAULIC_HOME": str(story.home)}
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "monitor", "--once"]
    for _ in range(2):  # counts are between two looks
        subprocess.run(
            command,
            env={**env, "HYDRAULIC_DATABASE": story.server.backend},
            check=False,
            timeout=120,
            cwd=story.server.folder,
            capture_output=True,
        )
    ds1.page.get_by_role("link", name="Monitoring").first.click()
    expect(ds1.page.get_by_role("heading", name="Requests")).to_be_visible()
    ds1.show("monitoring")
    for tab in ("Drift", "Inputs and outputs"):
        ds1.page.get_by_role("link", name=tab).or_(ds1.page.get_by_role("tab", name=tab)).first.click()
        ds1.show(tab)


def _deploys_to_prod(ds2: RigPages) -> None:
    ds2.open(f"/models/{MODEL}/versions/1")
    ds2.choose(ds2.page.locator("main"), "Deploy to PROD")
    ds2.confirm("Deploy to PROD")  # PROD asks for a reason, and says so before anything is sent
    expect(ds2.dialog).to_be_visible()
    ds2.show("PROD asks for a reason")
    ds2.confirm("Deploy to PROD", reason="a week in DEV without an alarm")
    ds2.page.wait_for_url(f"**{PROD}")
    ds2.expect_state("healthy")
    ds2.show("in PROD")


def _adds_a_challenger(ds2: RigPages) -> None:
    ds2.open(f"/models/{MODEL}/versions/2")
    ds2.choose(ds2.page.locator("main"), "Challenger for PROD")
    ds2.confirm("PROD", reason="a second opinion")
    ds2.page.wait_for_url(f"**{PROD}")
    expect(ds2.row(f"{MODEL} 2")).to_contain_text("challenger", timeout=90_000)
    ds2.show("challenger")


def _splits(ds1: RigPages) -> None:
    ds1.open(f"{PROD}/edit")
    ds1.page.get_by_label("A/B").check()
    ds1.page.get_by_label("Version", exact=True).select_option("1")
    ds1.page.get_by_label("Version 2", exact=True).select_option("3")
    ds1.page.locator("#share-1").fill("80")
    ds1.page.locator("#share-2").fill("20")
    expect(ds1.page.locator("#preview")).to_contain_text("20")
    ds1.show("A and B")
    ds1.page.get_by_label("Reason").fill("a fifth of the callers")
    ds1.button("Save and deploy").click()
    ds1.page.wait_for_url(f"**{PROD}")
    expect(ds1.row(f"{MODEL} 3")).to_contain_text("20 %", timeout=90_000)
    ds1.show("A and B run")


def _rolls_back(ds1: RigPages) -> None:
    ds1.page.get_by_role("link", name="Roll back to this").last.click()
    ds1.show("roll back")
    ds1.dialog.get_by_label("Reason").fill("enough seen")
    ds1.dialog.get_by_role("button").last.click()
    expect(ds1.row(f"{MODEL} 3")).to_have_count(0, timeout=90_000)
    expect(ds1.row(f"{MODEL} 1").first).to_contain_text("100 %")
    expect(ds1.row(f"{MODEL} 2")).to_have_count(0)  # it is what ran first, without the challenger
    ds1.show("rolled back")


def _reads_the_events(ds1: RigPages) -> None:
    ds1.open(f"/projects/{PROJECT}/events")
    main = ds1.page.locator("main")
    for words in ("a week in DEV without an alarm", "enough seen", "ds2", HOSTILE[:12]):
        expect(main).to_contain_text(words)
    ds1.show("events")


def _restricts(story: Plant, ds1: RigPages, ds2: RigPages) -> None:
    """A reader may look and not touch, from the next request on."""
    ds1.open(f"/projects/{PROJECT}/members")
    ds1.choose(ds1.row("ds2"), "Change role")
    ds1.dialog.get_by_label("Role").select_option("reader")
    ds1.confirm("Change role", reason="the season is over")
    expect(ds1.row("ds2")).to_contain_text("reader")
    assert ds2.open(PROD) == 200
    expect(ds2.button("Ask it")).to_have_count(0)
    body = {"name": MODEL, "version": "2", "stage": "Production", "archive_existing_versions": True}
    answer = requests.post(
        f"{story.server.uri}/api/2.0/mlflow/model-versions/transition-stage",
        json=body,
        headers={"X-Hydraulic-Reason": "I may, I think"},
        auth=story.server.login("ds2"),
        timeout=60,
    )
    assert answer.status_code == 403, answer.text


def _logs_out(ds2: RigPages) -> None:
    ds2.button("Log out").click()
    ds2.open("/projects")
    expect(ds2.page.get_by_label("Password")).to_be_visible()


def _asks(story: Plant, user: str, path: str, **query: str) -> requests.Response:
    return requests.get(f"{story.server.uri}/api/2.0/{path}", params=query, auth=story.server.login(user), timeout=60)
