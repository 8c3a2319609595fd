"""HTTP: reads a request, lets it meet its fault, and answers it in the API server's shapes. Started by `kube`."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from tests.fakekube.answers import Answer, Stream, answer_of
from tests.fakekube.faults import Call, Fault
from tests.fakekube.refusal import Refusal
from tests.fakekube.request import read_url

if TYPE_CHECKING:
    from tests.fakekube.kube import FakeKube

GONE = Refusal(410, "too old resource version: injected", reason="Expired")


class Reset(Exception):
    """The connection is to be reset now."""


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    kube: ClassVar[FakeKube]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Says nothing: `FakeKube.requests` keeps what was asked."""

    def handle_any(self) -> None:
        """One request, whatever its method."""
        try:
            self._handle()
        except Reset:
            self._reset()
        except (BrokenPipeError, ConnectionError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815 - the base class's names

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        fault: Fault | None = None
        try:
            url = read_url(self.path)
            call = Call(method=self.command, path=url.path, watch=url.watch)
            self.kube.requests.append((self.command, self.path, body))
            fault = self.kube.fault(call)
            if fault and fault.kind == "reset before":
                raise Reset
            if fault and fault.kind == "slow":
                threading.Event().wait(fault.seconds)
            if fault and fault.kind == "refused":
                raise _refused(fault)
            answer = answer_of(self.kube, self.command, url, dict(self.headers.items()), body)
        except Refusal as refusal:
            answer = Answer.of(refusal.code, refusal.document(), **refusal.headers)
        except Reset:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of the fake must reach the test as a 500, not hang it
            traceback.print_exc()
            answer = Answer.of(500, Refusal(500, f"the fake itself failed: {error!r}").document())
        if fault and fault.kind == "reset after":
            raise Reset
        if isinstance(answer, Stream):
            self._stream(answer, fault)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.code)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def _stream(self, answer: Stream, fault: Fault | None) -> None:
        events = iter(answer.events)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        if fault and fault.kind == "gone":
            events = iter([("ERROR", GONE.document())])
        for change, value in events:
            line = json.dumps({"type": change, "object": value}).encode() + b"\n"
            if fault and fault.kind == "cut":
                self._chunk(line[: len(line) // 2])
                raise Reset
            self._chunk(line)
            if self.kube.closing.is_set():
                break
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _reset(self) -> None:
        """Ends the connection with a TCP reset, not with an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())


class Server(ThreadingHTTPServer):
    """The listener; connections end with the process."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or a connection that was reset on purpose, is no news."""


def _refused(fault: Fault) -> Refusal:
    words = {429: "too many requests, please try again later", 503: "the server is currently unable to handle it"}
    wait = fault.retry_after_s
    return Refusal(
        fault.code,
        words.get(fault.code, "injected fault"),
        details={} if wait is None else {"retryAfterSeconds": wait},
        headers={} if wait is None else {"Retry-After": str(wait)},
    )


def serve(kube: FakeKube, port: int = 0) -> Server:
    """A listening server on 127.0.0.1 in a thread of its own."""
    handler = type("BoundHandler", (Handler,), {"kube": kube})
    server = Server(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server
