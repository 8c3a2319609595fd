"""uvicorn's httptools protocol with one write for an answer instead of two (headers, body). Used by `scoring.server`.

Each write is a system call that wakes the caller; for a small answer it costs more than scoring a row does. A request's
scope has its transport under `state`, so that the application can have something done before the answer goes out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HELD = "hydraulic.held"
HELD_BYTES = 65536  # more than this is passed on at once, so that large answers are not copied


class HeldTransport:
    """A transport that holds what is written until the event loop's next turn; everything else is passed on.

    before_flush: called before anything that was held is passed on.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self.before_flush: Callable[[], object] | None = None
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        if len(data) > HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Pass on what is held."""
        if self._held:
            held, self._held = self._held, []
            if self.before_flush is not None:
                self.before_flush()
            if self._transport.is_closing():  # the caller hung up
                return
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self._held.clear()
        self._transport.abort()


class ScorerProtocol(HttpToolsProtocol):
    """HTTP/1.1 on a transport that holds writes."""

    def connection_made(self, transport: Any) -> None:  # Any: as uvicorn's own, narrower than asyncio's
        held = HeldTransport(transport, self.loop)
        self.app_state = {**self.app_state, HELD: held}
        super().connection_made(held)  # type: ignore[arg-type]  # all that is used of it
