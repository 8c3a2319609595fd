"""What plugin/page.js does to MLflow's real page, and what the gate's answers look like there."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

import pytest
import requests

from tests.browser.conftest import PLAYWRIGHT, Visit
from tests.browser.plant import Plant, make_registry
from tests.servers import mlflow_server

pytestmark = pytest.mark.slow
expect = pytest.importorskip("playwright.sync_api", reason=PLAYWRIGHT).expect
TEXTS = {
    "unicode": "Ölkühler: η ↑ 3 % 🛢️ 冷却器 — «gut»",
    "lines": "first line\nsecond line\r\n\tand a tab",
    "header": "100 % + a&b=c; X-Other: 1",
    "markup": "<img src=x onerror=\"alert('run')\"><script>alert('run')</script>{{7*7}}${7*7}",
    "half a character": "cut in the middle \ud83d",
}


def test_the_first_visit_shows_stages_and_no_promotion_and_a_choice_is_kept(plant: Plant, visit: Visit) -> None:
    page = visit(plant, "ds1", first=True)
    page.open_list()
    expect(page.page.get_by_role("columnheader", name="Staging")).to_be_visible()
    expect(page.dialog).to_have_count(0)
    page.show("models")
    page.open("valve", 1)
    expect(page.stage_menu).to_be_visible()
    page.use_aliases_page()
    page.open("valve", 1)
    expect(page.page.get_by_title("Add aliases")).to_be_visible()
    expect(page.stage_menu).to_have_count(0)


def test_somebody_who_used_this_server_before_sees_stages_once(plant: Plant, visit: Visit) -> None:
    """MLflow writes its switch at every visit, so that a stored value is no person's choice."""
    page = visit(plant, "ds1", first=True)
    page.open("valve", 1)
    page.page.evaluate(
        "localStorage.clear(); localStorage['_mlflow_user_setting_dismiss_next_model_registry_ui']='false'"
    )
    page.open("valve", 1)
    expect(page.stage_menu).to_be_visible()


def test_a_browser_that_holds_the_page_of_before_gets_ours(plant: Plant) -> None:
    url, login = plant.server.uri + "/", plant.server.login("ds1")
    plain = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT", "If-None-Match": "*"}
    answer = requests.get(url, auth=login, headers=plain, timeout=60)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.text.count("X-Hydraulic-Reason") == 1
    assert not {"ETag", "Last-Modified"} & set(answer.headers)


def test_any_text_arrives_as_it_was_typed(plant: Plant, visit: Visit) -> None:
    page = visit(plant, "ds1")
    page.open("valve", 1)
    stages = ["Archived", "None"] * len(TEXTS)
    for stage, text in zip(stages, TEXTS.values(), strict=False):
        page.move(stage, text)
        page.expect_stage(stage)
    page.show("after all texts")
    assert page.asked == []  # no text was run as a script
    said = [reason for _actor, _verb, reason in plant.told("valve")]
    typed = [text.replace("\r\n", "\n").replace("\ud83d", "\ufffd") for text in TEXTS.values()]
    assert said[-len(TEXTS) :] == typed


def test_a_text_that_is_too_long_is_cut_and_moves_all_the_same(plant: Plant, visit: Visit) -> None:
    page = visit(plant, "ds1")
    page.open("valve", 2)
    page.choose("Archived")
    assert page.comment.get_attribute("maxlength") == "2000"
    assert "2000 characters" in (page.comment.get_attribute("placeholder") or "")
    page.page.keyboard.press("Escape")
    long = {"Archived": ("word " * 600, ("word " * 400)), "None": ("冷" * 2000, "冷" * 777 + "…")}
    for stage, (text, kept) in long.items():
        page.move(stage, text)
        page.expect_stage(stage)
        assert plant.told("valve")[-1][2] == kept.strip()


def test_what_a_cancelled_dialog_held_never_goes_along(plant: Plant, visit: Visit) -> None:
    page = visit(plant, "ds1")
    page.open("valve", 2)
    page.move("Archived")
    for way, stage in {"Cancel": "None", "Close": "Archived", "Escape": "None"}.items():
        page.choose(stage)
        page.comment.fill("written in anger")
        if way == "Escape":
            page.page.keyboard.press("Escape")
        else:
            page.dialog.get_by_role("button", name=way).click()
        assert page.move(stage) == ""
        page.expect_stage(stage)
    assert page.move("Archived", "calm") == "calm"
    page.expect_stage("Archived")
    assert page.move("None") == ""
    assert [reason for _actor, _verb, reason in plant.told("valve")][-5:] == ["", "", "", "calm", ""]


