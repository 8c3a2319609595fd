"""The pages of acts: what they show and what their forms would send; the ways back, by rollback and canary words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.evidence.ledger import Event, append
from tests.support.registrar import Registry, make_registry

CANARY = "[environments.prod.canary]\nsteps = [10, 50]\n"
PROD = "/models/m/environments/prod"
HERE = "/hydraulic/deployments/prod/m"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("HYDRAULIC_CONFIG", str(tmp_path / "hydraulic.toml"))
    made = make_registry(tmp_path, CANARY)
    made.model()
    made.post(f"{PROD}/deploy", {"arms": [{"version": 2}], "reason": "x"})
    yield made
    made.close()


class Form(HTMLParser):
    """What a browser would send with the form `act`, and whether its button can be pressed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.send, self.pressable, self.reason_required = "", True, False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and given.get("id") == "act":
            self.send = given["data-send"]
        if tag == "input" and given.get("form") == "act":
            self.fields[given["name"]] = given["value"]
        if tag == "button" and given.get("form") == "act":
            self.pressable = "disabled" not in given
        if tag == "textarea" and given.get("name") == "reason":
            self.reason_required = "required" in given


def shown(registry: Registry, path: str) -> tuple[str, Form]:
    answer = registry.browser.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text, Form(answer.text)


def sent(registry: Registry, form: Form, reason: str = "because") -> Any:
    """Send the form as app.js does."""
    body: dict[str, Any] = {name: value for name, value in form.fields.items() if value}
    body |= {"arms": json.loads(body["arms"])} if "arms" in body else {}
    body |= {name: int(body[name]) for name in ("challenger", "to") if name in body}
    return registry.post(form.send.removeprefix("POST "), {**body, "reason": reason})


def ran(registry: Registry, *versions: int) -> None:
    """The ledger tells that these ran one after the other."""
    with registry.house.engine.begin() as connection:
        for version in versions:
            part = {"version": version, "digest": "d", "uri": "", "traffic": 100, "replicas": 1}
            after = {"model": "m", "predictors": [part], "shadow": None}
            append(
                connection,
                [Event(verb="runs", subject="prod/m", actor="c", model="m", environment="prod", after=after)],
            )


def last(registry: Registry) -> ledger.Row:
    with registry.house.engine.connect() as connection:
        assert ledger.verify(connection).holds
        return list(ledger.rows(connection))[-1]


def test_a_version_is_deployed_by_what_its_dialog_sends(registry: Registry) -> None:
    page, form = shown(registry, "/hydraulic/models/m/versions/3/deploy?environment=prod")
    assert "PROD asks for one" in page
    assert form.reason_required
    assert sent(registry, form).status_code == 200
    page, form = shown(registry, "/hydraulic/models/m/versions/1/deploy?environment=prod&role=challenger")
    assert sent(registry, form).status_code == 200
    assert registry.registrar.model("m").aliases == {"challenger": 1}
    page, form = shown(registry, "/hydraulic/models/m/versions/1/deploy?environment=prod")
    assert json.loads(form.fields["arms"]) == [{"version": 1, "share": 100}]
    assert form.fields["challenger"] == ""
    page, form = shown(registry, "/hydraulic/models/m/versions/1/deploy?environment=dev")
    assert not form.reason_required
    assert form.pressable


def test_what_cannot_be_is_said_and_nothing_can_be_pressed(registry: Registry) -> None:
    page, form = shown(registry, "/hydraulic/models/m/versions/2/deploy?environment=dev")
    assert "cannot have it without a change of prod" in page
    assert not form.pressable
    page, form = shown(registry, "/hydraulic/models/m/versions/3/deploy?environment=dev&role=challenger")
    assert "nothing that version 3 could challenge" in page
    for path, status in (
        ("/hydraulic/models/m/versions/9/deploy?environment=dev", 404),
        ("/hydraulic/models/m/versions/%D9%A1/deploy?environment=dev", 404),
        ("/hydraulic/models/m/versions/1/deploy?environment=moon", 404),
        ("/hydraulic/models/m/versions/1/deploy", 400),
        ("/hydraulic/models/m/versions/1/deploy?environment=dev&role=king", 400),
        ("/hydraulic/deployments/moon/m/edit", 404),
        (f"{HERE}/edit?version_1=x", 400),
        (f"{HERE}/rollback?to=0", 400),
    ):
        assert registry.browser.get(path).status_code == status, path


