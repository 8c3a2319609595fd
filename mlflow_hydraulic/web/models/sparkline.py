"""A metric's history as the path of a small SVG chart. Pure; for the models' pages and their report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_hydraulic.web.catalogue import History

WIDTH, HEIGHT, MARGIN = 260, 80, 4  # of the SVG's own units


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparkline:
    """path: of the SVG; values that are no finite number are gaps. low, high: the smallest and largest that are drawn;
    None where nothing is. first, last: steps."""

    path: str
    low: float | None
    high: float | None
    first: int
    last: int


def sparkline(history: History) -> Sparkline:
    """The chart of one metric."""
    points = history.points
    drawn = [point.value for point in points if point.value is not None and math.isfinite(point.value)]
    low, high = (min(drawn), max(drawn)) if drawn else (None, None)
    steps = [point.step for point in points]
    first, last = (min(steps), max(steps)) if steps else (0, 0)
    parts = []
    down = False
    for index, point in enumerate(points):
        if low is None or high is None or point.value is None or not math.isfinite(point.value):
            down = False
            continue
        x = _place(point.step, first, last) if last > first else _place(index, 0, len(points) - 1)
        y = 1 - _place(point.value, low, high)
        parts.append(f"{'L' if down else 'M'}{_at(x, WIDTH)} {_at(y, HEIGHT)}")
        down = True
    return Sparkline(path=" ".join(parts), low=low, high=high, first=first, last=last)


def sparklines(histories: Sequence[History]) -> list[tuple[History, Sparkline]]:
    return [(history, sparkline(history)) for history in histories]


def _place(value: float, low: float, high: float) -> float:
    """Where `value` lies between `low` and `high`, 0 to 1; in the middle where they are one."""
    half = high / 2 - low / 2  # of the largest doubles the difference itself is no double
    return 0.5 if half <= 0 else min(1.0, max(0.0, (value / 2 - low / 2) / half))


def _at(share: float, size: int) -> str:
    return f"{MARGIN + share * (size - 2 * MARGIN):.1f}"
