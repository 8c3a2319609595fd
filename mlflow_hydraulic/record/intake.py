"""The intake: an HTTP port for predictions that come from elsewhere. Run by `hydraulic record intake`.

    POST /, /events[/TOKEN]      CloudEvents of Seldon's request logger: binary, structured or batched
    POST /actuals                true values: JSON, JSON lines or CSV, all or none
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
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import uvicorn

from mlflow_hydraulic import exposition
from mlflow_hydraulic.errors import BadData, BadInput, HydraulicError, Unavailable
from mlflow_hydraulic.exposition import family, of_process, one
from mlflow_hydraulic.record.cloudevents import Event, read_events
from mlflow_hydraulic.record.feedback import accept_feedback
from mlflow_hydraulic.record.frames import Frame, scan
from mlflow_hydraulic.record.pairs import accept, give_up_waiting
from mlflow_hydraulic.record.segments import chunk_of, read_head
from mlflow_hydraulic.record.store import Store

Message = MutableMapping[str, Any]  # Any: ASGI's own types
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Actuals = Callable[[str, bytes], Mapping[str, int]]

LARGEST_BODY = 160 * 2**20  # bytes: a frame of the largest request and its answer
LARGEST_ACTUALS = 16 * 2**20
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

    actuals: what takes the body of a POST /actuals by its media type, in a thread, and says what became of it; it
    must take one twice without harm, and raise where it cannot keep it, so that the sender is told.
    """

    def __init__(self, store: Store, *, token: str = "", actuals: Actuals | None = None) -> None:
        self._store, self._token, self._actuals = store, token.encode(), actuals
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
        headers = [(b"content-type", exposition.CONTENT_TYPE.encode() if plain else b"application/json")]
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
        if path == "/actuals":
            return 200, await self._bring(headers, await _read(receive, headers, LARGEST_ACTUALS))
        raise Problem(404, f"{path}: known are /events, /actuals and /segments/NAME")

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
        return await asyncio.to_thread(accept_feedback if event.kind == "feedback" else accept, self._store, event)

    async def _bring(self, headers: Mapping[str, str], body: bytes) -> Mapping[str, int]:
        if self._actuals is None:
            raise Problem(422, "true values are not taken here: this intake was started without a place for them")
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        counts = await asyncio.to_thread(self._actuals, media, body)
        for name, count in counts.items():
            self.counts[f"actuals_{name}"] += count
        return counts

    def _metrics(self) -> bytes:
        return exposition.page(self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        statuses = sorted((name[9:], count) for name, count in self.counts.items() if name.startswith("answered_"))
        kinds = sorted((name[7:], count) for name, count in self.counts.items() if name.startswith("events_"))
        requests = [({"status": status}, count) for status, count in statuses]
        yield from family("hydraulic_intake_requests_total", "counter", "Requests answered.", requests)
        events = [({"kind": kind}, count) for kind, count in kinds]
        yield from family("hydraulic_intake_events_total", "counter", "CloudEvents taken.", events)
        actuals = sorted((name[8:], count) for name, count in self.counts.items() if name.startswith("actuals_"))
        told = [({"outcome": outcome}, count) for outcome, count in actuals]
        yield from family("hydraulic_intake_actuals_total", "counter", "True values taken by POST /actuals.", told)
        taken = self.counts["predictions"]
        yield from one(
            "hydraulic_intake_predictions_total", "counter", "Predictions of segments that were sent.", taken
        )
        text = "Requests or answers whose other half did not come in time."
        yield from one("hydraulic_intake_halves_given_up_total", "counter", text, self.counts["halves_given_up"])
        yield from one("hydraulic_intake_requests_in_progress", "gauge", "Requests under way.", self._under_way)
        yield from of_process("intake")

    async def watch(self) -> None:
        """Gives up, from time to time, on halves that have waited too long."""
        while True:
            await asyncio.sleep(EXPIRE_S)
            try:
                while given_up := await asyncio.to_thread(give_up_waiting, self._store, time.time_ns()):
                    self.counts["halves_given_up"] += given_up
            except HydraulicError as error:
                log.error("%s", error)  # noqa: TRY400 - a known cause


async def _read(receive: Receive, headers: Mapping[str, str], most: int = LARGEST_BODY) -> bytes:
    async def whole() -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "the sender went away")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise Problem(413, f"the body is larger than {most} bytes: send it in parts")
            if not message.get("more_body"):
                return b"".join(parts)

    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise Problem(413, f"the body is larger than {most} bytes: send it in parts")
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


def serve_intake(store: Store, listener: socket.socket, *, token: str = "", actuals: Actuals | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, then answer what is under way and return."""
    intake = Intake(store, token=token, actuals=actuals)
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
