"""A real Chromium on MLflow's real page. Screenshots of every step: HYDRAULIC_SCREENSHOTS, or the test's own folder."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.plant import POLICY, Plant, make_registry
from tests.servers import mlflow_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.browser.registry_page import RegistryPage

SCREENSHOTS = os.environ.get("HYDRAULIC_SCREENSHOTS")  # read at import: the environment is scrubbed before each test
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
QUIET += " --disable-component-update --disable-sync"
PLAYWRIGHT = 'the package playwright is not installed: pip install "mlflow-hydraulic[test]"'
Visit = Callable[..., "RegistryPage"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, driven by playwright; its own browsers are never downloaded."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET.split())
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def plant(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """MLflow's server with log-ins and a policy; the controller is started by the tests that need it."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "hydraulic.toml").write_text(POLICY, encoding="utf-8")
    make_registry(folder)
    with mlflow_server(folder, auth=True, env={"HYDRAULIC_HOME": str(folder / "home")}) as server:
        yield Plant(server, folder / "home")


@pytest.fixture(scope="session")
def _contexts() -> Iterator[dict[tuple[str, str], BrowserContext]]:
    """One browser a person, kept through the tests: MLflow's scripts are large and need loading once."""
    contexts: dict[tuple[str, str], BrowserContext] = {}
    yield contexts
    for context in contexts.values():
        context.close()


@pytest.fixture
def visit(
    chromium: Browser,
    _contexts: dict[tuple[str, str], BrowserContext],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Visit]:
    """`visit(plant, user)`: a tab in that person's browser; `first=True`: in one that never saw this server."""
    from tests.browser.registry_page import RegistryPage

    folder = Path(SCREENSHOTS or tmp_path) / request.node.name
    folder.mkdir(parents=True, exist_ok=True)
    closing: list[BrowserContext | Page] = []

    def visit(plant: Plant, user: str = "", *, first: bool = False) -> RegistryPage:
        context = None if first else _contexts.get((plant.server.uri, user))
        if context is None:
            context = chromium.new_context(
                extra_http_headers=_login(plant, user), viewport={"width": 1280, "height": 900}
            )
            if first:
                closing.append(context)
            else:
                _contexts[plant.server.uri, user] = context
        page = context.new_page()
        closing.append(page)
        return RegistryPage(page, plant.server.uri + plant.server.prefix, folder)

    yield visit
    for one in reversed(closing):
        one.close()


def _login(plant: Plant, user: str) -> dict[str, str] | None:
    """The header of one who is logged in before the first page: a browser is asked by a page, never by a challenge."""
    if not plant.server.auth:
        return None
    name, password = plant.server.login(user)
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
