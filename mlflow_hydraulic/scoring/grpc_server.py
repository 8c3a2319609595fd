"""Seldon v1 over gRPC, in the scorer's own event loop: Seldon/Predict, Model/Predict, feedback and metadata.

A skin over the dialect `seldon`: each call becomes that dialect's JSON and goes through the scorer's application, so
limits, prediction ids, counts and the record are the same as over HTTP. Made by `hydraulic serve-pod`; needs grpcio
and protobuf (`pip install "mlflow-hydraulic[grpc]"`). The V2 protocol is served over HTTP only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import grpc
import grpc.aio
import msgspec
from google.protobuf.json_format import ParseDict

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.scoring import seldon_proto as proto
from mlflow_hydraulic.scoring.asgi import ScorerApp
from mlflow_hydraulic.scoring.seldon_codec import Json, feedback_to_json, json_to_message, message_to_json
from mlflow_hydraulic.scoring.values import RequestProblem

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.FAILED_PRECONDITION,
    503: grpc.StatusCode.UNAVAILABLE,
}
PASSED_ON = ("x-prediction-id", "seldon-puid", "x-hydraulic-predictor")  # headers of ours that go out as metadata
TRANSPORT = ("content-type", "content-length", "content-encoding", "expect", "te")  # never taken from a caller here
FAREWELL_S = 0.2  # how long callers who do not look yet are told to go elsewhere
POLL_S = 0.01
LAST_BYTES_S = 1.0  # for answers that are on their way

log = logging.getLogger(__name__)


class GrpcServer:
    """The gRPC server of one scorer. active: calls that are being answered now."""

    def __init__(self, app: ScorerApp, *, max_message_bytes: int) -> None:
        self.active = 0
        self._draining = False
        self._app = app
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # else a port that is taken would be shared in silence
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),
            ]
        )
        predict = partial(self._predict, message_to_json)
        feedback = partial(self._predict, feedback_to_json)
        services: dict[str, dict[str, tuple[Callable[..., Any], Any]]] = {
            "Seldon": {
                "Predict": (predict, proto.SeldonMessage),
                "SendFeedback": (feedback, proto.Feedback),
                "ModelMetadata": (self._metadata, proto.ModelMetadataRequest),
            },
            "Model": {
                "Predict": (predict, proto.SeldonMessage),
                "SendFeedback": (feedback, proto.Feedback),
                "Metadata": (self._metadata, proto.Empty),
            },
        }
        for service, methods in services.items():
            name = f"{proto.PACKAGE}.{service}"
            handlers = {
                method: grpc.unary_unary_rpc_method_handler(
                    partial(answer, f"/{name}/{method}"),
                    request_deserializer=takes.FromString,
                    response_serializer=_serialized,
                )
                for method, (answer, takes) in methods.items()
            }
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))

    async def open(self, host: str, port: int) -> int:
        """Listens; gives the port, a free one for 0. `Unavailable` when the address is taken."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound: int = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {address} for gRPC: {error}; choose another port") from error
        await self._server.start()
        return bound

    async def drain(self, timeout_s: float) -> None:
        """Answer what was accepted within `timeout_s`, everything new with UNAVAILABLE, and end.

        grpc's own `stop` would tell callers who come a moment later CANCELLED, which nobody tries again.
        """
        self._draining = True
        deadline = time.monotonic() + timeout_s
        await asyncio.sleep(min(FAREWELL_S, max(0.0, timeout_s)))
        while self.active and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
        if self.active:
            log.error("%d gRPC calls were not answered in %g s", self.active, timeout_s)
        await self._server.stop(0 if self.active else LAST_BYTES_S)

    async def _predict(self, read: Callable[[Any], Json], path: str, request: Any, context: Any) -> Any:
        try:
            body = msgspec.json.encode(read(request))
        except RequestProblem as problem:
            await context.abort(CODES[problem.status], str(problem))
        answer = await self._asked("POST", path, body, context)
        return json_to_message(answer, proto.SeldonMessage())

    async def _metadata(self, path: str, _request: Any, context: Any) -> Any:
        return ParseDict(await self._asked("GET", path, b"", context), proto.ModelMetadata())

    async def _asked(self, method: str, path: str, body: bytes, context: Any) -> Json:
        """The application's answer as JSON; a refusal ends the call with its status."""
        sent: list[Any] = []
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        if self._draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the scorer is stopping; ask another")
        self.active += 1
        try:
            await self._app(_scope(method, path, body, context.invocation_metadata() or ()), receive, send)
        finally:
            self.active -= 1
        start, content = sent
        trailing = [(k.decode(), v.decode("latin-1")) for k, v in start["headers"] if k.decode() in PASSED_ON]
        answer: Json = msgspec.json.decode(content["body"])
        if start["status"] >= 400:
            code = CODES.get(start["status"], grpc.StatusCode.INTERNAL)
            await context.abort(code, answer["status"]["info"], tuple(trailing))
        context.set_trailing_metadata(tuple(trailing))
        return answer


def _scope(method: str, path: str, body: bytes, metadata: Sequence[tuple[str, str | bytes]]) -> dict[str, Any]:
    headers = [
        (name.encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in metadata
        if isinstance(value, str) and name not in TRANSPORT
    ]
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [*headers, *own]}


def _serialized(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content
