"""CloudEvents of Seldon's logger: any mode, any order, repeated, damaged, and halves whose other never comes."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.cloudevents import BATCHED, FEEDBACK, REQUEST, RESPONSE, STRUCTURED, Event, read_events
from mlflow_hydraulic.record.pairs import PATIENCE_NS, accept, give_up_waiting
from mlflow_hydraulic.record.payloads import read_pair
from mlflow_hydraulic.record.store import Store

ASKED = {"data": {"names": ["PS1", "TS1"], "ndarray": [[160.5, 40.0], [150.0, 41.0]]}}
TAGS = {"model_name": "hydraulic-cooler", "model_version": "7", "model_digest": "d" * 64}
ANSWERED = {
    "data": {"names": ["cool.3", "cool.20", "cool.100"], "ndarray": [[0.1, 0.7, 0.2], [0.8, 0.1, 0.1]]},
    "meta": {"puid": "p1", "tags": TAGS},
}
V2_ASKED = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}]}
V2_ANSWERED = {"model_name": "m", "outputs": [{"name": "predict", "shape": [2], "datatype": "INT64", "data": [3, 20]}]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "record.db") as opened:
        yield opened


def headers(kind: str, event_id: str, **more: str) -> dict[str, str]:
    """As the executor writes them: CloudEvents 1.0 in binary mode."""
    return {
        "content-type": "application/json",
        "ce-id": event_id,
        "ce-specversion": "1.0",
        "ce-source": "http://:8000/",
        "ce-type": kind,
        "ce-time": "2026-03-01T12:00:00.123456789Z",
        "ce-requestid": "p1",
        "ce-modelid": "classifier",
        "ce-inferenceservicename": "cooler",
        "ce-namespace": "prod",
        "ce-endpoint": "default",
        **more,
    }


def event(kind: str, body: object, event_id: str = "", **more: str) -> Event:
    (found,) = read_events(headers(kind, event_id or kind, **more), json.dumps(body).encode())
    return found


def test_a_request_and_its_response_are_a_prediction(store: Store) -> None:
    assert accept(store, event(REQUEST, ASKED)) == "waiting"
    later = {"ce-time": "2026-03-01T12:00:00.173456789Z"}
    assert accept(store, event(RESPONSE, ANSWERED, **later)) == "stored"
    (found,) = store.find("p1")
    assert found.served.target == "seldon"
    assert (found.served.namespace, found.served.deployment, found.served.predictor) == ("prod", "cooler", "default")
    assert (found.served.model, found.served.version) == ("hydraulic-cooler", "7")
    assert found.inputs.tolist() == [[160.5, 40.0], [150.0, 41.0]]
    assert found.labels.tolist() == [20, 3]
    assert found.latency_s == pytest.approx(0.05)
    assert json.loads(found.request) == ASKED and json.loads(found.answer) == ANSWERED
    window = store.window(namespace="prod", deployment="cooler")
    assert window.schema.names == ("PS1", "TS1") and window.schema.labels == (3, 20, 100)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_and_any_repeat_store_it_once(store: Store, order: tuple[int, ...]) -> None:
    events = [event(REQUEST, ASKED), event(RESPONSE, ANSWERED), event(REQUEST, ASKED), event(RESPONSE, ANSWERED)]
    outcomes = [accept(store, events[index]) for index in order]
    assert sorted(outcomes) == ["repeated", "repeated", "stored", "waiting"]
    assert len(store.find("p1")) == 1


def test_an_id_that_a_caller_uses_again_is_another_prediction(store: Store) -> None:
    for number in range(2):
        accept(store, event(REQUEST, ASKED, f"q{number}"))
        accept(store, event(RESPONSE, ANSWERED, f"r{number}"))
    assert len(store.find("p1")) == 2


def test_predictors_do_not_take_each_others_halves(store: Store) -> None:
    accept(store, event(REQUEST, ASKED, "a"))
    shadow = {"ce-endpoint": "shadow"}
    assert accept(store, event(RESPONSE, ANSWERED, "b", **shadow)) == "waiting"
    assert accept(store, event(REQUEST, ASKED, "c", **shadow)) == "stored"
    assert [one.served.predictor for one in store.find("p1")] == ["shadow"]


def test_a_request_without_a_response_is_recorded_as_that(store: Store) -> None:
    accept(store, event(REQUEST, ASKED))
    sent = event(REQUEST, ASKED).at_ns
    assert give_up_waiting(store, sent + PATIENCE_NS - 1) == 0
    assert give_up_waiting(store, sent + PATIENCE_NS + 1) == 1
    (found,) = store.find("p1")
    assert (found.status, found.answer, len(found.inputs)) == (0, b"", 0)
    assert json.loads(found.request) == ASKED


def test_structured_and_batched_mode_say_the_same() -> None:
    binary = event(REQUEST, ASKED)
    attributes = {name[3:]: value for name, value in headers(REQUEST, REQUEST).items() if name.startswith("ce-")}
    plain = {**attributes, "data": ASKED}
    encoded = {**attributes, "data_base64": base64.b64encode(binary.body).decode()}
    (structured,) = read_events({"content-type": STRUCTURED + "; charset=utf-8"}, json.dumps(plain).encode())
    batch = list(read_events({"content-type": BATCHED}, json.dumps([plain, encoded]).encode()))
    assert json.loads(structured.body) == ASKED
    assert batch == [structured, binary]
    assert structured.key == binary.key and structured.at_ns == binary.at_ns


def test_times_have_nine_digits_and_zones() -> None:
    first = event(REQUEST, ASKED).at_ns
    east = event(REQUEST, ASKED, **{"ce-time": "2026-03-01T13:00:00.123456789+01:00"}).at_ns
    assert first == east and first % 10**9 == 123_456_789
    now = event(REQUEST, ASKED, **{"ce-time": ""}).at_ns
    assert abs(now - time.time_ns()) < 60 * 10**9


@pytest.mark.parametrize(
    ("given", "body", "says"),
    [
        ({}, b"{}", "no CloudEvent"),
        ({**headers(REQUEST, "x"), "ce-requestid": ""}, b"", "requestid"),
        ({**headers(REQUEST, "x"), "ce-id": "x" * 600}, b"", "CloudEvent attribute id"),
        (headers("io.seldon.serving.other", "x"), b"", "known are io.seldon"),
        ({**headers(REQUEST, "x"), "ce-time": "yesterday"}, b"", "RFC 3339"),
        ({"content-type": STRUCTURED}, b"{", "no valid JSON"),
        ({"content-type": STRUCTURED}, b"[1]", "JSON object"),
        ({"content-type": BATCHED}, b"{}", "a list"),
        ({"content-type": STRUCTURED}, json.dumps({"data_base64": "?"}).encode(), "data_base64"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(given: dict[str, str], body: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        list(read_events(given, body))


def test_feedback_is_known() -> None:
    assert event(FEEDBACK, {"reward": 1}).kind == "feedback"


def test_v2_and_a_regression_are_read() -> None:
    read = read_pair(json.dumps(V2_ASKED).encode(), json.dumps(V2_ANSWERED).encode())
    assert read is not None
    assert read.inputs.tolist() == [[1, 2], [3, 4]] and read.labels.tolist() == [3, 20]
    assert (read.schema.labels, read.probabilities, read.model) == ((), None, "m")
    tensor = {"data": {"tensor": {"shape": [2, 1], "values": [1.5, 2.5]}}}
    read = read_pair(json.dumps(ASKED).encode(), json.dumps(tensor).encode())
    assert read is not None and read.labels.tolist() == [1.5, 2.5]


def test_payloads_that_cannot_be_read_are_kept_whole(store: Store) -> None:
    accept(store, event(REQUEST, {"strData": "hello"}))
    accept(store, event(RESPONSE, ANSWERED))
    (found,) = store.find("p1")
    assert json.loads(found.request) == {"strData": "hello"} and len(found.inputs) == 0


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["data", "names", "ndarray", "tensor", "shape", "values", "inputs", "outputs", "meta", "tags"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values, json_values)
def test_no_payload_breaks_the_reading(asked: Any, answered: Any) -> None:
    read = read_pair(json.dumps(asked).encode(), json.dumps(answered).encode())
    assert read is None or len(read.inputs) == len(read.labels)
