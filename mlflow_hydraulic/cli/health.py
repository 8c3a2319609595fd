"""`--health-port` of the loops, such as `hydraulic controller`: what Kubernetes probes and Prometheus ask of them.

`/livez`: its loop goes round. `/readyz`: the same; a controller that waits for its turn is ready. `/metrics`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from mlflow_hydraulic import exposition
from mlflow_hydraulic.errors import Conflict
from mlflow_hydraulic.exposition import of_process, one

STUCK_S = 600.0  # a pass that waits for a registry and all its retries is not stuck


class Beating(Protocol):
    """A loop that notes, by the monotonic clock, when it went round last."""

    @property
    def beat(self) -> float: ...


class Health:
    """Listens while it is open.

    metrics: numbers to tell: the metric's name, a counter's with `_total` at its end, its help, how to read it.
    component: which part of the project this is: "controller", "monitor", "shipper".
    """

    def __init__(
        self,
        loop: Beating,
        port: int,
        metrics: Mapping[str, tuple[str, Callable[[], float]]],
        host: str = "",
        component: str = "controller",
    ) -> None:
        self._loop, self._metrics, self._component = loop, metrics, component
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
            return 200, exposition.page(self._lines(age))
        return 404, "known are /livez, /readyz and /metrics\n"

    def _lines(self, age: float) -> Iterator[str]:
        yield from one("hydraulic_loop_age_seconds", "gauge", "Seconds since the loop went round.", age)
        for name, (text, value) in self._metrics.items():
            yield from one(name, "counter" if name.endswith("_total") else "gauge", text, value())
        yield from of_process(self._component)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        health = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0  # a caller that says nothing keeps no thread

            def do_GET(self) -> None:
                code, text = health.answer(self.path.partition("?")[0])
                body = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", exposition.CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Says nothing: probes come every few seconds."""

        return Handler
