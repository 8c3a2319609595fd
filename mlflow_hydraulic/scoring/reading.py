"""Reads request bodies from ASGI within limits of size and time. Used by the ASGI application.

One watcher for all requests looks for slow bodies, because a timer for each would cost more than reading does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NoReturn

from mlflow_hydraulic.scoring.values import RequestProblem

Message = MutableMapping[str, Any]  # Any: as ASGI defines it
Receive = Callable[[], Awaitable[Message]]

CLOSE = ((b"connection", b"close"),)
DISCARDED_BODIES = 4  # so many times the limit is read and thrown away, so that the caller sees the answer


class Gone(Exception):
    """The caller hung up before the whole request was here; nobody waits for an answer."""


class BodyReader:
    """Reads bodies of at most `max_bytes` that arrive within `timeout_s`."""

    def __init__(self, max_bytes: int, timeout_s: float) -> None:
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tick = 0
        self._tick_s = min(1.0, timeout_s / 4)
        self._reading: dict[asyncio.Task[Any], int] = {}
        self._overdue: set[asyncio.Task[Any]] = set()

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """The whole body. `RequestProblem` 413 or 408, 415 for a compressed one; `Gone` when the caller hung up."""
        # Kept, because until Python 3.12 each asyncio.get_running_loop() is a system call (getpid).
        self._loop = self._loop or asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("bodies are read inside a task")
        self._reading[task] = self._tick
        try:
            if b"content-encoding" in headers:
                _refuse_encoding(headers[b"content-encoding"])
            if int(headers.get(b"content-length", 0)) > self.max_bytes:
                await self._refuse_size(receive, headers)
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                body: bytes = message.get("body", b"")
                if len(body) > self.max_bytes:
                    await self._refuse_size(receive, headers, arrived=True)
                return body
            return await self._rest(message, receive, headers)
        except asyncio.CancelledError:
            if task not in self._overdue:
                raise
            self._overdue.discard(task)
            if hasattr(task, "uncancel"):  # Python 3.11
                task.uncancel()
            problem = f"the body did not arrive within {self.timeout_s:g} s; send it faster or in smaller requests"
            raise RequestProblem(408, problem, headers=CLOSE) from None
        finally:
            del self._reading[task]

    async def watch(self) -> None:
        """Ends the reading of overdue bodies; runs as long as the server."""
        while True:
            await asyncio.sleep(self._tick_s)
            self._tick += 1
            for task, since in list(self._reading.items()):
                if (self._tick - since) * self._tick_s > self.timeout_s and task not in self._overdue:
                    self._overdue.add(task)
                    task.cancel()

    async def _rest(self, message: Message, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            size += len(part)
            if size > self.max_bytes:
                await self._refuse_size(receive, headers, arrived=not message.get("more_body"))
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)
            message = await receive()

    async def _refuse_size(
        self, receive: Receive, headers: Mapping[bytes, bytes], *, arrived: bool = False
    ) -> NoReturn:
        """413. The rest is read and discarded up to a bound: closing on a caller who still sends loses the answer.

        A caller that asked by `Expect: 100-continue` has sent nothing yet, and gets the answer at once.
        """
        discarded = 0
        while not arrived and b"expect" not in headers and discarded < DISCARDED_BODIES * self.max_bytes:
            message = await receive()
            discarded += len(message.get("body", b""))
            arrived = message["type"] == "http.disconnect" or not message.get("more_body")
        limit = f"{self.max_bytes / 1e6:g} MB"
        problem = f"the body is larger than {limit}; send fewer rows a request, or raise HYDRAULIC_MAX_BODY_MB"
        raise RequestProblem(413, problem, headers=CLOSE)


def _refuse_encoding(encoding: bytes) -> None:
    if encoding.strip().lower() not in (b"", b"identity"):
        shown = encoding[:40].decode("latin-1")
        raise RequestProblem(415, f"content-encoding {shown!r} is not read; send the body uncompressed")