@pytest.mark.parametrize(
    ("query", "words", "pressable"),
    [
        ("", "nothing to change", False),
        ("?type=split&version_1=2&share_1=80&version_2=3&share_2=20", "v2 80%/v3 20%", True),
        ("?type=split&version_1=2&share_1=80&version_2=3&share_2=30", "add up to 110", False),
        ("?type=split&version_1=2&share_1=100", "has two versions at least", False),
        ("?type=challenger&version_1=2", "choose the version that is to challenge", False),
        ("?type=challenger&version_1=2&challenger=3", "v2 + challenger v3", True),
        ("?type=single&version_1=2&replicas_1=3", "v2 x3", True),
        ("?type=single&version_1=2&replicas_1=0", "must be a whole number from 1 to 100", False),
        ("?type=single", "choose the version that is to answer", False),
    ],
)
def test_the_editor_shows_what_it_would_do(registry: Registry, query: str, words: str, *, pressable: bool) -> None:
    page, form = shown(registry, f"{HERE}/edit{query}")
    assert words in page
    assert form.pressable is pressable
    if pressable:
        assert sent(registry, form).status_code == 200
        assert (
            registry.post(f"{PROD}/deploy/preview", {"arms": json.loads(form.fields["arms"])}).json["before"] == words
        )


def test_the_way_back_is_that_of_the_command(registry: Registry) -> None:
    ran(registry, 1, 2)
    page, form = shown(registry, f"{HERE}/rollback")
    assert "Back to v1" in page
    assert sent(registry, form, "").status_code == 400
    assert sent(registry, form, "2 is worse").status_code == 200
    assert (last(registry).after, last(registry).reason) == ('"Production"', "rollback to v1 in prod: 2 is worse")
    assert [one.stage for one in registry.registrar.model("m").versions] == ["Production", "Archived", "None"]
    page, form = shown(registry, f"{HERE}/rollback?to=3")
    assert "never ran healthily" in page


def test_a_canary_is_promoted_aborted_or_tried_again(registry: Registry) -> None:
    page, _ = shown(registry, f"{HERE}/canary")
    assert "no canary here" in page
    registry.post(f"{PROD}/deploy", {"arms": [{"version": 3}], "reason": "x"})
    begin = {"phase": "begin", "from": 2, "to": 3, "share": 10, "archived": True}
    with registry.house.engine.begin() as connection:
        row = Event(verb="canary", subject="prod/m", actor="c", model="m", environment="prod", after=begin)
        append(connection, [row])
    page, _ = shown(registry, f"{HERE}/canary")
    assert "Promote: v3 gets all callers" in page
    page, form = shown(registry, f"{HERE}/canary?word=abort")
    assert form.fields["word"] == "abort"
    assert sent(registry, form, "wrong alarms").status_code == 200
    assert registry.registrar.model("m").versions[2].tags["hydraulic.canary"].startswith("abort in prod (")
    assert last(registry).reason == "wrong alarms"
    retry = registry.post(f"{PROD}/canary", {"word": "retry", "reason": "x"})
    assert retry.status_code == 409


def test_the_end_is_confirmed_on_a_page_of_its_own(registry: Registry) -> None:
    _, form = shown(registry, f"{HERE}/delete")
    assert form.reason_required
    assert sent(registry, form, "sold").status_code == 200
    page, form = shown(registry, f"{HERE}/delete")
    assert "nothing of &#39;m&#39; runs in prod" in page
    assert not form.pressable
