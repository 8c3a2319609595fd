"""SIGTERM and Ctrl-C for commands that loop: the first asks to stop, a second Ctrl-C ends it at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Protocol


class Stoppable(Protocol):
    """What runs until it is stopped."""

    def stop(self) -> None: ...


class Asked(threading.Event):
    """Set by the first signal: for what has to hear of one that comes before it runs."""

    def stop(self) -> None:
        self.set()


def stop_on_signals(running: Stoppable) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        running.stop()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
