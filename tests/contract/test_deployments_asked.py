"""Sample requests as they are pasted, and what becomes of a try: whatever stands behind the address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from mlflow_hydraulic.evidence.tables import ledger, sight
from mlflow_hydraulic.people.rights import Role
from mlflow_hydraulic.web.deployments import by_hand, trying
from tests.scorers import LABELS, NAMES
from tests.support.house import DS1, DS2, TestHouse, add_model, add_project, client, make_house
from tests.support.seen import deployment, part, saved_model, show
from tests.unit.worlds import MemoryTarget, running

API = "/api/2.0/hydraulic/deployments/dev/cooler"
ROW = dict(zip(NAMES, (100.5, 99.0, 98.0, 97.0, 96.0, 95.0), strict=True))
Json = Any  # a JSON value


@dataclass
class Scorer:
    """A server that says what a test wants; `asked` are the bodies that came."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Json]] = field(default_factory=list)
    slow: threading.Event | None = None
    url: str = ""


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    made = Scorer(body=json.dumps(answer()).encode(), headers={"Seldon-Puid": "p1", "X-Hydraulic-Version": "2"})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked.append((self.path, json.loads(body)))
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if made.slow:
                made.slow.wait(30)
            self.wfile.write(made.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/seldon/dev/cooler"
    yield made
    server.shutdown()
    server.server_close()
    thread.join(30)


def answer(numbers: tuple[float, ...] = (0.1, 0.2, 0.7)) -> Json:
    names = [f"cool_cond_y.{label}" for label in LABELS]
    return {"data": {"names": names[: len(numbers)], "ndarray": [list(numbers)]}, "meta": {"puid": "p1"}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with one saved model, and its digest: made once."""
    house = make_house(tmp_path_factory.mktemp("saved"))
    return house.settings.home, saved_model(house)


@pytest.fixture
def house(tmp_path: Path, scorer: Scorer, files: tuple[Path, str]) -> TestHouse:
    made = make_house(tmp_path, who=DS1)
    made = replace(made, settings=replace(made.settings, home=files[0]))
    add_project(made.engine, "rig", {"ds1": Role.OWNER, "ds2": Role.READER})
    add_model(made.engine, "cooler", "rig")
    show(made, deployment("cooler", part(2, digest=files[1]), endpoint=scorer.url))
    return made


def try_it(browser: FlaskClient, values: Json, status: int = 200) -> Json:
    found = browser.post(f"{API}/try", json={"values": values})
    assert found.status_code == status, found.text
    return found.json


def test_one_row_is_asked_and_its_answer_told(house: TestHouse, scorer: Scorer) -> None:
    told = try_it(client(house), ROW)
    assert scorer.asked == [
        ("/seldon/dev/cooler/api/v1.0/predictions", {"data": {"names": list(NAMES), "ndarray": [list(ROW.values())]}})
    ]
    assert (told["label"], told["prediction_id"], told["answered_by"], told["odd"]) == ("100", "p1", "2", False)
    assert [(share["name"], share["probability"]) for share in told["shares"]] == [
        ("100", 0.7),
        ("20", 0.2),
        ("3", 0.1),
    ]
    scorer.headers["X-Hydraulic-Anomalous"] = "0"
    assert try_it(client(house), {name: str(value) for name, value in ROW.items()})["odd"] is True
    assert scorer.asked[1][1] == scorer.asked[0][1], "texts of a form are numbers"


def test_a_regression_has_a_value_and_no_shares(house: TestHouse, scorer: Scorer) -> None:
    scorer.body = json.dumps(answer((41.5,))).encode()
    told = try_it(client(house), ROW)
    assert (told["label"], told["shares"]) == ("41.5", [])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**ROW, "PS1": "much"}, "'PS1'='much': must be a number"),
        ({**ROW, "PS1": ""}, "'PS1' is missing"),
        ({**ROW, "PS1": "nan"}, "must be a finite number"),
        ({**ROW, "PS1": "1e999"}, "must be a finite number"),
        ({**ROW, "no such": 1}, "'no such' is no input"),
        ({}, "is missing"),
        ([1], "values"),
        ({**ROW, "PS1": {"a": 1}}, "values"),
        ({str(i): 0 for i in range(6000)}, "values"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_not_sent(
    house: TestHouse, scorer: Scorer, values: Json, said: str
) -> None:
    assert said in try_it(client(house), values, 400)["message"]
    assert scorer.asked == []


@pytest.mark.parametrize(
    ("status", "body", "expected", "said"),
    [
        (400, b'{"status": {"info": "row 0: too hot"}}', 400, "row 0: too hot"),
        (500, b'{"error": "it broke"}', 422, "500: it broke"),
        (503, b'{"message": "no scorer is ready"}', 503, "no scorer is ready"),
        (502, b"", 503, "status 502"),
        (302, b"", 422, "redirect (302), which is not followed"),
        (200, b"<html>", 422, "no JSON object"),
        (200, b"[1]", 422, "no JSON object"),
        (200, b'{"data": {"names": [], "ndarray": []}}', 422, "none of seldon's"),
        (200, b'{"data": {"ndarray": [{"a": 1}]}}', 422, "none of seldon's"),
        (200, b'{"data": 7}', 422, "none of seldon's"),
        (404, b"\xff\xfe\x00", 400, "404"),
    ],
)
def test_what_the_scorer_says_otherwise_is_told_in_words(
    house: TestHouse, scorer: Scorer, status: int, body: bytes, expected: int, said: str
) -> None:
    scorer.status, scorer.body = status, body
    scorer.headers["Location"] = scorer.url + "/elsewhere"
    assert said in try_it(client(house), ROW, expected)["message"]
    assert len(scorer.asked) == 1


def test_an_answer_is_bounded_in_size_and_time(
    house: TestHouse, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer.body = b" " * 300_000
    monkeypatch.setattr(trying, "MOST_BYTES", 100_000)
    assert "over 100000 bytes" in try_it(client(house), ROW, 422)["message"]
    scorer.slow = threading.Event()
    monkeypatch.setattr(trying, "READ_S", 0.3)
    try:
        assert "did not answer whole within" in try_it(client(house), ROW, 503)["message"]
    finally:
        scorer.slow.set()


def test_one_that_is_away_is_told(house: TestHouse) -> None:
    for url in ("http://127.0.0.1:9/x", "http://no.such.host.invalid/x", "http://[bad/x"):
        show(house, deployment("cooler", part(2, digest=_digest(house)), endpoint=url))
        assert "does not reach it" in try_it(client(house), ROW, 503)["message"]


def _digest(house: TestHouse) -> str:
    return next(path.name for path in (house.settings.home / "models").iterdir() if len(path.name) == 64)


def test_a_reader_sees_samples_and_may_not_try(house: TestHouse, scorer: Scorer) -> None:
    house.accounts.caller = DS2
    browser = client(house)
    assert browser.get(f"{API}/samples").status_code == 200
    assert "data-try" not in browser.get("/hydraulic/deployments/dev/cooler").text
    assert "contributor" in try_it(browser, ROW, 403)["message"]
    assert scorer.asked == []


def test_without_an_address_or_files_it_says_so(house: TestHouse) -> None:
    browser = client(house)
    show(house, deployment("cooler", state="launching", endpoint=""))
    assert "is launching and has no address yet" in browser.get(f"{API}/samples").json["message"]  # type: ignore[index]
    show(house, deployment("cooler", part(1, digest="e" * 64)))
    lacking = browser.get(f"{API}/samples")
    assert (lacking.status_code, "its files are not in" in lacking.json["message"]) == (404, True)  # type: ignore[index]
    assert "its files are not in" in browser.get("/hydraulic/deployments/dev/cooler").text, "and the page stands"


def test_one_made_by_hand_ends_at_its_target_with_a_reason(house: TestHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running("dev", (1, 100), model="cooler")
    target = MemoryTarget(environment="dev", deployments={"cooler": one})
    monkeypatch.setattr(by_hand, "open_environment", lambda *_: target)
    show(house, deployment("cooler", managed=False))
    browser, reason = client(house), {"X-Hydraulic-Reason": "no%20longer"}
    assert browser.delete(API).status_code == 400, "say why"
    assert browser.delete(API, headers=reason).status_code == 403, "the controller made it, whatever was seen"
    target.deployments["cooler"] = replace(one, deployment=replace(one.deployment, labels={}))
    assert browser.delete(API, headers=reason).status_code == 204
    assert target.effects == ["delete cooler"]
    with house.engine.connect() as connection:
        (row,) = connection.execute(ledger.select()).all()
        assert connection.execute(sight.select()).all() == []
    assert (row.verb, row.subject, row.actor, row.reason) == ("ended", "dev/cooler", "ds1", "no longer")
    show(house, deployment("cooler", managed=False))
    gone = browser.delete(API, headers=reason)
    assert gone.status_code == 503
    assert "mlflow deployments delete -t seldon-local:/dev --name cooler" in gone.json["message"]  # type: ignore[index]
    house.accounts.caller = DS2
    assert browser.delete(API, headers=reason).status_code == 403
