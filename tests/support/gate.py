"""A TCP gate before a server of the tests: shut (refused), stalled (accepted, never answered) or open."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.services import free_port


class Gate:
    """Listens on `port` once it is stalled or open; `asked` counts the connections that came."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.asked = 0
        self._target = target
        self._listener: socket.socket | None = None
        self._held: list[socket.socket] = []
        self._through = threading.Event()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stall(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def open(self) -> None:
        self._through.set()
        if self._listener is None:
            self.stall()

    def close(self) -> None:
        for one in [*self._held, *([self._listener] if self._listener else [])]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                caller, _ = listener.accept()
                self.asked += 1
                self._held.append(caller)
                threading.Thread(target=self._pass_on, args=(caller,), daemon=True).start()

    def _pass_on(self, caller: socket.socket) -> None:
        self._through.wait()
        with contextlib.suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._target))
            self._held.append(server)
            threading.Thread(target=_copy, args=(server, caller), daemon=True).start()
            _copy(caller, server)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
