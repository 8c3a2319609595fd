"""The TCP port of a deployment and the server behind it. Called by the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from mlflow_hydraulic.deploy_targets.local.router import Router
from mlflow_hydraulic.errors import Conflict, Unavailable

BACKLOG = 2048
KEEP_ALIVE_S = 75


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the supervisor has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Front:
    """Serves `router` on one address. A new address is bound first, switched to later, so that a change can fail."""

    def __init__(self, router: Router, drain_timeout_s: float) -> None:
        self._router = router
        self._drain_timeout_s = drain_timeout_s
        self._address: tuple[str, int] | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._next: tuple[tuple[str, int], _Server, asyncio.Task[None]] | None = None

    async def bind(self, host: str, port: int) -> int:
        """Makes sure that `host:port` is served, or will be after `switch`; gives the port, a free one for 0.

        Raises `Conflict` when the port is taken, `Unavailable` when the address cannot be used.
        """
        await self.forget()
        if self._address is not None and self._address[0] == host and port in (0, self._address[1]):
            return self._address[1]
        listener = _listen(host, port)
        address = (host, int(listener.getsockname()[1]))
        config = uvicorn.Config(
            self._router,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(self._drain_timeout_s) or 1,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        if self._address is None:
            self._address, self._server, self._serving = address, server, serving
        else:
            self._next = (address, server, serving)
        return address[1]

    async def switch(self) -> None:
        """Leaves the old address, if a new one was bound, after the requests there were answered."""
        if self._next is not None:
            old, serving = self._server, self._serving
            (self._address, self._server, self._serving), self._next = self._next, None
            await _end(old, serving)

    async def forget(self) -> None:
        """Gives up an address that was bound and not switched to."""
        if self._next is not None:
            (_, server, serving), self._next = self._next, None
            await _end(server, serving)

    async def close(self) -> None:
        """Answers what is under way and leaves every address."""
        await self.forget()
        await _end(self._server, self._serving)
        self._address = self._server = self._serving = None


async def _end(server: _Server | None, serving: asyncio.Task[None] | None) -> None:
    if server is not None and serving is not None:
        server.should_exit = True
        await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        text = f"cannot listen on {host}:{port}: {error}; choose another port with -C port=N, or 0 for a free one"
        raise (Conflict if port else Unavailable)(text) from error
    return listener
