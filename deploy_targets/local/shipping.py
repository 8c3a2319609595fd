"""Keeps one shipper of the prediction record running for all deployments of a home. Called by the supervisor.

Whichever supervisor first sees something to ship starts it, in a process of its own that ends with that supervisor;
then the next one does. So nothing waits longer than `LOOK_S`, and where nothing is recorded nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from asyncio.subprocess import Process

from mlflow_hydraulic.deploy_targets.local.environ import without_secrets
from mlflow_hydraulic.deploy_targets.local.locks import holder
from mlflow_hydraulic.record.recorder import journal_folder, record_folder
from mlflow_hydraulic.settings import Settings

SHIP_LOCK = "ship.lock"
COMMAND = ("mlflow_hydraulic.cli", "record", "ship", "--follow")
AGAIN_S = 10.0  # between two starts: what kept one from running may keep the next one too
LAST_PASS_S = 20.0
log = logging.getLogger(__name__)


class Shipping:
    """At most one process. `pipe` closes when the supervisor ends, and the process with it."""

    def __init__(self, settings: Settings, pipe: int) -> None:
        self._settings, self._pipe = settings, pipe
        self._process: Process | None = None
        self._next_start = 0.0

    async def look(self) -> None:
        """Start the shipper where something waits and nobody ships."""
        if self._settings.record == "off" or time.monotonic() < self._next_start:
            return
        if self._process is not None and self._process.returncode is None:
            return
        folder = journal_folder(self._settings)
        if not folder.is_dir() or not any(folder.glob("*.seg")):
            return
        lock = record_folder(self._settings) / SHIP_LOCK
        if lock.exists() and holder(lock) is not None:
            return
        self._next_start = time.monotonic() + AGAIN_S
        child = [sys.executable, "-m", "mlflow_hydraulic.deploy_targets.local.child", str(self._pipe), str(folder)]
        try:
            with (folder.parent / "ship.log").open("wb") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *child,
                    *COMMAND,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=without_secrets(os.environ),
                    pass_fds=(self._pipe,),
                )
        except OSError as error:
            log.error("the prediction record is not shipped: %s", error)  # noqa: TRY400 - a known cause

    async def stop(self) -> None:
        """End it after a last pass, with which all that this deployment's scorers answered is stored."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), LAST_PASS_S)
        except asyncio.TimeoutError:
            log.warning("the shipper did not end in %g s; what it left is shipped by the next one", LAST_PASS_S)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
