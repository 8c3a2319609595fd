"""Our own pages as a person uses them: what is clicked, typed and read. No test of its own."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.registry_page import PATIENCE_MS, SETTLED


class RigPages:
    """One person's tab. `url`: of the server, with its static prefix."""

    def __init__(self, context: BrowserContext, url: str, screenshots: Path) -> None:
        self.page: Page = context.new_page()
        self.url = url
        self._screenshots = screenshots
        self._taken = 0
        self.problems: list[str] = []
        self.page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def open(self, path: str) -> int:
        """Go to a page of ours; its status."""
        answer = self.page.goto(f"{self.url}/hydraulic{quote(path, safe='/?=&#%')}")
        assert answer is not None
        return answer.status

    def show(self, step: str) -> None:
        """Keep a screenshot, once nothing moves any more."""
        self.page.evaluate(SETTLED)
        self._taken += 1
        self.page.screenshot(path=self._screenshots / f"{self._taken:02d}-{step}.png", full_page=True)

    def log_in(self, user: str, password: str) -> None:
        """On the log-in page that any page leads to."""
        self.open("/projects")
        self.page.get_by_label("User").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("heading", name="Projects")).to_be_visible()

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog").filter(visible=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    def row(self, text: str) -> Locator:
        return self.page.get_by_role("row").filter(has_text=text)

    def choose(self, where: Locator, entry: str) -> None:
        """Open the menu of actions there, and click one of them: two clicks."""
        menu = where.locator("details.menu").first
        menu.locator("summary").click()
        menu.get_by_text(entry, exact=True).click()

    def confirm(self, button: str, *, reason: str = "") -> None:
        """In the dialog that is open: the reason, and the button."""
        if reason:
            self.dialog.get_by_label("Reason").fill(reason)
        self.dialog.get_by_role("button", name=button).click()

    def expect_state(self, state: str, within_s: float = 90) -> None:
        """The deployment's page comes to show the state; nobody loads it anew."""
        pill = self.page.locator("main .pill").filter(has_text=state).first
        expect(pill).to_be_visible(timeout=within_s * 1000)
