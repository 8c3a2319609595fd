"""MLflow's registry pages as a person uses them: what is clicked, typed and read. No test of its own."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Dialog, Locator, Page, expect

PATIENCE_MS = 30_000  # a loaded machine; nothing waits that long where all is well
SETTLED = """Promise.allSettled(document.getAnimations()
    .filter(one => one.effect.getComputedTiming().endTime !== Infinity).map(one => one.finished))"""


class RegistryPage:
    """One tab. `asked`: what the page asked by a prompt; `answer`: what it is told, None to dismiss it."""

    def __init__(self, page: Page, url: str, screenshots: Path) -> None:
        self.page = page
        self.asked: list[str] = []
        self.answer: str | None = None
        self._url = url
        self._screenshots = screenshots
        self._taken = 0
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.on("dialog", self._answer)

    def open(self, model: str, version: int, *, workspace: str = "") -> None:
        """The page of one version, loaded anew."""
        query = f"?workspace={workspace}" if workspace else ""
        self.page.goto("about:blank")
        self.page.goto(f"{self._url}/#/models/{model}/versions/{version}{query}")
        expect(self.page.get_by_text(f"Version {version}", exact=True).first).to_be_visible()

    def open_list(self) -> None:
        """The page of all registered models."""
        self.page.goto(f"{self._url}/#/models")
        expect(self.page.get_by_role("link", name="cooler")).to_be_visible()

    def show(self, step: str) -> None:
        """Keep a screenshot, once nothing moves any more."""
        self.page.evaluate(SETTLED)
        self._taken += 1
        self.page.screenshot(path=self._screenshots / f"{self._taken:02d}-{step}.png")

    @property
    def stage_menu(self) -> Locator:
        return self.page.locator(".mlflow-stage-transition-dropdown")

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog").filter(visible=True)

    @property
    def comment(self) -> Locator:
        return self.dialog.get_by_role("textbox")

    @property
    def toast(self) -> Locator:
        return self.page.locator("[class*=notification-notice-error]").first

    def choose(self, stage: str) -> None:
        """Open MLflow's stage dialog for a move to `stage`."""
        expect(self.dialog).to_have_count(0)
        self.stage_menu.click()
        self.page.get_by_role("menuitem").filter(has_text=stage).click()
        expect(self.comment).to_be_visible()

    def move(self, stage: str, comment: str = "") -> str:
        """Move the version; returns the header that carried the comment, "" where none did."""
        self.choose(stage)
        if comment:
            self.comment.fill(comment)
        with self.page.expect_response("**/model-versions/transition-stage") as answered:
            self.dialog.get_by_role("button", name="OK").click()
        assert answered.value.status in (200, 403), answered.value.text()
        return answered.value.request.header_value("X-Hydraulic-Reason") or ""

    def expect_stage(self, stage: str) -> None:
        """MLflow's page shows the stage."""
        expect(self.stage_menu).to_have_text(stage)

    def use_aliases_page(self) -> None:
        """MLflow's switch, as a person turns it."""
        self.page.get_by_role("switch").click()
        expect(self.stage_menu).to_have_count(0)

    def set_alias(self, alias: str) -> None:
        """Add an alias in MLflow's dialog and save."""
        self.page.get_by_title("Add aliases").click()
        self.dialog.get_by_role("combobox").fill(alias)
        self.page.keyboard.press("Enter")
        self.save_aliases()

    def save_aliases(self) -> None:
        with self.page.expect_response("**/registered-models/alias"):
            self.dialog.get_by_role("button", name="Save aliases").click()

    @property
    def delete_item(self) -> Locator:
        """The entry of MLflow's menu, once that is open."""
        return self.page.get_by_role("menuitem", name="Delete")

    def open_menu(self) -> None:
        self.page.locator("[data-testid=overflow-menu-trigger]").click()
        expect(self.delete_item).to_be_visible()

    def delete(self) -> None:
        """Delete the version in MLflow's menu and confirm."""
        self.open_menu()
        self.delete_item.click()
        with self.page.expect_response("**/model-versions/delete"):
            self.dialog.get_by_role("button", name="Delete").click()

    def _answer(self, dialog: Dialog) -> None:
        self.asked.append(dialog.message)
        if self.answer is None:
            dialog.dismiss()
        else:
            dialog.accept(self.answer)
