"""What somebody tried who should not get in: each test was a hole once, or is one that must not come."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import flask
import pytest

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import BadData
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.people.rights import Role, Who
from mlflow_hydraulic.plugin import logged_models
from mlflow_hydraulic.plugin.catalogue_files import read_card
from mlflow_hydraulic.web.blueprint import _ask, _sent
from mlflow_hydraulic.web.route import Sent
from tests.support.house import DS1, DS2, TestHouse, add_model, add_project, client, make_house

API = "/api/2.0/hydraulic"


@pytest.fixture
def house(tmp_path: Path) -> TestHouse:
    """Project rig of ds1, with operator ds3; ds2 is a user with whom nothing is shared, whom MLflow lets read all."""
    house = make_house(tmp_path, who=DS1)
    house.accounts.other = "read"
    add_project(house.engine, "rig", {"ds1": Role.OWNER, "ds3": Role.OPERATOR})
    add_model(house.engine, "cooler", "rig")
    return house


def write(house: TestHouse, *events: Event) -> None:
    with house.engine.begin() as connection:
        append(connection, events, utc_now())


def test_a_question_for_the_methods_of_an_act_does_not_act(house: TestHouse) -> None:
    house.accounts.caller = Who(name="ds3")
    answer = client(house).options(f"{API}/projects/rig/leave")
    assert answer.status_code == 200
    assert "POST" in answer.headers["Allow"]
    assert client(house).get(f"{API}/projects/rig").status_code == 200


def test_what_was_said_of_a_hidden_model_stays_hidden_when_it_is_deleted(house: TestHouse) -> None:
    row = {"verb": "comment", "subject": "models:/gone/1", "actor": "ds1", "model": "gone"}
    write(
        house,
        Event(verb="project", subject="projects:/rig", actor="ds1", model="gone", after={"what": "joined"}),
        Event(**row, after="it leaks oil"),
        Event(verb="delete model", subject="models:/gone", actor="ds1", model="gone", before="gone"),
        Event(verb="project", subject="projects:/rig", actor="ds1", model="gone", after={"what": "left"}),
    )
    assert "leaks oil" in client(house).get(f"{API}/events").text  # its project's members still read it
    house.accounts.caller = DS2
    assert client(house).get(f"{API}/events").get_json()["events"] == []
    add_model(house.engine, "gone")  # another one takes the name
    assert client(house).get(f"{API}/events").get_json()["events"] == []
    write(house, Event(**row, after="a new one"))
    assert [one["after"] for one in client(house).get(f"{API}/events").get_json()["events"]] == ["a new one"]


def test_adding_a_hidden_model_is_answered_as_adding_none(house: TestHouse) -> None:
    add_project(house.engine, "mine", {"ds2": Role.OWNER})
    house.accounts.caller = DS2
    answers = [client(house).post(f"{API}/projects/mine/models", json={"model": name}) for name in ("cooler", "nosuch")]
    said = [answer.text.replace("cooler", "NAME").replace("nosuch", "NAME") for answer in answers]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert said[0] == said[1]


@dataclass
class OneFile:
    """A version's artifacts whose MLmodel is a stranger's. asked: what was read."""

    text: str
    asked: list[str] = field(default_factory=list)

    def read(self, path: str, most: int) -> bytes:
        assert len(self.text) < most
        self.asked.append(path)
        return self.text.encode()


def grown(line: str, rounds: int = 12) -> str:
    """Some hundred bytes of YAML that mean 9^12 things."""
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {line.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, rounds)]
    return "\n".join([*lines, f"flavors: {{hydraulic: {{bundle_digest: *a{rounds - 1}}}}}\n"])


def test_a_short_mlmodel_does_not_grow_in_the_server() -> None:
    assert read_card(OneFile(grown("[{}]"))).digest == ""  # type: ignore[arg-type]  # of artifacts it is read alone
    with pytest.raises(BadData, match="cannot be read"):
        read_card(OneFile(grown("{{<<: [{}]}}")))  # type: ignore[arg-type]


@pytest.mark.parametrize("bundle", ["../../../other/bundle", "/etc", "a/../b", "", "a\\..\\b"])
def test_an_mlmodel_leads_nowhere_else(bundle: str) -> None:
    files = OneFile(json.dumps({"flavors": {"hydraulic": {"bundle": bundle}}}))
    assert read_card(files).certificate is None  # type: ignore[arg-type]
    assert files.asked == ["MLmodel"]


def test_a_file_of_a_model_whose_name_has_line_ends_is_sent() -> None:
    with flask.Flask("tests").test_request_context():
        for name in ("a\rSet-Cookie: b=c", "a\nb", "a\u2028b", "é\x00"):
            said = _sent(Sent(content=b"", media="text/html", filename=f"{name}.html")).headers["Content-Disposition"]
            assert said.startswith("attachment; filename") and said.isprintable()


def test_the_names_of_hidden_models_are_left_out_of_logged_models() -> None:
    versions = [{"name": "hidden", "version": 1}, {"name": "shown", "version": 2}]
    said = {"model": {"info": {"tags": [{"key": "mlflow.modelVersions", "value": json.dumps(versions)}]}}}
    logged_models.without([said], lambda name: name == "hidden")
    assert said["model"]["info"]["tags"][0]["value"] == json.dumps(versions[1:])
    for text in ("", "no JSON", "7", '["hidden"]'):  # a tag that somebody wrote by hand
        tag = {"key": "mlflow.modelVersions", "value": text}
        logged_models.without(tag, lambda name: True)
        assert tag["value"] == text


def test_a_reason_is_no_place_for_a_book(house: TestHouse) -> None:
    with flask.Flask("tests").test_request_context(headers={"X-Hydraulic-Reason": "%C3%A9" * 9000}):
        assert _ask(house).reason == "é" * 2000
