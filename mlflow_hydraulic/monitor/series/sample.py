"""Rows of the record over a time range of any length, bounded: all of them, or some that are evenly spread over time.

Up to `MOST_READ` predictions are read whole. Of more, the first after each of `MOMENTS` moments of equal distance is
taken: that costs as many looks into an index, however much is there. Called by the series of rows.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.record.selecting import Which, matching, rows_of
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Served, Window
from mlflow_hydraulic.record.windows import COLUMNS, Row, Source, window_of
from mlflow_hydraulic.schema import Schema

MOST_READ = 20_000  # predictions
MOST_ROWS = 40_000  # in them
MOMENTS = 4000
LAST_FLAGGED = 25  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """One predictor with one version, as it answered. first, last: s since 1970; 0 where it left aggregates only."""

    served: Served
    schema: Schema
    sources: tuple[Source, ...]
    first: float
    last: float

    @property
    def id(self) -> str:
        """As the pages name it: "v3 7" is predictor v3 with version 7."""
        return f"{self.served.predictor} {self.served.version}".strip()

    @property
    def name(self) -> str:
        return f"{self.served.predictor or 'scorer'}, version {self.served.version or 'unknown'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows in time order. whole: all that there are in the range. predictions: how many were read."""

    window: Window
    whole: bool
    predictions: int

    @property
    def says(self) -> str:
        rows = f"{len(self.window):,} rows"
        if self.whole:
            return f"all {rows}"
        return (
            f"{rows} of {self.predictions:,} predictions, evenly spread over the time: there are too many to show all"
        )


def answerers(record: Store, namespace: str, deployment: str, target: str) -> list[Answerer]:
    """Every predictor and version that is recorded, the one that answered last first; `NotFound` where none is."""
    groups: dict[tuple[str, str, str], list[tuple[Source, int, int]]] = {}
    with record.reading() as sql:
        for one in matching(sql, Which(namespace=namespace, deployment=deployment, target=target)):
            key = (one.served.predictor, one.served.version, one.served.digest)
            groups.setdefault(key, []).append((one, _end(sql, one, "min"), _end(sql, one, "max")))
    found = []
    for parts in groups.values():
        newest = max(parts, key=lambda part: part[2])[0]
        alike = tuple(one for one, _, _ in parts if one.schema == newest.schema)
        first = min((begin for _, begin, _ in parts if begin), default=0) / 1e9
        last = max(end for _, _, end in parts) / 1e9
        found.append(Answerer(served=newest.served, schema=newest.schema, sources=alike, first=first, last=last))
    return sorted(found, key=lambda one: (-one.last, one.id))


def sample(record: Store, one: Answerer, since: float, until: float) -> Sample:
    """What `one` scored in [since, until), s since 1970."""
    begin, end = round(since * 1e9), round(until * 1e9)
    numbers = [source.source for source in one.sources]
    with record.reading() as sql:
        known = [size for number in numbers for size in _sizes(sql, number, begin, end)]
        whole = len(known) <= MOST_READ and sum(known) <= MOST_ROWS
        if whole:
            found = [rows_of(sql, number, begin, end, None) for number in numbers]
        else:
            found = [_spread(sql, number, begin, end, len(numbers)) for number in numbers]
    rows = list(heapq.merge(*found, key=lambda row: int(row[0])))
    window = window_of(one.sources[0], rows, since, until)
    return Sample(window=taken(window, _few(len(window))), whole=whole, predictions=len(rows))


