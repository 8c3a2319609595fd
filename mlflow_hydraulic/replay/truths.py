"""True values of replayed rows, brought late, in part and repeatedly, as they come in life. Called by `run`.

This is a simulation, and says so: a value that is due after the replay's end is brought at its end, and into the store
of true values with the time at which it would have come.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.errors import BadInput

PERIOD = re.compile(r"(\d+\.?\d*)([smhd]?)")
SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
KEYS = ("delay", "share", "repeat", "via")
VIA = ("store", "feedback")
Bring = Callable[[int, Any, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bringing:
    """How true values come. delay_s: after the prediction. share, repeat: of the rows, known at all and told twice."""

    delay_s: float = 0.0
    share: float = 1.0
    repeat: float = 0.0
    via: str = "store"


def read_bringing(text: str) -> Bringing:
    """`delay=1h,share=0.5,repeat=0.1,via=feedback`, each of them as wanted; "on" for all as they are.

    >>> read_bringing("delay=1h,share=0.5")
    Bringing(delay_s=3600.0, share=0.5, repeat=0.0, via='store')
    """
    given = dict(part.partition("=")[::2] for part in text.split(",") if part and part != "on")
    unknown = [key for key in given if key not in KEYS]
    if unknown:
        raise BadInput(f"--actuals {text}: {unknown[0]!r} is none of {', '.join(KEYS)}, as delay=1h,share=0.5")
    delay = PERIOD.fullmatch(given.get("delay", "0"))
    if delay is None:
        raise BadInput(f"--actuals {text}: delay={given['delay']!r} is no time: write 90s, 5m, 1h or 2d")
    shares = {}
    for key, default in (("share", "1"), ("repeat", "0")):
        try:
            shares[key] = float(given.get(key, default))
        except ValueError as error:
            raise BadInput(f"--actuals {text}: {key}={given[key]!r} is no number") from error
        if not 0 <= shares[key] <= 1:
            raise BadInput(f"--actuals {text}: {key}={given[key]}: a share is 0 to 1")
    via = given.get("via", "store")
    if via not in VIA:
        raise BadInput(f"--actuals {text}: via={via!r}: choose one of {', '.join(VIA)}")
    return Bringing(delay_s=float(delay[1]) * SECONDS[delay[2]], via=via, **shares)


class Truths:
    """What is to be brought. truth: (rows,). bring: called with a position, its value and when it came."""

    def __init__(self, how: Bringing, truth: NDArray[Any], seed: int, bring: Bring) -> None:
        self.brought = 0
        self._how, self._truth, self._seed, self._bring = how, truth, seed, bring
        self._due: list[tuple[float, int, int]] = []

    @property
    def waiting(self) -> int:
        return len(self._due)

    def add(self, position: int, row: int, at: float) -> None:
        """Row `row` was predicted at `at`, seconds since 1970; its label may come some day."""
        known, again = np.random.default_rng([self._seed, position]).random(2)
        if known < self._how.share:
            for _ in range(2 if again < self._how.repeat else 1):
                heapq.heappush(self._due, (at + self._how.delay_s, position, row))

    def bring(self, now: float) -> None:
        """What is due at `now`; infinity: all."""
        while self._due and self._due[0][0] <= now:
            at, position, row = self._due[0]
            value = self._truth[row]
            self._bring(position, value.item() if isinstance(value, np.generic) else value, at)
            heapq.heappop(self._due)  # only now: what could not be brought is brought by the next one
            self.brought += 1
