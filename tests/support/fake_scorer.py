"""A scorer for tests of the local target: the launch contract on http.server, ready in a moment, bad on demand.

Its "model" is a folder with behaviour.json: {"answer": "v1", "crash": true, "never_ready": true, "slow_s": 0.5,
"fail": true, "fail_every": 3, "warm_fails": true}. It answers every POST with its version, its process and the
request's headers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: ClassVar[dict[str, Any]] = {}
    version = ""
    posts = 0

    def do_GET(self) -> None:
        if self.path == "/v2/health/ready":
            self._send(503 if self.behaviour.get("never_ready") else 200, {})
        elif self.path == "/model/sample_request":
            self._send(200, {"fields": ["a"], "rows": [["1"]]})
        elif self.path == "/metrics":
            self._send(200, b"# HELP scored_total Rows.\n# TYPE scored_total counter\nscored_total 3\n")
        else:
            self._send(404, {"message": f"no {self.path}"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.behaviour.get("slow_s", 0))
        if body == b"die":
            os._exit(9)
        Handler.posts += 1
        every = self.behaviour.get("fail_every")
        unlucky = every and self.path == "/invocations" and Handler.posts % every == 0
        if unlucky or self.behaviour.get("fail") or (self.behaviour.get("warm_fails") and self.path == "/model/score"):
            self._send(500, {"message": "cannot score"})
            return
        if self.path == "/environ":
            self._send(200, sorted(os.environ))
            return
        if self.path == "/teapot":
            self._send(418, {"message": "short and stout"})
            return
        value = {"version": self.version, "pid": os.getpid(), "path": self.path, "headers": dict(self.headers)}
        self._send(200, {**value, "size": len(body), "predictions": [self.version]})

    def _send(self, status: int, value: Any) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server calls it so
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket.close()
        listener.setblocking(True)
        self.socket = listener


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("folder", type=Path)
    for name in ("--host", "--name", "--version", "--digest", "--engine"):
        parser.add_argument(name)
    for name in ("--port", "--fd"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    Handler.behaviour = json.loads((given.folder / "behaviour.json").read_text())
    Handler.version = given.version
    if Handler.behaviour.get("crash"):
        print("Traceback: the model is broken", file=sys.stderr)
        sys.exit(3)
    server = Server(socket.socket(fileno=given.fd))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.02)


if __name__ == "__main__":
    main()
