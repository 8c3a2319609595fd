"""Locks between processes: who supervises a deployment, and who changes it. Called by the target and the supervisor.

A lock is held by an open file (flock), so the kernel lets go of it when its holder dies, however it dies: no stale
lock, and no doubt whether a process number was given to another process meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from mlflow_hydraulic.errors import Failed

try:
    import fcntl
except ImportError:  # Windows: said clearly when a lock is asked for, so that this package can be imported
    fcntl = None  # type: ignore[assignment]

POLL_S = 0.02


class Held(Exception):
    """Somebody else holds the lock; `pid` is who, 0 if unknown."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"held by process {pid}" if pid else "held by another process")
        self.pid = pid


@contextlib.contextmanager
def exclusive(path: Path, *, wait_s: float, nameless: bool = False) -> Iterator[int]:
    """Holds the lock file `path` alone, written with this process's number; gives its descriptor.

    Raises `Held` when it stays taken for `wait_s`. A holder may delete the file: whoever waits then takes a new one.
    nameless: holds it also where the number cannot be written, so that a full disk keeps nobody from deleting.
    """
    deadline = time.monotonic() + wait_s
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _try(descriptor, shared=False) and _is_file(path, descriptor):
                try:
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                except OSError:
                    if not nameless:
                        raise
                yield descriptor
                return
        finally:
            os.close(descriptor)
        if time.monotonic() >= deadline:
            raise Held(_pid_in(path))
        time.sleep(POLL_S)


def holder(path: Path) -> int | None:
    """The number of the process that holds `path`, 0 if it has not written it yet; None when nobody holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _try(descriptor, shared=True):
            return None
        return _pid_in(path)
    finally:
        os.close(descriptor)


def signal_holder(path: Path, number: signal.Signals, *, wait_s: float = 0.0) -> bool:
    """Sends a signal to who holds `path`, and waits up to `wait_s` for its end; False when nobody holds it.

    Never reaches a process that got the holder's number later.
    """
    pid = holder(path)
    if not pid:
        return False
    try:
        if hasattr(os, "pidfd_open"):
            process = os.pidfd_open(pid)  # from here on the number cannot come to mean another process
            try:
                if holder(path) != pid:
                    return False
                signal.pidfd_send_signal(process, number)
                select.select([process], [], [], wait_s)  # readable when the process has ended
            finally:
                os.close(process)
        else:
            os.kill(pid, number)
            deadline = time.monotonic() + wait_s
            while holder(path) is not None and time.monotonic() < deadline:
                time.sleep(POLL_S)
    except ProcessLookupError:
        return False
    return True


def _try(descriptor: int, *, shared: bool) -> bool:
    if fcntl is None:
        raise Failed("seldon-local needs file locks of Linux or macOS; on Windows run it under WSL")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _pid_in(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii") or 0)
    except (OSError, ValueError):
        return 0
