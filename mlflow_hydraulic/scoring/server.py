"""Runs a scorer: one process, one loop, uvicorn, and an end that loses no request. Called by `hydraulic serve`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Literal

import uvicorn

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.scoring.asgi import ScorerApp
from mlflow_hydraulic.settings import Settings

BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than the pools of common clients and proxies keep a connection, so that they close first
LINGER_S = 1.0  # how long an idle connection may still bring a request while the scorer drains
POLL_S = 0.02
GC_THRESHOLD = 20_000  # objects; requests in progress are no garbage, and at Python's 700 each few are walked again

log = logging.getLogger(__name__)


class ScorerServer(uvicorn.Server):
    """uvicorn's server with a drain: what was accepted is answered, and callers are told to close.

    At SIGTERM readiness turns 503; connections that wait to be accepted are; each answer says `Connection: close`;
    idle connections get a moment to bring a request that is under way; then the process ends, with exit code 0.
    """

    def __init__(self, config: uvicorn.Config, app: ScorerApp | None, drain_timeout_s: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_timeout_s = drain_timeout_s
        self._watcher: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._app is not None:
            self.attach(self._app)

    def attach(self, app: ScorerApp) -> None:
        """Look after `app` from now on; a pod has none before its model is loaded."""
        self._app = app
        app.calls.in_flight = self.server_state.tasks.__len__
        self._watcher = asyncio.get_running_loop().create_task(app.reader.watch())
        gc.collect()
        gc.freeze()  # what is loaded now stays; the collector need not walk it again
        gc.set_threshold(GC_THRESHOLD)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._app is not None:
            self._app.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_timeout_s
        log.info("draining: %d connections are open", len(self.server_state.connections))
        # One turn of the loop accepts what waits in the listening socket; closing it first would reset those.
        await asyncio.sleep(POLL_S)
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        linger = min(deadline, loop.time() + LINGER_S)
        while self.server_state.connections and loop.time() < linger:
            await asyncio.sleep(POLL_S)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while (self.server_state.connections or self.server_state.tasks) and loop.time() < deadline:
            await asyncio.sleep(POLL_S)
        if self.server_state.tasks:
            log.error("%d requests were not answered in %g s", len(self.server_state.tasks), self._drain_timeout_s)
            for task in self.server_state.tasks:
                task.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._app is not None:
            self._app.calls.close()
            self._app.explainer.close()
            if self._app.recorder is not None:
                self._app.recorder.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the handlers stay and no signal is raised anew: a drained scorer exits with 0.

        A second SIGTERM, as supervisors send it, changes nothing: not while it drains and not while it ends.
        """
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.handle_exit)
        yield


def configure(app: object, *, backlog: int = BACKLOG) -> uvicorn.Config:
    """uvicorn's configuration of a scorer; benchmarks use it for the echo too."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # ours is an ASGI application; uvicorn's own types are narrower
        loop="uvloop" if _has("uvloop") else "asyncio",
        interface="asgi3",
        http=_protocol(),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=backlog,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def serve(app: ScorerApp, listener: socket.socket, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return."""
    # uvicorn asks this logger for each request whether it is on; an access log of ours would cost more than scoring
    logging.getLogger("uvicorn.access").propagate = False
    ScorerServer(configure(app), app, settings.drain_timeout_s).run(sockets=[listener])


def listen(host: str, port: int, fd: int | None = None) -> socket.socket:
    """The listening socket: inherited by its number, or a new one. `Unavailable` when the address is taken."""
    if fd is not None:
        try:
            return socket.socket(fileno=fd)
        except OSError as error:
            raise Unavailable(f"--fd {fd}: not a socket that this process inherited: {error}") from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise Unavailable(f"cannot listen on {host}:{port}: {error}; choose another --port") from error
    return listener


def _protocol() -> type[asyncio.Protocol] | Literal["h11"]:
    """Ours where httptools is installed (everywhere but on Windows)."""
    if not _has("httptools"):
        return "h11"
    from mlflow_hydraulic.scoring.wire import ScorerProtocol

    return ScorerProtocol


def _has(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True
