"""What is read of the record's tables, as values. Called by `store`, with a connection that it has locked."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.record.values import Served, Window
from mlflow_hydraulic.record.windows import COLUMNS, Row, Source
from mlflow_hydraulic.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What is there of one source. first, last: seconds since 1970, UTC; 0 where there is no prediction."""

    source: Source
    predictions: int
    rows: int
    first: float
    last: float
    minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A gap: answers that are not in the record, or bytes of it that were damaged; and why."""

    served: Served | None
    since: float
    until: float
    answers: int
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One answered request without its cells: what actuals join with, by (id, row). labels: shape (rows,)."""

    served: Served
    schema: Schema
    id: str
    at: float
    labels: NDArray[Any]
    probabilities: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which scorers are meant; None is any. predictor: one or several."""

    namespace: str
    deployment: str
    target: str | None = None
    predictor: str | Sequence[str] | None = None
    version: str | None = None


def source_numbered(sql: sqlite3.Connection, number: int) -> Source:
    return Source.of(sql.execute("select * from sources where source = ?", (number,)).fetchone())


def matching(sql: sqlite3.Connection, which: Which) -> list[Source]:
    """The sources that are meant; `NotFound` names those that are there where none is."""
    rows = sql.execute(
        "select * from sources where namespace = ? and deployment = ?", (which.namespace, which.deployment)
    )
    sources = [Source.of(row) for row in rows]
    names = {which.predictor} if isinstance(which.predictor, str) else set(which.predictor or ())
    kept = [
        one
        for one in sources
        if which.target in (None, one.served.target)
        and which.version in (None, one.served.version)
        and (which.predictor is None or one.served.predictor in names)
    ]
    if not kept:
        known = sorted({f"{one.served.target}/{one.served.predictor}/{one.served.version}" for one in sources})
        there = f"recorded are {', '.join(known)}" if known else '"hydraulic record list" shows what is recorded'
        raise NotFound(f"{which.namespace}/{which.deployment}: no record of what was asked for; {there}")
    return kept


def offset_of(sql: sqlite3.Connection, segment: str) -> int:
    found = sql.execute("select stored from segments where name = ?", (segment,)).fetchone()
    return int(found[0]) if found else 0


def newest_ns(sql: sqlite3.Connection, source: int) -> int:
    return int(sql.execute("select ifnull(max(ns), 0) from predictions where source = ?", (source,)).fetchone()[0])


def rows_of(sql: sqlite3.Connection, source: int, begin: int, end: int, last: int | None) -> list[Row]:
    query = f"select {COLUMNS} from predictions where source = ? and ns >= ? and ns < ? and rows > 0 order by ns"  # noqa: S608 - our own names
    found = sql.execute(f"{query} desc limit ?", (source, begin, end, -1 if last is None else last))
    return [tuple(row) for row in found][::-1]


def last_rows_of(window: Window, rows: int) -> Window:
    """The last rows of a window whose first request has more."""
    return replace(
        window,
        ids=window.ids[-rows:],
        rows=window.rows[-rows:],
        at=window.at[-rows:],
        inputs=window.inputs[-rows:],
        labels=window.labels[-rows:],
        probabilities=None if window.probabilities is None else window.probabilities[-rows:],
        anomalous=None if window.anomalous is None else window.anomalous[-rows:],
        categories={name: values[-rows:] for name, values in window.categories.items()},
    )


def recorded_of(sql: sqlite3.Connection, source: Source) -> Recorded:
    count, rows, first, last = sql.execute(
        "select count(*), ifnull(sum(rows), 0), ifnull(min(ns), 0), ifnull(max(ns), 0) "
        "from predictions where source = ?",
        (source.source,),
    ).fetchone()
    minutes = sql.execute("select count(*) from minutes where source = ?", (source.source,)).fetchone()[0]
    return Recorded(source=source, predictions=count, rows=rows, first=first / 1e9, last=last / 1e9, minutes=minutes)
