"""The time range of the monitoring page: the last hour, day, week or month, or from one time to another. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.errors import BadInput

LENGTHS_S = {"1h": 3600.0, "1d": 86_400.0, "7d": 7 * 86_400.0, "30d": 30 * 86_400.0}
LONGEST_S = 366 * 86_400.0
SHORTEST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """[since, until), s since 1970."""

    since: float
    until: float

    @property
    def length(self) -> float:
        return self.until - self.since

    def edges(self, most: int, least_s: float = 0.0) -> NDArray[np.float64]:
        """The edges of at most `most` stretches of equal length, none shorter than `least_s`; two at least."""
        count = max(1, min(most, math.floor(self.length / least_s) if least_s else most))
        return np.linspace(self.since, self.until, count + 1)


def read_span(last: str, since: str, until: str, now: float) -> Span:
    """The range that a request means; `BadInput` names what is wrong with it.

    since, until: ISO, UTC where they name no zone; without `since` it is the last `last` before `until`, or before now.
    """
    end = min(_moment("until", until), now) if until else now
    begin = _moment("since", since) if since else end - LENGTHS_S[last]
    if begin < 0:
        raise BadInput(f"since={since!r}, until={until!r}: nothing was recorded before 1970: name a later time")
    if end - begin < SHORTEST_S:
        raise BadInput(f"since {since or begin} is not before until {until or 'now'}: name an earlier time")
    if end - begin > LONGEST_S:
        raise BadInput(f"since={since}: the range may have {LONGEST_S / 86_400:.0f} days at most")
    return Span(since=begin, until=end)


def _moment(name: str, text: str) -> float:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
        found = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
        return found.timestamp()
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{name}={text!r}: write a time such as 2026-11-23T07:30, in UTC") from error
