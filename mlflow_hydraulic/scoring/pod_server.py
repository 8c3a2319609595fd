"""A scorer that listens before its model is there, as a pod needs it. Called by `hydraulic serve-pod`.

From the first moment `/live` answers 200 and everything else 503 with what the pod is busy with; once the model is
warm the scorer's own application answers. gRPC is opened then, and drained together with HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mlflow_hydraulic.errors import HydraulicError, Unavailable
from mlflow_hydraulic.scoring.reading import Receive
from mlflow_hydraulic.scoring.server import POLL_S, ScorerServer, configure

if TYPE_CHECKING:
    from mlflow_hydraulic.scoring.asgi import Scope, ScorerApp, Send
    from mlflow_hydraulic.scoring.grpc_server import GrpcServer

LIVE_PATHS = ("/live", "/health/ping", "/v2/health/live")

log = logging.getLogger(__name__)


class Front:
    """The ASGI application of a pod: says what it is busy with until it has a scorer, then is that scorer.

    doing: what it is busy with, in words; part of every 503.
    """

    def __init__(self) -> None:
        self.doing = "starting"
        self._answer: Callable[[Scope, Receive, Send], Awaitable[None]] = self._busy

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._answer(scope, receive, send)

    def be(self, app: ScorerApp) -> None:
        self._answer = app

    async def _busy(self, scope: Scope, _receive: Receive, send: Send) -> None:
        live = scope["path"] in LIVE_PATHS and scope["method"] in ("GET", "HEAD")
        body = json.dumps({"live": True} if live else {"ready": False, "reason": f"not ready yet: {self.doing}"})
        content = body.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        if not live:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": 200 if live else 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


Prepare = Callable[[Front], Awaitable["ScorerApp"]]
OpenGrpc = Callable[["ScorerApp"], Awaitable["GrpcServer | None"]]


class PodServer(ScorerServer):
    """Serves `front` while `prepare` makes the scorer, then the scorer; drains as a scorer does.

    ending_s: how long connections are still accepted after SIGTERM, with readiness at 503: the cluster goes on
    sending until it has taken the pod out of its Services.
    failure: why it ended before or while it opened its ports; None when it was told to end after it was ready.
    """

    def __init__(
        self,
        front: Front,
        prepare: Prepare,
        open_grpc: OpenGrpc,
        *,
        drain_timeout_s: float,
        ending_s: float,
    ) -> None:
        super().__init__(configure(front), None, drain_timeout_s)
        self.failure: HydraulicError | None = None
        self._front = front
        self._prepare = prepare
        self._open_grpc = open_grpc
        self._grpc: GrpcServer | None = None
        self._ending_s = ending_s
        self._preparing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._preparing = asyncio.get_running_loop().create_task(self._become_ready())
        self._preparing.add_done_callback(self._prepared)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_timeout_s
        if self._preparing is not None and not self._preparing.done():
            self.failure = Unavailable(f"told to stop before it was ready, while {self._front.doing}")
            self._preparing.cancel()
            await asyncio.wait([self._preparing])
        if self._app is not None:
            self._app.draining = True
            log.info("told to stop: not ready any more; connections are accepted for another %g s", self._ending_s)
            await asyncio.sleep(max(0.0, self._ending_s - POLL_S))
        if self._grpc is not None:
            await self._grpc.drain(deadline - loop.time())
        self._drain_timeout_s = max(1.0, deadline - loop.time())
        await super().shutdown(sockets)

    async def _become_ready(self) -> None:
        app = await self._prepare(self._front)
        self._grpc = await self._open_grpc(app)
        self.attach(app)
        self._front.be(app)
        log.info("ready")

    def _prepared(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, HydraulicError):
            self.failure = error
        elif error is not None:  # a defect of ours, or what a model's own code raised: its trace goes to the log
            log.error("the model could not be made ready", exc_info=error)
            self.failure = HydraulicError(f"{self._front.doing}: {type(error).__name__}: {error}")
        self.should_exit = self.should_exit or error is not None
