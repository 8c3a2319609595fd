"""The story of issue and README: a version goes to DEV, to PROD and away, by nothing but moves in MLflow's page."""

from __future__ import annotations

import pytest
import requests

from tests.browser.conftest import PLAYWRIGHT, Visit
from tests.browser.plant import Plant, controller

pytestmark = pytest.mark.slow
expect = pytest.importorskip("playwright.sync_api", reason=PLAYWRIGHT).expect
DEV, PROD = "hydraulic.dev", "hydraulic.prod"


def ask(endpoint: str) -> list[str]:
    """Ask the model what its own sample asks; the answer's fields."""
    sample = requests.get(f"{endpoint}/model/sample_request", timeout=60).json()
    answer = requests.post(f"{endpoint}/model/score", json=sample, timeout=60)
    assert answer.ok, answer.text
    said = answer.json()
    assert len(said["score"]) == len(sample["rows"])
    return list(said["fields"])


def test_a_version_goes_to_dev_to_prod_and_away(plant: Plant, visit: Visit) -> None:
    page = visit(plant, "ds1")
    with controller(plant.server, plant.home):
        page.open("cooler", 1)
        page.show("first visit")
        page.choose("Staging")
        page.show("dialog")
        page.page.keyboard.press("Escape")
        page.move("Staging", "first forest on 300 cycles, wörks ✓")
        page.expect_stage("Staging")
        tags = plant.wait_for_tags("cooler", 1, {f"{DEV}.state": "healthy", f"{DEV}.endpoint": "*"})
        page.open("cooler", 1)
        expect(page.page.get_by_text(f"{DEV}.state")).to_be_visible()
        expect(page.page.get_by_text(tags[f"{DEV}.endpoint"])).to_be_visible()
        page.show("healthy in DEV")
        assert ask(tags[f"{DEV}.endpoint"]) == ["cool_cond_y.3", "cool_cond_y.20", "cool_cond_y.100"]

        page.move("Production")
        expect(page.toast).to_contain_text("PROD asks for a reason: give it as the comment")
        page.show("refused without a reason")
        page.expect_stage("Staging")
        assert plant.stage("cooler", 1) == "Staging"

        page.open("cooler", 1)
        page.move("Production", "beats the rule of thumb")
        page.expect_stage("Production")
        promoted = plant.wait_for_tags(
            "cooler", 1, {f"{PROD}.state": "healthy", f"{PROD}.endpoint": "*", f"{DEV}.state": None}
        )
        assert ask(promoted[f"{PROD}.endpoint"])
        page.open("cooler", 1)
        expect(page.page.get_by_text(f"{PROD}.state")).to_be_visible()
        expect(page.page.get_by_text(f"{DEV}.state")).to_have_count(0)
        page.show("healthy in PROD")
        page.open_list()
        page.show("list of models")

        page.open("cooler", 1)
        page.move("Archived", "end of the trial")
        page.expect_stage("Archived")
        plant.wait_for_tags("cooler", 1, {f"{PROD}.state": None, f"{PROD}.endpoint": None})
        page.open("cooler", 1)
        expect(page.stage_menu).to_be_visible()
        expect(page.page.get_by_text(f"{PROD}.state")).to_have_count(0)
        page.show("ended")
    with pytest.raises(requests.ConnectionError):
        requests.get(promoted[f"{PROD}.endpoint"] + "/health", timeout=10)
    assert plant.told("cooler") == [
        ("ds1", "stage", "first forest on 300 cycles, wörks ✓"),
        ("ds1", "refused", ""),
        ("ds1", "stage", "beats the rule of thumb"),
        ("ds1", "stage", "end of the trial"),
    ]
