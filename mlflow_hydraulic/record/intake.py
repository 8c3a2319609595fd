"""The intake: an HTTP port for predictions that come from elsewhere. Run by `hydraulic record intake`.

    POST /, /events[/TOKEN]      CloudEvents of Seldon's request logger: binary, structured or batched
    GET, POST /segments/NAME     how far a segment is stored; the next bytes of it (a head frame, then frames)
    GET /healthz, /metrics       whether it runs; what it took

Everything may be sent twice and is stored once. Wrong input is 4xx with the reason; 503 when too much is under way.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import uvicorn

from mlflow_hydraulic.errors import BadData, BadInput, HydraulicError, Unavailable
from mlflow_hydraulic.record.cloudevents import Event, read_events
from mlflow_hydraulic.record.frames import Frame, scan
from mlflow_hydraulic.record.pairs import accept, give_up_waiting
from mlflow_hydraulic.record.segments import chunk_of, read_head
from mlflow_hydraulic.record.store import Store

Message = MutableMapping[str, Any]  # Any: ASGI's own types
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Feedback = Callable[[Event], None]

LARGEST_BODY = 160 * 2**20  # bytes: a frame of the largest request and its answer
BODY_TIMEOUT_S = 60.0
AT_ONCE = 32
EXPIRE_S = 30.0
SEGMENT = re.compile(r"/segments/([A-Za-z0-9-]{1,100})")
log = logging.getLogger("hydraulic.record")


class Problem(Exception):
    """Why a request is refused; `status` is HTTP's."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Intake:
    """The ASGI application. token: what senders must know; "" lets everybody in.

    feedback: what gets Seldon's feedback events, from a thread; it must take one twice without harm, and raise where
    it cannot keep it, so that the sender is told.
    """

    def __init__(self, store: Store, *, token: str = "", feedback: Feedback | None = None) -> None:
        self._store, self._token, self._feedback = store, token.encode(), feedback
        self._under_way = 0
        self.counts: Counter[str] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._under_way += 1
        try:
            status, value = await self._answer(scope, receive)
        except Problem as problem:
            status, value = problem.status, {"error": str(problem)}
        except (BadInput, BadData) as error:
            status, value = 400, {"error": str(error)}
        except Unavailable as error:
            status, value = 503, {"error": str(error)}
        except HydraulicError as error:
            log.error("%s", error)  # noqa: TRY400 - a known cause
            status, value = 500, {"error": str(error)}
        finally:
            self._under_way -= 1
        self.counts[f"answered_{status}"] += 1
        plain = isinstance(value, bytes)
        body = value if isinstance(value, bytes) else msgspec.json.encode(value)
        headers = [(b"content-type", b"text/plain" if plain else b"application/json")]
        headers += [(b"content-length", b"%d" % len(body))]
        headers += [(b"retry-after", b"1")] if status == 503 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Receive) -> tuple[int, object]:
        path, method = scope["path"], scope["method"]
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if path == "/healthz" and method == "GET":
            return 200, {"status": "ok"}
        if self._under_way > AT_ONCE:
            raise Problem(503, f"more than {AT_ONCE} requests are under way: send it again in a moment")
        path = self._let_in(path, headers)
        if path == "/metrics" and method == "GET":
            return 200, self._metrics()
        segment = SEGMENT.fullmatch(path)
        if segment and method == "GET":
            return 200, {"offset": await asyncio.to_thread(self._store.offset, segment[1])}
        if method != "POST":
            raise Problem(405, f"{method} {path}: events and segments come by POST")
        if segment:
            body = await _read(receive, headers)
            return 200, {"offset": await self._segment(segment[1], scope.get("query_string", b""), body)}
        if path in ("/", "/events"):
            events = list(read_events(headers, await _read(receive, headers)))
            return 202, {"events": [await self._event(event) for event in events]}
        raise Problem(404, f"{path}: known are /events and /segments/NAME")

    def _let_in(self, path: str, headers: Mapping[str, str]) -> str:
        """The path without a token in it; 401 without the right one."""
        given = headers.get("authorization", "").removeprefix("Bearer ").encode()
        if path.startswith("/events/"):
            path, given = "/events", path.removeprefix("/events/").encode()
        if self._token and not hmac.compare_digest(given, self._token):
            raise Problem(401, "the token is missing or wrong: send it as Authorization: Bearer TOKEN")
        return path

    async def _segment(self, name: str, query: bytes, body: bytes) -> int:
        parameters = parse_qs(query.decode("latin-1"))
        start = parameters.get("start", [""])[0]
        if not start.isdigit():
            raise Problem(400, f"start={start!r}: must be the number of the first byte")
        final = parameters.get("final", ["0"])[0] == "1"
        first = next(scan(body), None)
        if not isinstance(first, Frame):
            raise Problem(400, "the body must begin with the segment's head frame")
        head = read_head(name, body[: first.end])
        chunk = chunk_of(name, head, int(start), body[first.end :], final=final)
        offset = await asyncio.to_thread(self._store.take, chunk)
        if offset == chunk.end:
            self.counts["predictions"] += len(chunk.entries)
        return offset

    async def _event(self, event: Event) -> str:
        self.counts[f"events_{event.kind}"] += 1
        if event.kind != "feedback":
            return await asyncio.to_thread(accept, self._store, event)
        if self._feedback is None:
            raise Problem(422, "feedback is not taken here: the intake was started without a place for actuals")
        await asyncio.to_thread(self._feedback, event)
        return "handed on"

    def _metrics(self) -> bytes:
        lines = [f"hydraulic_intake_{name}_total {count}" for name, count in sorted(self.counts.items())]
        return ("\n".join(lines) + "\n").encode()

    async def watch(self) -> None:
        """Gives up, from time to time, on halves that have waited too long."""
        while True:
            await asyncio.sleep(EXPIRE_S)
            try:
                while given_up := await asyncio.to_thread(give_up_waiting, self._store, time.time_ns()):
                    self.counts["halves_given_up"] += given_up
            except HydraulicError as error:
                log.error("%s", error)  # noqa: TRY400 - a known cause


async def _read(receive: Receive, headers: Mapping[str, str]) -> bytes:
    async def whole() -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "the sender went away")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > LARGEST_BODY:
                raise Problem(413, f"the body is larger than {LARGEST_BODY} bytes")
            if not message.get("more_body"):
                return b"".join(parts)

    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > LARGEST_BODY:
        raise Problem(413, f"the body is larger than {LARGEST_BODY} bytes")
    try:
        return await asyncio.wait_for(whole(), BODY_TIMEOUT_S)
    except asyncio.TimeoutError as error:
        raise Problem(408, f"the body did not come within {BODY_TIMEOUT_S:g} s") from error


class _Server(uvicorn.Server):
    """uvicorn with the intake's watch beside it."""

    def __init__(self, config: uvicorn.Config, intake: Intake) -> None:
        super().__init__(config)
        self._intake = intake

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._watch = asyncio.get_running_loop().create_task(self._intake.watch())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._watch.cancel()
        await super().shutdown(sockets)


def serve_intake(store: Store, listener: socket.socket, *, token: str = "", feedback: Feedback | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, then answer what is under way and return."""
    intake = Intake(store, token=token, feedback=feedback)
    config = uvicorn.Config(
        intake,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=4 * AT_ONCE,
        timeout_graceful_shutdown=10,
    )
    address = listener.getsockname()
    log.info("taking predictions on http://%s:%s, %s", address[0], address[1], "by token" if token else "from anybody")
    _Server(config, intake).run(sockets=[listener])
