"""Brings one pinned model version to a pod: from MLflow, artifact storage or a folder. For `hydraulic serve-pod`.

MLflow works in a process of its own (`plugin.delivery_process`): the scorer stays free of it, answers its probes
meanwhile, and can end it. A server that is away is asked again with growing waits, within a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow_hydraulic import errors
from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.errors import Failed, HydraulicError, NotFound, Unavailable, Untrusted

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 15.0
END_S = 3.0  # for the process to clear up after SIGTERM
PROCESS = "mlflow_hydraulic.plugin.delivery_process"
# MLflow's own retries would take minutes in silence; ours are told in the log and by /ready.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}

log = logging.getLogger(__name__)


async def deliver(uri: str, home: Path, digest: str, *, tell: Callable[[str], None], patience_s: float) -> Path:
    """The folder that holds the model of this digest; nothing is fetched where it is here already.

    tell: hears, in words, what is going on. patience_s: how long a server may be away.
    Raises `Untrusted` for another digest, `NotFound`, `Failed`, `BadInput`, or `Unavailable` when patience ends.
    """
    folder = local_folder(uri) or home / "models" / digest
    if local_folder(uri) is None and not await asyncio.to_thread(_is_whole, folder, digest):
        folder = await _patiently(uri, home, tell, patience_s)
    tell("checking the digest")
    found = await asyncio.to_thread(digest_folder, folder)
    if found != digest:
        raise Untrusted(
            f"model {uri!r}: its digest is {found}, not {digest}: this is another model, so it is not served"
        )
    return folder


def local_folder(uri: str) -> Path | None:
    """The folder that `uri` names on this machine; None for what must be fetched. `NotFound` when no model is there."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    folder = Path(unquote(parts.path) if parts.scheme else uri)
    if not (folder / "MLmodel").is_file():
        inner = sorted(file.parent.name for file in folder.glob("*/MLmodel"))
        hint = f"; there is one in {', '.join(inner)}: name that folder" if inner else ""
        raise NotFound(f"model {uri!r}: there is no file MLmodel in {folder}{hint}")
    return folder


def waits(patience_s: float) -> list[float]:
    """How long to wait after each failed attempt, in s: doubled up to a bound, all within `patience_s`."""
    found: list[float] = []
    wait = FIRST_WAIT_S
    while sum(found) + wait <= patience_s:
        found.append(wait)
        wait = min(2 * wait, LONGEST_WAIT_S)
    return found


async def _patiently(uri: str, home: Path, tell: Callable[[str], None], patience_s: float) -> Path:
    loop = asyncio.get_running_loop()
    started = loop.time()
    last = ""
    for attempt, wait in enumerate([*waits(patience_s), None], start=1):
        tell(f"fetching {uri}{f' (attempt {attempt}; before: {last})' if last else ''}")
        try:
            return await _attempt(uri, home)
        except Unavailable as error:
            last = str(error)
            if wait is None or loop.time() - started + wait > patience_s:
                raise Unavailable(f"{last} (asked {attempt} times in {loop.time() - started:.0f} s)") from error
            log.warning("attempt %d failed, the next is in about %g s: %s", attempt, wait, last)
            tell(f"waiting to fetch {uri} again: {last}")
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - so that pods do not ask all at once
    raise AssertionError("the last attempt returns or raises")


async def _attempt(uri: str, home: Path) -> Path:
    environ = {**PATIENCE, **os.environ, **QUIET}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", PROCESS, uri, str(home)), stdin=PIPE, stdout=PIPE, env=environ, start_new_session=True
    )
    try:
        said = await process.stdout.read() if process.stdout else b""  # its stdin stays open as long as we live
        await process.wait()
    except asyncio.CancelledError:
        await _end(process)
        raise
    return _folder(uri, said, process.returncode)


def _folder(uri: str, said: bytes, code: int | None) -> Path:
    try:
        answer = json.loads(said)
        if "folder" in answer:
            return Path(answer["folder"])
        kind, message = getattr(errors, str(answer["error"])), str(answer["message"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        cause = f"was ended by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
        memory = "; was its memory limit reached?" if code == -signal.SIGKILL else ""
        raise Failed(f"model {uri!r}: the process that fetches it {cause}{memory}; see the log above") from error
    raise kind(message) if issubclass(kind, HydraulicError) else Failed(message)


async def _end(process: Process) -> None:
    """End the process and all that it started; half a model is cleared away by itself or by the next attempt."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), END_S)
            return


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        return folder.is_dir() and digest_folder(folder) == digest
    except (HydraulicError, OSError) as error:
        log.warning("%s is fetched anew: %s", folder, error)
        return False
