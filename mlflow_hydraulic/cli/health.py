"""`hydraulic controller --health-port`: what Kubernetes probes and Prometheus asks of a process that only loops.

`/livez`: its loop goes round. `/readyz`: the same; a controller that waits for its turn is ready. `/metrics`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from mlflow_hydraulic.errors import Conflict

STUCK_S = 600.0  # a pass that waits for a registry and all its retries is not stuck


class Beating(Protocol):
    """A loop that notes, by the monotonic clock, when it went round last."""

    @property
    def beat(self) -> float: ...


class Health:
    """Listens while it is open. gauges: numbers to tell: name of the metric, its help, how to read it."""

    def __init__(
        self, loop: Beating, port: int, gauges: Mapping[str, tuple[str, Callable[[], float]]], host: str = ""
    ) -> None:
        self._loop, self._gauges = loop, gauges
        try:
            self._server = ThreadingHTTPServer((host, port), self._handler())
        except OSError as error:
            raise Conflict(f"--health-port {port}: cannot listen there ({error}): choose another") from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_port

    def __enter__(self) -> Health:
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, str]:
        """Status and text for a path."""
        age = time.monotonic() - self._loop.beat
        if path in ("/livez", "/readyz"):
            return (200, "ok\n") if age < STUCK_S else (503, f"the loop has not gone round for {age:.0f} s\n")
        if path == "/metrics":
            gauges = {**self._gauges, "hydraulic_loop_age_seconds": ("Seconds since the loop went round.", lambda: age)}
            return 200, "".join(_gauge(name, text, value()) for name, (text, value) in gauges.items())
        return 404, "known are /livez, /readyz and /metrics\n"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        health = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0  # a caller that says nothing keeps no thread

            def do_GET(self) -> None:
                code, text = health.answer(self.path.partition("?")[0])
                body = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Says nothing: probes come every few seconds."""

        return Handler


def _gauge(name: str, text: str, value: float) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value:.10g}\n"
