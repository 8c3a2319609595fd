"""`hydraulic serve-pod` as a real process, told by its variables as the manifests tell it; used by several tiers."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_hydraulic.deploy_targets.kubernetes import pod
from tests.services import free_port
from tests.support.local import ROOT, until

DEADLINE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One started process. termination: what it left for Kubernetes."""

    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    log: Path
    termination: Path

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        return ask(self.http_port, method, path, body, **headers)

    def ready(self) -> tuple[int, str]:
        """Status and text of /ready; status 0 while nothing listens."""
        try:
            status, body = self.ask("GET", pod.READY_PATH)
        except (OSError, http.client.HTTPException):
            return 0, ""
        return status, body.decode()

    def wait_ready(self) -> None:
        until(lambda: self.process.poll() is not None or self.ready()[0] == 200, "ready", DEADLINE_S)
        assert self.process.poll() is None, self.said()

    def end(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def serve_pod(
    folder: Path, uri: str, digest: str, *, python: tuple[str, ...] = (sys.executable,), grpc: bool = True, **more: str
) -> Iterator[Pod]:
    """A pod's process for the model `uri`, ready or not; killed at the end if it still runs.

    python: the interpreter with its own options. more: variables beside the usual ones, or instead of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    termination = folder / "termination-log"
    termination.touch()
    ports = {pod.HTTP_PORT_VARIABLE: str(free_port()), pod.GRPC_PORT_VARIABLE: str(free_port() if grpc else 0)}
    told = {
        pod.MODEL_URI: uri,
        pod.MODEL_DIGEST: digest,
        pod.MODEL_NAME: "rig",
        pod.MODEL_VERSION: "7",
        pod.PREDICTOR: "default",
        pod.HOME: str(folder / "home"),
        pod.DRAIN: "10",
        **ports,
        **more,
    }
    command = [*python, "-m", "mlflow_hydraulic.cli", "serve-pod", "--linger", "0.3"]
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--termination-log", str(termination)], stdout=stream, stderr=stream, env=clean_environ(told)
        )
    try:
        yield Pod(
            process=process,
            http_port=int(ports[pod.HTTP_PORT_VARIABLE]),
            grpc_port=int(ports[pod.GRPC_PORT_VARIABLE]),
            log=log,
            termination=termination,
        )
    finally:
        process.kill()
        process.wait()


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """One request on a connection of its own; `headers` in Python's spelling, JSON unless they say otherwise."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        named.setdefault("content-type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def call(port: int, path: str, message: Any, answer: Any) -> Any:
    """One gRPC call on a channel of its own: the filled class `answer`, or grpc.RpcError."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(
            path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString
        )
        return method(message, timeout=DEADLINE_S, wait_for_ready=True)


def clean_environ(told: Mapping[str, str]) -> dict[str, str]:
    """Our own variables without any setting of MLflow's or ours, and what the process is told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HYDRAULIC_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", **told}
