"""How long to wait before a call to the API server is made again. Pure; called by the client."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

AGAIN = frozenset((429, 500, 502, 503, 504))  # what passes; every other status is an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Waits that double from `first_s` to `longest_s`, each shortened at random so that many clients spread out.

    total_s: after so long a call is given up. call_s: how long one call may take until it counts as lost.
    """

    first_s: float = 0.1
    longest_s: float = 5.0
    total_s: float = 60.0
    call_s: float = 20.0

    def wait_s(self, tries: int, asked_s: float | None, draw: float | None = None) -> float:
        """The wait after the `tries`-th call failed; never less than the server asked for (Retry-After).

        >>> [Patience().wait_s(n, None, draw=0.0) for n in (1, 2, 3, 9)], Patience().wait_s(1, 7.0, draw=0.0)
        ([0.1, 0.2, 0.4, 5.0], 7.0)
        """
        draw = random.random() if draw is None else draw  # noqa: S311 - spreads load, guards nothing
        own = min(self.longest_s, self.first_s * 2.0 ** min(tries - 1, 20)) * (1 - draw / 2)
        return max(own, asked_s or 0.0)


def retry_after_s(headers: Mapping[str, str] | None) -> float | None:
    """The seconds of a Retry-After header; None without one, and for a date, which the API server never sends.

    >>> retry_after_s({"retry-after": "3"}), retry_after_s({}), retry_after_s({"Retry-After": "soon"})
    (3.0, None, None)
    """
    value = next((str(text).strip() for name, text in (headers or {}).items() if name.lower() == "retry-after"), "")
    return float(value) if value.isascii() and value.isdigit() else None
