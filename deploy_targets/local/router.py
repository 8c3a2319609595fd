"""The router of one deployment, an ASGI application: who answers, what callers see, what happens when a scorer dies.

Run by the supervisor under uvicorn. It behaves as Seldon Core does behind its gateway: the prefix
`/seldon/<namespace>/<name>` is taken off, `Seldon-Puid` is kept or made, an error keeps status and body, feedback goes
by weight and to the shadow. Paths without the prefix work as well. Requests are parsed and written anew, never passed
through raw, so that two servers cannot disagree on where one ends.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mlflow_hydraulic.deploy_targets.local.counts import Counts
from mlflow_hydraulic.deploy_targets.local.shadow import Shadow
from mlflow_hydraulic.deploy_targets.local.table import Lane, Replica, Table
from mlflow_hydraulic.deploy_targets.local.upstream import Lost, Reply, request_bytes
from mlflow_hydraulic.record.recorder import PREDICTOR_HEADER as PREDICTOR
from mlflow_hydraulic.scoring.ids import new_uuid, sane_id

Message = MutableMapping[str, Any]  # Any: ASGI's own types
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

PUID = b"seldon-puid"
PREDICTION_ID = b"x-prediction-id"
# RFC 9110, section 7.6.1, with what this router writes itself.
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade expect content-length seldon-puid".split()
)
FEEDBACK = (b"/api/v1.0/feedback", b"/api/v0.1/feedback", b"/send-feedback")
ATTEMPTS = 3
ANSWER_TIMEOUT_S = 300.0
READY_WAIT_S = 15.0  # how long a request waits for a scorer to come back
WAITING = 1000  # requests that may wait so; beyond it they get 503 at once


class TooLarge(Exception):
    """The body is over the limit."""


class Gone(Exception):
    """The caller went away."""


class Unanswered(Exception):
    """No scorer could answer; `status` is for the caller, `lane` is whose turn it was."""

    def __init__(self, status: int, why: str, lane: Lane | None) -> None:
        super().__init__(why)
        self.status = status
        self.predictor, self.version = (lane.predictor, lane.version) if lane else ("", "")


class Router:
    """Routes by `table`, which is None until something serves. `metrics` gives the scorers' own metrics as text."""

    def __init__(self, namespace: str, name: str, max_body: int, metrics: Callable[[], Awaitable[str]]) -> None:
        self.prefix = f"/seldon/{namespace}/{name}".encode()
        self.counts = Counts(namespace, name)
        self._table: Table | None = None
        self._shadow: Shadow | None = None
        self._max_body = max_body
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._waiting = 0
        self._closing: set[asyncio.Task[None]] = set()

    def swap(self, table: Table) -> None:
        """From the next request on, `table` decides; requests that are under way end where they are."""
        retired, self._table = self._shadow, table
        replicas = {lane.predictor: (lane.version, lane.replicas) for lane in table.lanes.values()}
        self.counts.serve(replicas, table.shadow.predictor if table.shadow else "")
        self._shadow = Shadow(table.shadow, table.shadow_percent, self.counts.shadow) if table.shadow else None
        self.wake()
        if retired is not None:
            closing = asyncio.create_task(retired.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def wake(self) -> None:
        """Tells waiting requests that a scorer became ready or the table changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            status, headers, body = await self._answer(scope, receive)
        except Gone:
            return
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Receive) -> tuple[int, Headers, bytes]:
        path: bytes = scope["raw_path"]
        if path.startswith(b"/seldon/"):
            rest = path[len(self.prefix) :]
            if not path.startswith(self.prefix) or rest[:1] not in (b"", b"/"):
                return problem(404, f"{path.decode('latin-1')}: this port serves {self.prefix.decode()}/ only")
            path = rest or b"/"
        method: bytes = scope["method"].encode()
        if path == b"/metrics" and method == b"GET":
            text = self.counts.render() + await self._metrics()
            return 200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], text.encode()
        puid = (_given_id(scope["headers"]) or new_uuid()).encode()
        try:
            body = await self._read(scope["headers"], receive)
        except TooLarge:
            status, headers, text_ = problem(413, f"the body is over {self._max_body} bytes: send fewer rows a request")
            return status, [*headers, (b"connection", b"close")], text_
        return await self._score(scope, method, path, puid, body)

    async def _score(
        self, scope: Message, method: bytes, path: bytes, puid: bytes, body: bytes
    ) -> tuple[int, Headers, bytes]:
        # The answer to HEAD has a length and no body; GET tells the same, and uvicorn leaves the body out.
        upstream_method = b"GET" if method == b"HEAD" else method
        target = path + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = [h for h in end_to_end(scope["headers"]) if h[0] not in (PREDICTION_ID, PREDICTOR)]
        if path not in FEEDBACK or _given_id(scope["headers"]) is not None:  # an id made here names no prediction
            headers += [(PUID, puid), (PREDICTION_ID, puid)]
        if not any(name == b"host" for name, _ in headers):
            headers.append((b"host", b"scorer"))
        request = request_bytes(upstream_method, target, headers, body)
        started = time.perf_counter()
        if self._shadow is not None and method == b"POST":
            self._shadow.offer(request)
        try:
            lane, reply = await self._ask(request, once=path in FEEDBACK)
        except Unanswered as error:
            self.counts.unanswered(error.status, error.predictor, error.version)
            status, out, text = problem(error.status, str(error))
            return status, [*out, (PUID, puid)], text
        self.counts.answered(lane.predictor, lane.version, reply.status, time.perf_counter() - started)
        puid = _header(reply.headers, PUID) or puid  # an id in the body (`meta.puid`) goes before the header's
        who = [(PREDICTOR, lane.predictor.encode()), (b"x-hydraulic-version", lane.version.encode())]
        out = [h for h in end_to_end(reply.headers) if h[0] not in (b"date", b"server")]  # the server writes its own
        return reply.status, [*out, (PUID, puid), *who], reply.body

    async def _ask(self, request: bytes, *, once: bool) -> tuple[Lane, Reply]:
        """One whole answer by one scorer. A scorer that dies is replaced by another, or by itself when it is back."""
        lane, avoid = None, None
        deadline = time.monotonic() + READY_WAIT_S
        broken = 0
        while broken < ATTEMPTS:
            lane, replica = await self._pick(lane, avoid, deadline)
            try:
                return lane, await replica.upstream.ask(lane.named(request), ANSWER_TIMEOUT_S, fresh=once)
            except TimeoutError as error:
                raise Unanswered(504, f"predictor {lane.predictor!r} gave {error}", lane) from error
            except Lost as lost:
                if lost.sent and once:
                    why = "the scorer ended the connection before it answered; it may have read this, so it is not told"
                    way = "again: send it again if counting it twice does no harm"
                    raise Unanswered(502, f"{why} {way}", lane) from lost
                if lost.sent:
                    broken += 1  # a request that kills whoever reads it must not go round for ever
                    deadline = time.monotonic() + READY_WAIT_S  # it may have been a long time with one that hung
                self.counts.retries += 1
                avoid = replica
        raise Unanswered(502, "the scorers ended the connection before they answered; their logs tell why", lane)

    async def _pick(self, lane: Lane | None, avoid: Replica | None, deadline: float) -> tuple[Lane, Replica]:
        """A ready replica of `lane`, or of whose turn it is where that lane is gone; waits until `deadline` for one."""
        name = lane.predictor if lane else None
        while True:
            table = self._table
            if table is not None:
                lane = table.lanes[name] if name in table.lanes else table.deal()
                name = lane.predictor
                replica = lane.pick(avoid)
                # Straight after its connection broke, a scorer counts as ready until the supervisor has seen it end.
                if replica is not None and replica is not avoid:
                    return lane, replica
            await self._wait(deadline, lane)
            avoid = None

    async def _wait(self, deadline: float, lane: Lane | None) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or self._waiting >= WAITING:
            raise Unanswered(503, "no scorer is ready; it is started again: try again in a moment", lane)
        self._waiting += 1
        try:
            await asyncio.wait_for(self._changed.wait(), min(left, 0.25))
        except asyncio.TimeoutError:
            pass  # the caller looks again and knows its deadline
        finally:
            self._waiting -= 1

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        length = _header(headers, b"content-length")
        if length is not None and int(length) > self._max_body:  # the server has checked that it is a number
            raise TooLarge
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_body:
                raise TooLarge
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts) if len(parts) > 1 else part


def end_to_end(headers: Headers | tuple[tuple[bytes, bytes], ...]) -> Headers:
    """`headers` without those meant for one connection only, among them the ones that `Connection` names."""
    named = {n.strip().lower() for k, v in headers if k == b"connection" for n in v.split(b",")}
    return [(name, value) for name, value in headers if name not in HOP_BY_HOP and name not in named]


def problem(status: int, why: str) -> tuple[int, Headers, bytes]:
    """The router's own error, readable for callers of every dialect; 503 says when to try again."""
    seldon = {"code": status, "info": why, "reason": "ROUTER", "status": "FAILURE"}
    codes = {400: "BAD_REQUEST", 404: "ENDPOINT_NOT_FOUND", 413: "INVALID_PARAMETER_VALUE"}
    value = {"error": why, "error_code": codes.get(status, "TEMPORARILY_UNAVAILABLE"), "message": why, "status": seldon}
    retry = [(b"retry-after", b"1")] if status == 503 else []
    return status, [(b"content-type", b"application/json"), *retry], json.dumps(value).encode()


def _given_id(headers: Headers) -> str | None:
    """The caller's own prediction id, where it is sane."""
    return sane_id(_header(headers, PUID)) or sane_id(_header(headers, PREDICTION_ID))


def _header(headers: Headers | tuple[tuple[bytes, bytes], ...], name: bytes) -> bytes | None:
    return next((value for key, value in headers if key == name), None)
