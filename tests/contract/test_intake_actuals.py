"""True values by HTTP and by CloudEvents' feedback: each form, all or none, twice is once, errors named by row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.accuracy.posted import read_posted, take_posted
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.record.cloudevents import FEEDBACK, REQUEST, RESPONSE
from mlflow_hydraulic.record.intake import Intake
from mlflow_hydraulic.record.store import Store
from tests.unit.test_record_events import ANSWERED, ASKED, headers

TOKEN = "a token of the tests"
JSON, LINES, CSV = "application/json", "application/x-ndjson", "text/csv"


class World:
    """An intake with its stores, asked without a network."""

    def __init__(self, home: Path) -> None:
        self.store, self.actuals = Store(home / "record.db"), ActualStore(home / "actuals.db")
        self.app = Intake(self.store, token=TOKEN, actuals=partial(take_posted, self.actuals))

    def post(self, path: str, body: bytes, *, token: str = TOKEN, **given_headers: str) -> tuple[int, Any]:
        return asyncio.run(self._post(path, body, {"authorization": f"Bearer {token}", **given_headers}))

    async def _post(self, path: str, body: bytes, given_headers: dict[str, str]) -> tuple[int, Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(name.encode(), value.encode()) for name, value in given_headers.items()]
        await self.app({"type": "http", "method": "POST", "path": path, "headers": raw}, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    def bring(self, media: str, text: str) -> tuple[int, Any]:
        return self.post("/actuals", text.encode(), **{"content-type": media})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()
    made.actuals.close()


BODIES = {
    JSON: json.dumps(
        {"actuals": [{"id": "p1", "row": 0, "actual": 20, "at": 1e9}, {"id": "p1", "row": 1, "actual": 3}]}
    ),
    LINES: '{"id": "p1", "actual": 20}\n\n{"id": "p1", "row": 1, "actual": 3, "at": "2026-03-01T10:00:00Z"}\n',
    CSV: "id,row,actual\r\np1,0,20\r\np1,1,3\r\n",
}


@pytest.mark.parametrize("media", BODIES)
def test_each_form_is_taken_once(world: World, media: str) -> None:
    for kind, event in ((REQUEST, ASKED), (RESPONSE, ANSWERED)):
        assert world.post("/events", json.dumps(event).encode(), **headers(kind, kind))[0] == 202
    assert world.bring(media, BODIES[media]) == (200, {"new": 2, "corrected": 0, "repeated": 0, "older": 0})
    assert world.bring(media, BODIES[media])[1]["repeated"] == 2
    assert world.actuals.join(world.store).joined == 2
    (rows,) = world.actuals.labelled(namespace="prod", deployment="cooler")
    assert rows.truth.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("media", "text", "says"),
    [
        (
            JSON,
            '{"actuals": [{"id": "a", "actual": 1}, {"id": "", "actual": 1}, {"id": "b"}]}',
            ["2 of 3", "row 2", "row 3"],
        ),
        (JSON, '{"actuals": [{"id": "a", "actual": 1, "when": 2}]}', ["'when'", "known are id, row, actual, at"]),
        (JSON, '{"actuals": [{"id": "a", "actual": 1, "row": -1}]}', ["row 1", "count from 0"]),
        (JSON, '{"actuals": [{"id": "a", "actual": 1, "at": "soon"}]}', ["soon", "no time"]),
        (JSON, '[{"id": "a", "actual": 1}]', ['{"actuals"']),
        (JSON, '{"actuals": [3]}', ["row 1"]),
        (JSON, "{", ["no valid JSON"]),
        (LINES, '{"id": "a", "actual": 1}\nx', ["row 2"]),
        (CSV, "id,value\na,1", ["must name id and actual"]),
        (CSV, "id,actual\na,1,2", ["row 2", "2 cells"]),
        ("application/xml", "<a/>", ["application/xml", "text/csv"]),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_kept(world: World, media: str, text: str, says: list[str]) -> None:
    status, answer = world.bring(media, text)
    assert status == 400 and all(word in answer["error"] for word in says), answer
    assert world.actuals.standing().waiting == 0


def test_limits_and_tokens(world: World) -> None:
    assert world.post("/actuals", b"{}", token="wrong")[0] == 401
    assert world.post("/actuals", b" " * (17 * 2**20), **{"content-type": JSON})[0] == 413
    many = "id,actual\n" + "a,1\n" * 100_001
    assert "in parts" in world.bring(CSV, many)[1]["error"]


def test_feedback_events_are_true_values_too(world: World) -> None:
    feedback = {"truth": {"data": {"ndarray": [[0, 1, 0], [1, 0, 0]]}}, "reward": 1.0}
    status, answer = world.post("/", json.dumps(feedback).encode(), **headers(FEEDBACK, "f0"))
    assert status == 400 and "names" in answer["error"], "its prediction is not known yet, nor are its labels"
    for kind, event in ((REQUEST, ASKED), (RESPONSE, ANSWERED)):
        world.post("/", json.dumps(event).encode(), **headers(kind, kind))
    about = {**feedback, "response": {"meta": {"puid": "p1"}}}
    more = headers(FEEDBACK, "f1", **{"ce-requestid": "of-the-feedback"})
    assert world.post("/", json.dumps(about).encode(), **more) == (202, {"events": ["stored"]})
    assert world.post("/", json.dumps(about).encode(), **more) == (202, {"events": ["repeated"]})
    assert world.post("/", b'{"truth": {"strData": "x"}}', **headers(FEEDBACK, "f2"))[0] == 400
    assert world.actuals.join(world.store).joined == 2
    (rows,) = world.actuals.labelled(namespace="prod", deployment="cooler")
    assert rows.truth.tolist() == [1.0, 0.0]


@given(st.sampled_from([JSON, LINES, CSV, ""]), st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_body_is_read_or_refused(media: str, body: bytes) -> None:
    try:
        assert isinstance(read_posted(media, body, 1e9), list)
    except HydraulicError:
        return
