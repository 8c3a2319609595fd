"""What goes wrong between a client and the server: scripted for one request, or by a seeded schedule.

Called by `server` for each request before it acts.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["refused", "reset before", "reset after", "slow", "gone", "cut"]
WATCH_ONLY: tuple[Kind, ...] = ("gone", "cut")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    refused: answers `code`, with Retry-After where given. reset before, reset after: the connection is reset before the
    server acts, or after it acted and before it answers. slow: waits `seconds` first. gone: a watch gets an ERROR of
    410. cut: a watch ends in the middle of a line after its first event.
    """

    kind: Kind
    code: int = 503
    retry_after_s: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """The request that a fault may meet."""

    method: str
    path: str
    watch: bool


class Source(Protocol):
    """Something that decides which fault a request meets."""

    def meets(self, call: Call) -> Fault | None:
        """The fault of this request; None lets it pass."""


@dataclass
class Script:
    """Faults given one by one, each for the next requests that fit."""

    _waiting: list[tuple[Fault, Callable[[Call], bool]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault, *, method: str = "", path: str = "", times: int = 1) -> None:
        """The next `times` requests of `method` (any) whose path holds `path` meet `fault`; a watch fault, watches."""
        watch_only = fault.kind in WATCH_ONLY

        def fits(call: Call) -> bool:
            return method in ("", call.method) and path in call.path and (call.watch or not watch_only)

        with self._lock:
            self._waiting += [(fault, fits)] * times

    def meets(self, call: Call) -> Fault | None:
        """The first waiting fault that fits."""
        with self._lock:
            for at, (fault, fits) in enumerate(self._waiting):
                if fits(call):
                    del self._waiting[at]
                    return fault
        return None

    def clear(self) -> None:
        """No more of them."""
        with self._lock:
            self._waiting.clear()

    @property
    def left(self) -> int:
        """Faults that no request met yet."""
        with self._lock:
            return len(self._waiting)


class Schedule:
    """Random faults from a seed: the same seed gives the same faults to the same sequence of requests.

    rate: the share of requests that meet one. most: after so many the network is well. slow_s: the longest slow answer.
    path: only requests whose path holds this meet faults.
    """

    def __init__(self, seed: int, *, rate: float = 0.4, most: int = 12, slow_s: float = 0.05, path: str = "") -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self._rate, self._left, self._slow_s, self._path = rate, most, slow_s, path
        self._lock = threading.Lock()
        self.met: list[tuple[Call, Fault]] = []

    def __repr__(self) -> str:
        return f"Schedule(seed={self.seed}) after {[(call.method, fault.kind) for call, fault in self.met]}"

    def meets(self, call: Call) -> Fault | None:
        """The fault drawn for this request."""
        with self._lock:
            if self._path not in call.path or self._left <= 0 or self._random.random() >= self._rate:
                return None
            fault = self._drawn(call)
            self._left -= 1
            self.met.append((call, fault))
            return fault

    def _drawn(self, call: Call) -> Fault:
        draw = self._random
        kinds: list[Kind] = ["refused", "refused", "reset before", "reset after", "slow"]
        kind = draw.choice([*kinds, *WATCH_ONLY] if call.watch else kinds)
        if kind == "refused":
            code = draw.choice([429, 500, 503])
            return Fault(kind=kind, code=code, retry_after_s=draw.choice([None, 0]) if code != 429 else 0)
        return Fault(kind=kind, seconds=draw.uniform(0, self._slow_s))