def test_who_may_not_sees_who_may(plant: Plant, visit: Visit) -> None:
    page = visit(plant, "ds2")
    page.open("pump", 1)
    page.move("Production", "please")
    expect(page.toast).to_contain_text("Not allowed: only the role operator may change PROD, not 'ds2'")
    page.show("refused by policy")
    page.expect_stage("None")
    assert plant.told("pump")[-1] == ("ds2", "refused", "please")


def test_aliases_are_guarded_and_the_page_asks_for_a_reason(plant: Plant, visit: Visit) -> None:
    page = visit(plant, "ds1", first=True)
    page.open("pump", 2)
    page.use_aliases_page()
    page.set_alias("golden")
    expect(page.dialog).to_contain_text("only admin may move the protected alias 'golden', not 'ds1'")
    page.show("protected alias")
    page.dialog.get_by_role("button", name="Cancel").click()
    assert plant.told("pump")[-1] == ("ds1", "refused", "")

    page.set_alias("champion")
    expect(page.dialog).to_contain_text("PROD asks for a reason")
    page.show("no reason for an alias of PROD")
    assert page.asked == ["A reason is asked for, and kept on record with this change:"]
    assert plant.told("pump")[-1] == ("ds1", "refused", "")

    page.answer = "quieter by 3 dB 🔇"
    page.save_aliases()
    expect(page.page.get_by_text("champion").first).to_be_visible()
    expect(page.dialog).to_have_count(0)
    page.show("alias set")
    assert plant.told("pump")[-1] == ("ds1", "alias", "quieter by 3 dB 🔇")


def test_what_serves_is_deleted_with_a_reason_only(plant: Plant, visit: Visit) -> None:
    """MLflow's page never deletes a version in Production; one that serves by its alias it does, alias and all."""
    page = visit(plant, "ds1", first=True)
    page.open("fan", 1)
    page.move("Production", "to see it stay")
    page.expect_stage("Production")
    page.open_menu()
    expect(page.delete_item).to_be_disabled()
    page.answer = "by alias"
    page.open("fan", 2)
    page.use_aliases_page()
    page.set_alias("champion")
    expect(page.dialog).to_have_count(0)

    page.answer = None
    page.delete()
    expect(page.toast).to_contain_text("PROD asks for a reason")
    page.show("not deleted")
    assert plant.told("fan")[-1][1:] == ("refused", "")
    assert plant.version("fan", 2)["aliases"] == ["champion"]

    page.open("fan", 2)
    page.answer = "seals leak"
    page.delete()
    expect(page.page.get_by_role("link", name="Version 1")).to_be_visible()
    expect(page.page.get_by_role("link", name="Version 2")).to_have_count(0)
    page.show("deleted")
    assert ("ds1", "delete version", "seals leak") in plant.told("fan")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """A server behind a prefix, with workspaces, on gunicorn, which takes the shortest headers; nobody logs in."""
    folder = tmp_path_factory.mktemp("plain")
    make_registry(folder)
    env = {"MLFLOW_ENABLE_WORKSPACES": "true"}
    with mlflow_server(folder, prefix="/ml", gunicorn=True, env=env) as server:
        yield Plant(server, folder / "home")


def test_prefix_workspace_and_gunicorn(plain: Plant, visit: Visit) -> None:
    page = visit(plain)
    page.open("cooler", 1, workspace="default")
    sent = page.move("Archived", "冷" * 2000)
    page.expect_stage("Archived")
    page.show("behind a prefix")
    assert plain.told("cooler") == [("anonymous", "stage", unquote(sent))]
    assert len(sent) > 6900


def test_requests_of_the_older_kind_carry_the_comment_too(plain: Plant, visit: Visit) -> None:
    """MLflow's page of today fetches; one that uses XMLHttpRequest is served as well."""
    page = visit(plain)
    page.open("cooler", 2, workspace="default")
    page.page.evaluate(
        """() => { window.fetch = (url, init) => new Promise((done) => {
             const request = new XMLHttpRequest();
             request.open(init?.method ?? "GET", url);
             new Headers(init?.headers).forEach((value, name) => request.setRequestHeader(name, value));
             request.onload = () => done(new Response(request.response, { status: request.status }));
             request.send(init?.body);
           }) }"""
    )
    assert page.move("Archived", "sent the old way") == "sent%20the%20old%20way"
    page.expect_stage("Archived")
    assert plain.told("cooler")[-1] == ("anonymous", "stage", "sent the old way")
