"""Starts and stops the servers that the benchmarks put under load."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY_WITHIN_S = 120.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(
    command: list[str], *, port: int, ready: str, log: Path, environ: dict[str, str] | None = None
) -> Iterator[int]:
    """The port of a server that answers GET `ready` with 200; ended with its children when the block is left."""
    with log.open("wb") as sink:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **(environ or {})}
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment, start_new_session=True)
    try:
        await_ready(process, f"http://127.0.0.1:{port}{ready}", log)
        yield port
    finally:
        os.killpg(process.pid, 15)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


@contextmanager
def first_answer(
    command: list[str], *, url: str, body: bytes, log: Path, environ: dict[str, str] | None = None
) -> Iterator[None]:
    """Entered when a server that was just started answers a POST of `body` with 200; killed when the block is left."""
    with log.open("wb") as sink:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **(environ or {})}
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment, start_new_session=True)
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        await_ready(process, request, log, pause_s=0.01)
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def await_ready(
    process: subprocess.Popen[bytes], url: str | urllib.request.Request, log: Path, *, pause_s: float = 0.1
) -> None:
    """Return when `url` answers 200; `RuntimeError` with the log's end where it does not, or the process ended."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(pause_s)
    asked = url if isinstance(url, str) else url.full_url
    raise RuntimeError(f"{asked} did not become ready; its log ends:\n{log.read_text(errors='replace')[-3000:]}")