def last_flagged(record: Store, one: Answerer, since: float, until: float) -> Window:
    """The last rows that were unlike the training data, among the newest `MOST_READ` predictions of the range."""
    begin, end = round(since * 1e9), round(until * 1e9)
    inner = f"select {COLUMNS} from predictions where source = ? and ns >= ? and ns < ? and rows > 0"  # noqa: S608 - our own names
    query = f"select * from ({inner} order by ns desc limit ?) where instr(anomalous, x'01') limit ?"  # noqa: S608 - our own names
    rows: list[Row] = []
    with record.reading() as sql:
        for source in one.sources:
            some = sql.execute(query, (source.source, begin, end, MOST_READ, LAST_FLAGGED))
            rows += [tuple(row) for row in some]
    newest = sorted(rows, key=lambda row: -int(row[0]))[:LAST_FLAGGED]
    window = window_of(one.sources[0], newest[::-1], since, until)
    flags = window.anomalous if window.anomalous is not None else np.zeros(len(window), dtype=bool)
    return taken(window, np.flatnonzero(flags)[-LAST_FLAGGED:])


def taken(window: Window, places: NDArray[np.int64]) -> Window:
    """The rows at these places."""
    if len(places) == len(window):
        return window
    return replace(
        window,
        ids=window.ids[places],
        rows=window.rows[places],
        at=window.at[places],
        inputs=window.inputs[places],
        labels=window.labels[places],
        probabilities=None if window.probabilities is None else window.probabilities[places],
        anomalous=None if window.anomalous is None else window.anomalous[places],
        categories={name: values[places] for name, values in window.categories.items()},
    )


def _few(count: int) -> NDArray[np.int64]:
    return np.arange(count) if count <= MOST_ROWS else np.linspace(0, count - 1, MOST_ROWS).astype(np.int64)


def _end(sql: sqlite3.Connection, source: Source, which: str) -> int:
    query = f"select ifnull({which}(ns), 0) from predictions where source = ?"  # noqa: S608 - min or max
    return int(sql.execute(query, (source.source,)).fetchone()[0])


def _sizes(sql: sqlite3.Connection, source: int, begin: int, end: int) -> list[int]:
    """Rows of each prediction, of one more than may be read at most."""
    query = "select rows from predictions where source = ? and ns >= ? and ns < ? and rows > 0 limit ?"
    return [int(row[0]) for row in sql.execute(query, (source, begin, end, MOST_READ + 1))]


def _spread(sql: sqlite3.Connection, source: int, begin: int, end: int, sources: int) -> list[Row]:
    """The first prediction after each of some moments."""
    ends = "select ns from predictions where source = ? and ns >= ? and ns < ? order by ns"
    ranged = (source, begin, end)
    first, last = (sql.execute(f"{ends} {way} limit 1", ranged).fetchone() for way in ("asc", "desc"))
    if first is None or last is None:
        return []
    moments = np.linspace(first[0], last[0], max(MOMENTS // sources, 2)).astype(np.int64)
    after = (
        "select seq from predictions where source = ? and ns >= m.value and ns <= ? and rows > 0 order by ns limit 1"
    )
    query = f"select distinct ({after}) from json_each(?) m"  # noqa: S608 - our own names
    found = sql.execute(query, (source, last[0], json.dumps(moments.tolist()))).fetchall()
    chosen = _affordable(sql, [int(row[0]) for row in found if row[0] is not None], MOST_ROWS // sources)
    query = f"select {COLUMNS} from predictions where seq in (select value from json_each(?)) order by ns"  # noqa: S608 - our own names
    return [tuple(row) for row in sql.execute(query, (json.dumps(chosen),))]


def _affordable(sql: sqlite3.Connection, seqs: list[int], room: int) -> list[int]:
    """Of these predictions as many as have `room` rows together, in an order that is even wherever it has to end."""
    query = "select seq, rows from predictions where seq in (select value from json_each(?))"
    sizes = dict(tuple(row) for row in sql.execute(query, (json.dumps(seqs),)))
    chosen = []
    for seq in np.random.default_rng(0).permutation(seqs).tolist():
        room -= sizes.get(seq, 0)
        chosen.append(seq)
        if room <= 0:
            break
    return chosen


def positions(at: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """In which stretch between `edges` each moment lies."""
    return np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)


def middles(edges: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.asarray(edges, dtype=np.float64)
    return np.asarray((found[:-1] + found[1:]) / 2)
