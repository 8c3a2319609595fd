"""Servers that take notifications in tests, over real sockets: HTTP with faults, and SMTP with TLS and a log-in."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.services import free_port


@dataclass(frozen=True, kw_only=True)
class Got:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Hook:
    """A web server; `answers` are played in their order, the last one for ever: (status, headers, body)."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"ok")])
    got: list[Got] = field(default_factory=list)
    hold: Callable[[], object] = lambda: None

    def next_answer(self) -> tuple[int, dict[str, str], bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def hook() -> Iterator[Hook]:
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            made.got.append(Got(path=self.path, headers=dict(self.headers.items()), body=body))
            made.hold()
            status, headers, answer = made.next_answer()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815 - the library's name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def talker(say: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A port at which `say` speaks to each connection as it likes, until the event; yields the port."""
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                say(connection, ended)
            except OSError:  # the client hung up, as it should
                return

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        thread.join()
        listener.close()


@dataclass
class Mailbox:
    """A mail server's box; `refuse` is its answer to a mail, "" to take it; `unknown` are addresses that it has not."""

    port: int = 0
    mails: list[Envelope] = field(default_factory=list)
    refuse: str = ""
    unknown: tuple[str, ...] = ()
    users: list[bytes] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the same
        if not self.refuse:
            self.mails.append(envelope)
        return self.refuse or "250 taken"

    def login(self, _s: SMTP, _session: Session, _e: Envelope, _mechanism: str, data: object) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.users.append(data.login)
        return AuthResult(success=data.password == b"right", handled=False)


@contextmanager
def mailbox(**how: Any) -> Iterator[Mailbox]:
    """A mail server. how: aiosmtpd's own options, such as tls_context or authenticator."""
    box = Mailbox()
    if how.pop("with_login", False):
        how |= {"authenticator": box.login, "auth_required": True, "auth_require_tls": "tls_context" in how}
    box.port = free_port()  # the library cannot be asked which port it took
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **how)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
