"""Keep-alive HTTP/1.1 connections from the router to one scorer. Called by router, shadow and scorers.

Written on httptools because the router must know whether a request was sent before it asks again. Not for speed: in
`python -m benchmarks router`, 3 rounds on two busy cores, it had 1.9, 1.2 and 1.1 times the requests/s of aiohttp as a
plain proxy at 1, 8 and 64 connections, but in a later round at higher load aiohttp was ahead at 1 and 8. Against the
scorer asked directly it had 0.42, 0.28 and 0.27. Within those rounds figures differed by up to three times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import httptools

Headers = Iterable[tuple[bytes, bytes]]
IDLE_CONNECTIONS = 128
CONNECT_TIMEOUT_S = 5.0


class Lost(Exception):
    """The connection ended before the whole answer came.

    untouched: nothing of the answer came. sent: the scorer may have read the request.
    """

    def __init__(self, why: str, *, untouched: bool = True, sent: bool = True) -> None:
        super().__init__(why)
        self.untouched, self.sent = untouched, sent


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a scorer; header names in lower case."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def request_bytes(method: bytes, target: bytes, headers: Headers = (), body: bytes = b"") -> bytes:
    """One whole HTTP/1.1 request; the caller has taken hop-by-hop headers and content-length out of `headers`."""
    lines = [method + b" " + target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in headers]
    lines.append(b"content-length: " + str(len(body)).encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Upstream:
    """One scorer's address and the connections to it. `in_flight` counts requests that wait for an answer."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.in_flight = 0
        self._idle: list[_Connection] = []
        self._closed = False

    async def ask(self, request: bytes, timeout_s: float, *, fresh: bool = False) -> Reply:
        """The answer to `request`. Raises `Lost`, or `TimeoutError` after `timeout_s`.

        A kept connection that the scorer had closed meanwhile is replaced without a word. `fresh` takes a new one, for
        what must not be done twice: only then does `Lost.sent` tell for sure that nothing was sent.
        """
        self.in_flight += 1
        try:
            while True:
                kept = bool(self._idle) and not fresh
                connection = self._idle.pop() if kept else await self._connect()
                try:
                    reply = await connection.ask(request, timeout_s)
                except Lost as lost:
                    if not (kept and lost.untouched):
                        raise
                    continue
                if connection.reusable and not self._closed and len(self._idle) < IDLE_CONNECTIONS:
                    self._idle.append(connection)
                else:
                    connection.close()
                return reply
        finally:
            self.in_flight -= 1

    async def get(self, path: str, timeout_s: float) -> Reply:
        return await self.ask(request_bytes(b"GET", path.encode(), [(b"host", b"scorer")]), timeout_s)

    async def post_json(self, path: str, body: bytes, timeout_s: float) -> Reply:
        headers = [(b"host", b"scorer"), (b"content-type", b"application/json")]
        return await self.ask(request_bytes(b"POST", path.encode(), headers, body), timeout_s)

    def close(self) -> None:
        """Closes idle connections; those in use close after their answer."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            connecting = loop.create_connection(lambda: _Connection(self._idle), self.host, self.port)
            _, connection = await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
        except (OSError, asyncio.TimeoutError) as error:
            raise Lost(f"cannot connect: {error}", sent=False) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, idle: list[_Connection]) -> None:
        self._pool = idle
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Reply] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._touched = False
        self.reusable = True

    async def ask(self, request: bytes, timeout_s: float) -> Reply:
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            raise Lost("the connection was closed", sent=False)
        self._waiter = loop.create_future()
        self._headers, self._body, self._touched = [], [], False
        self._transport.write(request)
        timer = loop.call_later(timeout_s, self._late, timeout_s)
        try:
            return await self._waiter
        except BaseException:
            self.close()  # also on cancellation: the answer that still comes must not meet the next request
            raise
        finally:
            timer.cancel()
            self._waiter = None

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.close()

    def _late(self, timeout_s: float) -> None:
        self._fail(TimeoutError(f"no answer within {timeout_s:g} s"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream protocol gets a Transport

    def data_received(self, data: bytes) -> None:
        self._touched = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(Lost(f"not an HTTP answer: {error}", untouched=False))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self in self._pool:
            self._pool.remove(self)
        self._fail(Lost(f"the connection ended: {exc or 'closed by the scorer'}", untouched=not self._touched))

    # httptools
    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer, such as 100 Continue
            self._headers, self._body = [], []
            return
        self.reusable = self._parser.should_keep_alive()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Reply(status, tuple(self._headers), b"".join(self._body)))
