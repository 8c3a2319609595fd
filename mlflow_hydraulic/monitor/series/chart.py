"""A chart as a value: what the REST API gives, what the page draws and shows as a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

MOST_POINTS = 2000  # of a cloud
BUCKETS = 60  # of a chart over time, about
Kind = Literal["line", "points", "bars", "step"]
Tone = Literal["plain", "baseline", "window", "odd", "green", "orange", "red"]
Scale = Literal["none", "shift", "share", "colour"]


class Series(Struct, frozen=True, kw_only=True):
    """One line, cloud or row of bars; y, low, high and says are as long as the chart's x, or empty.

    y: None where nothing is known. low, high: the interval around y. says: what each point is, in words. tone: which
    colour of the page it has; plain ones differ from each other.
    """

    name: str
    kind: Kind = "line"
    y: list[float | None]
    low: list[float | None] = []
    high: list[float | None] = []
    says: list[str] = []
    tone: Tone = "plain"


class Band(Struct, frozen=True, kw_only=True):
    """What training had: from low to high, over all x."""

    name: str
    low: float
    high: float


class Chart(Struct, frozen=True, kw_only=True):
    """One chart, or, where `missing` says why, none.

    x: times (ISO, UTC), numbers or names. rows, cells: of a heatmap, cells[row][column]; scale: what its cells are:
    shift (training standard deviations), share (of the column's rows, 0 to 1), colour (0 grey, 1 green, 2 orange,
    3 red). says: what is seen and from how many rows. unit: of y. stacked: whether bars stand upon each other.
    """

    name: str
    title: str
    says: str = ""
    missing: str = ""
    x: list[float | str] = []
    x_kind: Literal["time", "number", "name"] = "time"
    x_title: str = ""
    y_title: str = ""
    unit: str = ""
    series: list[Series] = []
    band: Band | None = None
    stacked: bool = False
    rows: list[str] = []
    cells: list[list[float | None]] = []
    cell_says: list[list[str]] = []
    scale: Scale = "none"


class Table(Struct, frozen=True, kw_only=True):
    """Rows of text under headings, or, where `missing` says why, none."""

    name: str
    title: str
    says: str = ""
    missing: str = ""
    headings: list[str] = []
    rows: list[list[str]] = []


class Panel(Struct, frozen=True, kw_only=True):
    """What one part of the page shows. since, until: the time range, ISO in UTC."""

    since: str
    until: str
    notes: list[str] = []
    charts: list[Chart] = []
    tables: list[Table] = []


def iso(seconds: float) -> str:
    """A time as ISO in UTC, to the millisecond, as browsers read it.

    >>> iso(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shown_time(seconds: float) -> str:
    """A time for tables, in UTC, which their headings say."""
    return iso(seconds)[:19].replace("T", " ")


def times(seconds: Sequence[float] | NDArray[np.float64]) -> list[float | str]:
    return [iso(float(one)) for one in seconds]


def numbers(values: NDArray[np.float64] | Sequence[float]) -> list[float | None]:
    """As JSON holds them: None for what is no number; seven digits are more than a chart shows."""
    return [float(f"{one:.7g}") if np.isfinite(one) else None for one in np.asarray(values, dtype=np.float64)]


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Positions of at most `most` of `count` things, evenly spread, the first and the last among them.

    >>> evenly(5, 10).tolist(), evenly(9, 3).tolist()
    ([0, 1, 2, 3, 4], [0, 4, 8])
    """
    return np.arange(count) if count <= most else np.unique(np.linspace(0, count - 1, most).astype(np.int64))
