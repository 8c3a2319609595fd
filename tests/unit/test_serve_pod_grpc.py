"""Seldon v1 over gRPC: the bytes, the numbers, the errors, and that it is counted, limited and drained as HTTP is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_hydraulic.cli.serve_pod import _aliases
from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.scoring import seldon_proto as proto
from mlflow_hydraulic.scoring.asgi import ScorerApp
from mlflow_hydraulic.scoring.grpc_server import GrpcServer
from mlflow_hydraulic.scoring.seldon_codec import feedback_to_json, json_to_message, message_to_json
from mlflow_hydraulic.scoring.values import Cells, RequestProblem, Scores
from mlflow_hydraulic.settings import Settings
from tests.scorers import Client, dialects_of, forest_scorer, good_rows

PREDICT = "/seldon.protos.Seldon/Predict"
ROWS = good_rows(3)
HEADERS = [(b"x-hydraulic-predictor", b"left")]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    made = forest_scorer(tmp_path_factory.mktemp("forest"), "onnxruntime")
    yield made
    made.close()


@pytest.fixture
def app(client: Client) -> Iterator[ScorerApp]:
    """The forest's application with gRPC's paths; at most 5 rows."""
    engine = client.app.calls.engine
    card = client.card
    made = ScorerApp(card, engine, dialects_of(card), Settings(max_rows=5), aliases=_aliases(card), headers=HEADERS)
    yield made
    made.calls.close()
    made.explainer.close()


Method = Callable[..., Any]


def _talk(
    app: ScorerApp, do: Callable[[Method, GrpcServer], Awaitable[Any]], max_message_bytes: int = 1_000_000
) -> Any:
    """The outcome of `do(call, server)` while `app` is served."""

    async def talk() -> Any:
        server = GrpcServer(app, max_message_bytes=max_message_bytes)
        port = await server.open("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(
                PREDICT, request_serializer=_bytes, response_deserializer=proto.SeldonMessage.FromString
            )
            try:
                return await asyncio.wait_for(do(call, server), 30)
            finally:
                await server.drain(5)

    return asyncio.run(talk())


def _bytes(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content


def _message(rows: list[list[float]] = ROWS, **meta: Any) -> Any:
    return ParseDict({"data": {"ndarray": rows}, "meta": meta}, proto.SeldonMessage())


def _code(app: ScorerApp, message: Any, max_message_bytes: int = 1_000_000) -> tuple[grpc.StatusCode, str]:
    async def refused(call: Method, _: GrpcServer) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(message)
        return caught.value.code(), str(caught.value.details())

    found: tuple[grpc.StatusCode, str] = _talk(app, refused, max_message_bytes)
    return found


def test_the_bytes_are_those_of_seldon_s_proto() -> None:
    """Written by hand from the field numbers of prediction.proto."""
    message = ParseDict(
        {"meta": {"puid": "a"}, "data": {"names": ["x"], "tensor": {"shape": [1, 1], "values": [1.0]}}},
        proto.SeldonMessage(),
    )
    tensor = b"\x0a\x02\x01\x01" + b"\x12\x08" + b"\x00\x00\x00\x00\x00\x00\xf0\x3f"
    data = b"\x0a\x01x" + b"\x12" + bytes([len(tensor)]) + tensor
    assert message.SerializeToString() == b"\x12\x03\x0a\x01a" + b"\x1a" + bytes([len(data)]) + data
    assert proto.Feedback.FromString(b"\x1d\x00\x00\x80\x3f").reward == 1.0
    assert proto.SeldonMessage.FromString(b"\x2a\x01x").strData == "x"


def test_numbers_names_and_ids_are_those_of_http(app: ScorerApp, client: Client) -> None:
    async def ask(call: Method, _: GrpcServer) -> tuple[Any, dict[str, str]]:
        begun = call(_message(puid="mine"))
        return MessageToDict(await begun), dict(await begun.trailing_metadata())

    answer, metadata = _talk(app, ask)
    over_http = client.post("/predict", {"data": {"ndarray": ROWS}, "meta": {"puid": "mine"}}).json()
    assert answer == over_http
    assert metadata["seldon-puid"] == metadata["x-prediction-id"] == "mine"
    assert metadata["x-hydraulic-predictor"] == "left"


def test_an_id_in_the_metadata_is_kept_and_a_transport_header_is_not_taken(app: ScorerApp) -> None:
    async def ask(call: Method, _: GrpcServer) -> str:
        sent = (("seldon-puid", "from-engine"), ("content-encoding", "gzip"), ("binary-bin", b"\xff"))
        answer = await call(_message(), metadata=sent)
        return str(answer.meta.puid)

    assert _talk(app, ask) == "from-engine"


def test_calls_are_counted_under_their_method(app: ScorerApp) -> None:
    async def ask(call: Method, server: GrpcServer) -> None:
        await asyncio.gather(*(call(_message()) for _ in range(8)))
        with pytest.raises(grpc.aio.AioRpcError):
            await call(proto.SeldonMessage(strData="x"))
        assert server.active == 0

    _talk(app, ask)
    page = app.metrics.page().decode()
    assert f'http_requests_total{{method="POST",path="{PREDICT}",status="200"}} 8' in page
    assert f'http_requests_total{{method="POST",path="{PREDICT}",status="400"}} 1' in page
    assert "hydraulic_rows_total 24" in page


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (proto.SeldonMessage(), "INVALID_ARGUMENT", "neither"),
        (proto.SeldonMessage(strData="x"), "INVALID_ARGUMENT", "strData"),
        (proto.SeldonMessage(binData=b"x"), "INVALID_ARGUMENT", "binData"),
        (_message([[1.0]]), "INVALID_ARGUMENT", "row 0"),
        (_message([[1.0] * 6] * 6), "RESOURCE_EXHAUSTED", "6 rows"),
        (proto.SeldonMessage(data={"tftensor": b"x"}), "INVALID_ARGUMENT", "tftensor"),
        (
            proto.SeldonMessage(data={"tensor": {"shape": [1, 6], "values": [1, 2, 3, 4, 5, float("nan")]}}),
            "INVALID_ARGUMENT",
            "value 5 is nan",
        ),
        (proto.SeldonMessage(data={"tensor": {"shape": [-1, 6], "values": [1.0]}}), "INVALID_ARGUMENT", "shape"),
    ],
)
def test_what_is_wrong_is_said_with_its_status(app: ScorerApp, message: Any, code: str, words: str) -> None:
    found, details = _code(app, message)
    assert found.name == code and words in details


def test_a_message_that_is_too_large_is_refused(app: ScorerApp) -> None:
    assert _code(app, _message([[1.0] * 6] * 500), max_message_bytes=1000)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_model_that_fails_is_internal_and_says_nothing_of_why(
    app: ScorerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        loop_rows, shares_calls = 100, False

        def score(self, cells: Cells) -> Scores:
            raise RuntimeError("a secret of the model")

    monkeypatch.setattr(app.calls, "engine", Broken())
    code, details = _code(app, _message())
    assert code == grpc.StatusCode.INTERNAL and "secret" not in details and "prediction id" in details


def test_a_port_that_is_taken_is_one_clear_error(app: ScorerApp) -> None:
    async def twice() -> None:
        first, second = (GrpcServer(app, max_message_bytes=1000) for _ in range(2))
        port = await first.open("127.0.0.1", 0)
        try:
            with pytest.raises(Unavailable, match=f"{port} for gRPC"):
                await second.open("127.0.0.1", port)
        finally:
            await first.drain(0)
            await second.drain(0)

    asyncio.run(twice())


def test_a_call_that_runs_when_the_server_drains_is_answered(app: ScorerApp, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(call: Method, server: GrpcServer) -> Any:
        begun, go_on = asyncio.Event(), asyncio.Event()
        engine = app.calls.engine

        async def held(cells: Cells) -> Scores:
            begun.set()
            await go_on.wait()
            return engine.score(cells)

        monkeypatch.setattr(app.calls, "score", held)
        answer = asyncio.ensure_future(call(_message()))
        await begun.wait()
        draining = asyncio.create_task(server.drain(20))
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(_message())
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert server.active == 1 and not draining.done()
        go_on.set()
        await draining
        return await answer

    assert len(_talk(app, ask).data.ndarray.values) == len(ROWS)


cell = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5))
trees = st.recursive(
    cell, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
tensors = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=5)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.fixed_dictionaries({"jsonData": trees.filter(lambda tree: tree is not None)}),
        st.fixed_dictionaries(
            {"data": st.fixed_dictionaries({"ndarray": st.lists(st.lists(trees, max_size=3), max_size=3)})}
        ),
        st.builds(lambda v: {"data": {"names": ["a"], "tensor": {"shape": [len(v)], "values": v}}}, tensors),
    )
)
def test_a_message_is_the_same_json_that_it_was_made_of(value: dict[str, Any]) -> None:
    message = proto.SeldonMessage.FromString(ParseDict(value, proto.SeldonMessage()).SerializeToString())
    read = message_to_json(message)
    if "tensor" in value.get("data", {}) or "ndarray" in value.get("data", {}):
        assert json.dumps(read["data"], sort_keys=True) == json.dumps(value["data"], sort_keys=True)
    else:
        assert read == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(content: bytes) -> None:
    try:
        message = proto.SeldonMessage.FromString(content)
    except Exception:  # noqa: BLE001 - protobuf's DecodeError; its class differs between implementations
        return
    try:
        json.dumps(message_to_json(message))
    except RequestProblem as problem:
        assert problem.status == 400


def test_an_answer_of_texts_goes_out_as_rows() -> None:
    rows = [["a", 1.0, True, None], [2, [3.0]]]
    message = json_to_message({"data": {"names": [], "ndarray": rows}, "meta": {"puid": "p"}}, proto.SeldonMessage())
    assert message_to_json(message) == {"data": {"ndarray": rows}, "meta": {"puid": "p"}}


def test_feedback_is_read_with_its_parts() -> None:
    given = {"request": {"data": {"ndarray": [[1.0]]}}, "reward": 0.5, "truth": {"data": {"ndarray": [["x"]]}}}
    assert feedback_to_json(ParseDict(given, proto.Feedback())) == given
    with pytest.raises(RequestProblem, match="finite"):
        feedback_to_json(proto.Feedback(reward=float("inf")))
