"""A gateway as Istio is for Seldon: takes the prefix away, shares requests by weight, mirrors them to the shadow.

Real HTTP on 127.0.0.1. What routes to whom stands in the SeldonDeployments, as far as their operator says Available.
"""

from __future__ import annotations

import http.client
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from tests.fakekube.refusal import Refusal
from tests.fakekube.seldon_objects import service_name

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube

Json = dict[str, Any]
PORT = 8000
TIMEOUT_S = 60
STEP = 37  # has no divisor in common with 100: any 100 requests in a row are shared exactly by weight


class Gateway:
    """Routes `/seldon/<namespace>/<name>/<path>`. mirrored: what the shadows answered, (deployment, status)."""

    def __init__(self, kube: FakeKube) -> None:
        self._kube = kube
        self._count = itertools.count()
        self._mirror = ThreadPoolExecutor(4)
        self._routes: dict[tuple[str, str], list[Json]] = {}
        self.mirrored: list[tuple[str, int]] = []
        handler = type("Handler", (_Handler,), {"gateway": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def route(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        """(code, body, headers) of the predictor whose turn it is; the shadow is asked meanwhile."""
        parts = urlsplit(target).path.strip("/").split("/", 3)
        if len(parts) != 4 or parts[0] != "seldon":
            return 404, b"no route", {}
        _, namespace, name, rest = parts
        turn = next(self._count) * STEP % 100
        predictors = self._predictors(namespace, name)
        if not predictors:
            return 404, b"no route", {}
        sdep = {"metadata": {"name": name}}
        shadow = next((one for one in predictors if one.get("shadow")), None)
        if shadow is not None and turn < shadow.get("traffic", 100):
            self._mirror.submit(self._to_shadow, (namespace, service_name(sdep, shadow)), method, rest, headers, body)
        for one in predictors:
            turn -= 0 if one.get("shadow") else one.get("traffic", 0)
            if turn < 0:
                return self._ask((namespace, service_name(sdep, one)), method, rest, headers, body)
        return 503, b"no predictor has a share", {}

    def _predictors(self, namespace: str, name: str) -> list[Json]:
        """The routes of the last spec of which the operator said Available: an update switches when it is ready."""
        place = (namespace, name)
        with self._kube.store.lock:
            if ("seldondeployments", namespace, name) not in self._kube:
                return []
            sdep = self._kube["seldondeployments", namespace, name]
            if sdep.get("status", {}).get("state") == "Available":
                self._routes[place] = sdep["spec"]["predictors"]
        return self._routes.get(place, [])

    def _to_shadow(self, place: tuple[str, str], *call: Any) -> None:
        self.mirrored.append((place[1], self._ask(place, *call)[0]))

    def _ask(
        self, place: tuple[str, str], method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        assert self._kube.endpoints is not None
        try:
            way = self._kube.endpoints.way(*place, PORT, path)
        except (Refusal, StopIteration) as error:
            return 503, f"no healthy upstream: {error}".encode(), {}
        split = urlsplit(way.base)
        connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, f"/{way.path}", body or None, {**way.headers, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        except OSError as error:
            return 503, f"upstream connect error: {error}".encode(), {}
        finally:
            connection.close()

    def __enter__(self) -> Gateway:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._mirror.shutdown(wait=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gateway: ClassVar[Gateway]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""

    def do_POST(self) -> None:
        self._pass("POST")

    def do_GET(self) -> None:
        self._pass("GET")

    def _pass(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {name.lower(): value for name, value in self.headers.items() if name.lower() not in _HOP}
        code, text, headers = self.gateway.route(method, self.path, kept, body)
        self.send_response(code)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive", "host", "date", "server"}
