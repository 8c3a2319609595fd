"""Sample requests: true as they are pasted, made of a real row, and no promise that nobody keeps."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.configuration import Configuration
from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.people.rights import Role
from mlflow_hydraulic.web.deployments import model_card
from mlflow_hydraulic.web.deployments.samples import curl, python
from mlflow_hydraulic.web.deployments.ways import Way
from tests.scorers import NAMES
from tests.support.house import DS1, TestHouse, add_model, add_project, client, make_house
from tests.support.seen import deployment, part, saved_model, show

API = "/api/2.0/hydraulic/deployments/dev/cooler"
Json = Any  # a JSON value


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> TestHouse:
    made = make_house(tmp_path_factory.mktemp("house"), who=DS1)
    add_project(made.engine, "rig", {"ds1": Role.OWNER})
    add_model(made.engine, "cooler", "rig")
    add_model(made.engine, AWKWARD, "rig")
    return made


@pytest.fixture(scope="module")
def digest(house: TestHouse) -> str:
    return saved_model(house)


AWKWARD = "a b?d#e%f"
NASTY = {"it's": 'a "b" $(touch x) `id` \\ \n é 😀 %s !', "n": None, "t": True}


def test_curl_is_true_as_given_in_a_shell(tmp_path: Path) -> None:
    way = Way(dialect="mlflow", url="http://h/a b'c$(x)?d=1&e=2", host="a b")
    shell = "curl() { printf '%s\\0' \"$@\"; }\n" + curl(way, NASTY)
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=True, cwd=tmp_path, timeout=30)
    words = done.stdout.decode().split("\0")[:-1]
    assert words[:4] == ["-sS", "-X", "POST", way.url]
    assert words[4:8] == ["-H", "Content-Type: application/json", "-H", "Host: a b"]
    assert (words[8], json.loads(words[9])) == ("-d", NASTY)
    assert list(tmp_path.iterdir()) == []


def test_python_is_true_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Json] = []

    def post(url: str, **more: object) -> Json:
        sent.append((url, more))
        return types.SimpleNamespace(raise_for_status=lambda: None, json=dict)

    fake: Any = types.ModuleType("requests")
    fake.post = post
    monkeypatch.setitem(sys.modules, "requests", fake)
    way = Way(dialect="mlflow", url="http://h/'a\"", host="h'")
    exec(python(way, NASTY), {})  # noqa: S102 - that is what people do with it
    assert sent == [(way.url, {"json": NASTY, "headers": {"Host": "h'"}, "timeout": 30})]


def test_what_stands_before_a_scorer_on_kubernetes_decides_what_is_shown(house: TestHouse, digest: str) -> None:
    def shown(**options: object) -> tuple[Json, Json]:
        dev, prod = preset("stages")
        configured = Configuration(environments=(replace(dev, target="seldon", kubernetes=options), prod))
        there = replace(house, configuration=configured)
        seen = deployment("cooler", part(2, digest=digest), endpoint="http://cooler.dev.svc:8000", target="seldon")
        show(there, seen)
        browser = client(there)
        return browser.get(f"{API}/samples").json, browser

    inside, browser = shown()
    assert inside["inside"] is True
    assert [bool(one["why_not"]) for one in inside["samples"]] == [True, False, True, True]
    assert "orchestrator = false" in inside["samples"][0]["why_not"]
    tried = browser.post(f"{API}/try", json={"values": {}})
    assert (tried.status_code, "is inside the cluster" in tried.json["message"]) == (503, True)
    gateway, _ = shown(gateway_url="http://127.0.0.1:9", orchestrator=False)
    assert gateway["inside"] is False
    assert all(one["url"].startswith("http://127.0.0.1:9/seldon/dev/cooler/") for one in gateway["samples"])
    v2, _ = shown(gateway_url="https://models.example", protocol="v2")
    assert [one["dialect"] for one in v2["samples"] if one["curl"]] == ["v2"]
    assert urlsplit(v2["samples"][2]["url"]).path.endswith("/v2/models/model/infer")


def test_the_model_s_name_is_quoted_in_an_address(house: TestHouse, digest: str) -> None:
    name = AWKWARD
    show(house, deployment("cooler", part(2, model=name, digest=digest), endpoint="http://h"))
    v2 = client(house).get(f"{API}/samples").json["samples"][2]  # type: ignore[index]
    assert unquote(urlsplit(v2["url"]).path) == f"/v2/models/{name}/infer"


def test_an_input_example_comes_before_training_rows(tmp_path: Path, house: TestHouse, digest: str) -> None:
    folder = house.settings.home / "models" / digest
    found = model_card.read_card(folder)
    assert (found.source, found.flags, found.card.schema.names) == ("one of the model's training rows", True, NAMES)
    plain = tmp_path / "plain"
    plain.mkdir()
    columns = [{"type": "long", "name": "n"}, {"type": "string", "name": "s", "required": False}]
    (plain / "MLmodel").write_text(f"signature:\n  inputs: '{json.dumps(columns)}'\n")
    (plain / "input_example.json").write_text('{"columns": ["s", "n"], "data": [["x", 3]]}')
    known = model_card.read_card(plain)
    assert (known.source, known.card.sample.tolist()) == ("the model's input example", [[3, "x"]])
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "MLmodel").write_text("flavors: {}\n")
    with pytest.raises(NotFound, match="names no columns"):
        model_card.read_card(tmp_path / "none")
