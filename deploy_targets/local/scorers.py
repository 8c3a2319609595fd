"""One scorer process after another for one replica: start, wait until ready, warm up, watch, restart, stop.

Called by the supervisor. Each process inherits a listening socket of its own, so no port is free for a moment only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deploy_targets.local.environ import without_secrets
from mlflow_hydraulic.deploy_targets.local.folder import model_folder, tail
from mlflow_hydraulic.deploy_targets.local.plan import Identity, crashes_in_a_row, restart_delay_s
from mlflow_hydraulic.deploy_targets.local.table import Replica
from mlflow_hydraulic.deploy_targets.local.upstream import Lost, Reply, Upstream
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.errors import Failed, HydraulicError, Untrusted
from mlflow_hydraulic.record.recorder import SERVED, Place
from mlflow_hydraulic.settings import Settings

READY_POLL_S = 0.05
HEALTH_S = 2.0
HEALTH_TIMEOUT_S = 10.0
SICK = 3  # health checks in a row without an answer that make a scorer count as hung
LOG_BYTES = 5_000_000
log = logging.getLogger(__name__)


class Broken(Failed):
    """A scorer did not come up; knows its last log lines."""

    def __init__(self, why: str, lines: tuple[str, ...]) -> None:
        super().__init__(why)
        self.lines = lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What every scorer of a deployment is started with.

    command: module and leading arguments, run by this Python. pipe: closes when the supervisor ends.
    changed: called when a replica became ready or ceased to be. ended: called with the predictor whose scorer ended.
    place: whose scorers they are, for the prediction record.
    """

    settings: Settings
    command: tuple[str, ...]
    pipe: int
    changed: Callable[[], None]
    ended: Callable[[str], None] = lambda _: None
    place: Place = field(default_factory=Place)


class Slot:
    """Keeps one replica of one model version alive. `predictor` is whom it works for; it may change."""

    def __init__(
        self, slot_id: str, model: ModelVersion, predictor: str, *, engine: str, log_file: Path, launch: Launch
    ) -> None:
        self.id, self.model, self.predictor = slot_id, model, predictor
        self.identity = Identity.of(model, engine)
        self.replica = Replica(slot_id, model.version, Upstream("127.0.0.1", 0))
        self.crashes = 0
        self.why = ""
        self.log_file = log_file
        self._folder, self._launch = model_folder(launch.settings.home, model.digest), launch
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """The first process, ready and warm. Raises `Broken` or `Untrusted` and leaves nothing behind."""
        try:
            await self._start()
        except BaseException:  # also when the change is called off
            await self._kill()
            raise
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Answers what is under way, then ends the process; kills it after the drain timeout."""
        self._stopping = True
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self.replica.ready = False
        deadline = time.monotonic() + self._launch.settings.drain_timeout_s
        while self.replica.upstream.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(READY_POLL_S / 5)
        self.replica.upstream.close()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._process.wait(), max(1.0, deadline - time.monotonic()))
        await self._kill()

    async def _start(self) -> None:
        found = await asyncio.to_thread(digest_folder, self._folder)
        if found != self.model.digest:
            raise Untrusted(
                f"{self._folder}: its digest is {found}, not {self.model.digest}: the files were changed after they "
                "were fetched; delete that folder and update the deployment, so that they are fetched again"
            )
        await self._spawn()
        deadline = time.monotonic() + self._launch.settings.start_timeout_s
        while not await self._is_ready(1.0):
            if self._process is not None and self._process.returncode is not None:
                raise self._broken(f"ended with code {self._process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise self._broken(f"was not ready after {self._launch.settings.start_timeout_s:g} s")
            await asyncio.sleep(READY_POLL_S)
        await self._warm_up(max(5.0, deadline - time.monotonic()))
        self.replica.ready = True
        self._launch.changed()

    async def _spawn(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listener.setblocking(False)  # as asyncio wants it; uvloop and asyncio in the scorer take it as it is
        module, *arguments = self._launch.command
        number, port = listener.fileno(), listener.getsockname()[1]
        command = [sys.executable, "-m", "mlflow_hydraulic.deploy_targets.local.child", str(self._launch.pipe)]
        command += [
            str(self._folder),
            module,
            *arguments,
            str(self._folder),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        command += ["--fd", str(number), "--name", self.model.name]
        command += ["--version", self.model.version, "--digest", self.model.digest]
        command += ["--engine", self.identity.engine]
        try:
            with self.log_file.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**without_secrets(os.environ), SERVED: self._place()},
                    pass_fds=(number, self._launch.pipe),
                )
        except OSError as error:
            raise self._broken(f"could not be started: {error}") from error
        finally:
            listener.close()  # with the scorer's copy the last: its connections break when it dies, and are seen to
        self.replica.upstream = Upstream("127.0.0.1", port)
        log.info("%s: version %s started as process %d on port %d", self.id, self.model.version, self.pid, port)

    def _place(self) -> str:
        """Which replica this is. Its predictor may change while it runs: the router says it in each request."""
        return replace(self._launch.place, predictor=self.predictor, replica=self.id).written()

    async def _is_ready(self, timeout_s: float) -> bool:
        reply = await self._quietly(self.replica.upstream.get("/v2/health/ready", timeout_s))
        return reply is not None and reply.status == 200

    async def _warm_up(self, timeout_s: float) -> None:
        """One real request, so that a model that loads and cannot score replaces nothing."""
        sample = await self._quietly(self.replica.upstream.get("/model/sample_request", timeout_s))
        if sample is None or sample.status != 200:
            log.info("%s: no sample request to warm up with", self.id)
            return
        reply = await self._quietly(self.replica.upstream.post_json("/model/score", sample.body, timeout_s))
        if reply is None:
            raise self._broken("gave no answer to its own sample request")
        if reply.status >= 500:
            raise self._broken(f"answered its own sample request with {reply.status}: {reply.body[:500]!r}")
        if reply.status >= 400:
            log.warning("%s: sample request refused: %r", self.id, reply.body[:500])

    async def _quietly(self, asking: Coroutine[Any, Any, Reply]) -> Reply | None:
        try:
            return await asking
        except (Lost, TimeoutError):
            return None

    async def _keep(self) -> None:
        started = time.monotonic()
        while True:
            await self._until_dead()
            self.replica.ready = False
            self.replica.upstream.close()
            self.crashes = crashes_in_a_row(self.crashes, time.monotonic() - started)
            code = self._process.returncode if self._process else None
            # What kept it from coming back says more than how the process before it ended.
            self.why = self.why or f"{self.id} (version {self.model.version}) ended with code {code}"
            log.error("%s; crash %d in a row", self.why, self.crashes)
            self._launch.ended(self.predictor)
            self._launch.changed()
            await asyncio.sleep(restart_delay_s(self.crashes, random.random()))  # noqa: S311 - jitter, no secret
            started = time.monotonic()
            try:
                await self._start()
                self.why = ""
            except (HydraulicError, OSError) as error:
                log.error("%s: %s", self.id, error)  # noqa: TRY400 - a cause that is known needs no traceback
                await self._kill()
                self.why = str(error)

    async def _until_dead(self) -> None:
        """Returns when the process has ended; ends it when it answers no health check."""
        if self._process is None:
            return
        ended = asyncio.create_task(self._process.wait())
        try:
            await self._watch(ended)
        finally:
            ended.cancel()

    async def _watch(self, ended: asyncio.Task[int]) -> None:
        sick = 0
        while not (await asyncio.wait({ended}, timeout=HEALTH_S))[0]:
            _cap(self.log_file)
            well = await self._is_ready(HEALTH_TIMEOUT_S)
            sick = 0 if well else sick + 1
            if self.replica.ready != well:
                self.replica.ready = well
                self._launch.changed()
            if sick >= SICK:
                log.error("%s: no answer to %d health checks: killed", self.id, sick)
                await self._kill()

    async def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self.replica.ready = False
        self.replica.upstream.close()

    def _broken(self, what: str) -> Broken:
        lines = tail(self.log_file)
        return Broken(f"version {self.model.version} of {self.model.name!r} {what}", lines)


def _cap(path: Path) -> None:
    """Keeps a log under its size: the scorer appends, so what was written can be moved away under it."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_BYTES:
            path.with_suffix(".log.1").write_bytes(path.read_bytes())
            os.truncate(path, 0)
