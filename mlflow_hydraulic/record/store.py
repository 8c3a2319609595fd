"""The store of predictions: one SQLite file, several writers and readers. Used by shipper, intake, monitor and CLI.

`take` and `append` write, `window`, `find` and `scored` read; `retention` keeps it within its bounds.
"""

from __future__ import annotations

import heapq
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow_hydraulic.record.entries import Entry, Feedback, Gap, Head, Minute, decode_minute, encode, head_of
from mlflow_hydraulic.record.inserting import entry_of, insert, insert_feedback, source_of
from mlflow_hydraulic.record.selecting import (
    Missing,
    Recorded,
    Scored,
    Which,
    last_rows_of,
    matching,
    newest_ns,
    offset_of,
    recorded_of,
    rows_of,
    source_numbered,
)
from mlflow_hydraulic.record.tables import connect, problem, transaction
from mlflow_hydraulic.record.values import Prediction, Served, Window
from mlflow_hydraulic.record.windows import COLUMNS, Row, Source, prediction_of, window_of
from mlflow_hydraulic.schema import Schema

FILE = "record.db"
IDS_AT_ONCE = 500  # SQLite's oldest limit of variables is 999
END_NS = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What stands in the bytes [start, end) of one segment. lost: damaged bytes among them."""

    segment: str
    start: int
    end: int
    head: Head
    entries: Sequence[Entry] = ()
    gaps: Sequence[Gap] = ()
    minutes: Sequence[Minute] = ()
    feedback: Sequence[Feedback] = ()
    lost: int = 0


class Store:
    """One open record. Threads may share it: they take turns. Its errors are `Unavailable`, `BadData` or `Failed`."""

    def __init__(self, path: Path, *, make: bool = True) -> None:
        self.path = path
        self._connection = connect(path, make=make)
        self._connection.row_factory = sqlite3.Row
        self._lock = threading.RLock()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """SQLite's connection, for this thread alone, with its errors in our words."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise problem(self.path, error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The same in a transaction that no other writer runs beside."""
        with self.reading() as sql, transaction(sql):
            yield sql

    def offset(self, segment: str) -> int:
        """How many bytes of a segment are stored."""
        with self.reading() as sql:
            return offset_of(sql, segment)

    def take(self, chunk: Chunk) -> int:
        """Store a chunk and how far its segment is stored, in one transaction; returns the segment's offset.

        A chunk that does not begin where the last one ended is not stored: then the offset tells where to go on. So a
        chunk that is brought twice, by two shippers or after a kill, is stored once.
        """
        with self.writing() as sql:
            stored = offset_of(sql, chunk.segment)
            if stored != chunk.start:
                return stored
            insert(sql, chunk.head, chunk.entries)
            insert_feedback(sql, chunk.feedback)
            source = source_of(sql, chunk.head)[0] if chunk.minutes or chunk.gaps or chunk.lost else 0
            minutes = [(source, minute.since_ns, encode(minute)) for minute in chunk.minutes]
            sql.executemany("insert or replace into minutes (source, since_ns, minute) values (?, ?, ?)", minutes)
            gaps = [(source, gap.since_ns, gap.until_ns, gap.answers, 0, gap.reason) for gap in chunk.gaps]
            if chunk.lost:
                reason = f"damaged bytes in segment {chunk.segment} between {chunk.start} and {chunk.end}"
                gaps.append((source, time.time_ns(), time.time_ns(), 0, chunk.lost, reason))
            sql.executemany(
                "insert into gaps (source, since_ns, until_ns, answers, bytes, reason) values (?, ?, ?, ?, ?, ?)", gaps
            )
            sql.execute("insert or replace into segments values (?, ?)", (chunk.segment, chunk.end))
        return chunk.end

    def append(self, predictions: Iterable[Prediction], schema: Schema, *, replica: str = "") -> int:
        """Store predictions of scorers that share a schema; returns how many. Nothing knows them again: no repeats."""
        groups: dict[Served, list[Entry]] = {}
        for prediction in predictions:
            groups.setdefault(prediction.served, []).append(entry_of(prediction))
        with self.writing() as sql:
            for served, entries in groups.items():
                insert(sql, head_of(served, schema, replica), entries)
        return sum(map(len, groups.values()))

    def window(
        self,
        *,
        target: str | None = None,
        namespace: str,
        deployment: str,
        predictor: str | Sequence[str] | None = None,
        version: str | None = None,
        since: float | None = None,
        until: float | None = None,
        last_rows: int | None = None,
    ) -> Window:
        """The scored rows of a deployment in [since, until), in time order; the last `last_rows` of them where given.

        predictor: one, several, or all, a shadow among them. Rows of another schema than the newest one's are left
        out. `NotFound` where nothing of the deployment was ever recorded; an empty window where nothing was meanwhile.
        """
        begin = 0 if since is None else round(since * 1e9)
        end = END_NS if until is None else round(until * 1e9)
        which = Which(namespace=namespace, deployment=deployment, target=target, predictor=predictor, version=version)
        with self.reading() as sql:
            sources = matching(sql, which)
            newest = max(sources, key=lambda one: newest_ns(sql, one.source))
            alike = [one for one in sources if one.schema == newest.schema]
            found: list[list[Row]] = [rows_of(sql, one.source, begin, end, last_rows) for one in alike]
        rows = list(heapq.merge(*found, key=lambda row: int(row[0])))
        window = window_of(
            newest,
            rows if last_rows is None else rows[-last_rows:],
            since=begin / 1e9 if since is not None or not rows else rows[0][0] / 1e9,
            until=end / 1e9 if until is not None or not rows else rows[-1][0] / 1e9,
        )
        return window if last_rows is None or len(window) <= last_rows else last_rows_of(window, last_rows)

    def find(self, prediction_id: str) -> tuple[Prediction, ...]:
        """Everything that was answered under an id, in time order: a shadow answers too, and callers reuse ids."""
        with self.reading() as sql:
            rows = sql.execute(
                "select * from predictions left join bodies using (seq) where id = ? order by ns", (prediction_id,)
            ).fetchall()
            return tuple(prediction_of(source_numbered(sql, row["source"]), row) for row in rows)

    def scored(self, ids: Iterable[str]) -> Iterator[Scored]:
        """What was answered under each of many ids, for actuals to join by (id, row); in no order, memory bounded."""
        wanted = iter(ids)
        while some := list(itertools.islice(wanted, IDS_AT_ONCE)):
            marks = ",".join("?" * len(some))
            query = f"select source, {COLUMNS} from predictions where id in ({marks}) and rows > 0"  # noqa: S608 - marks
            with self.reading() as sql:
                rows = sql.execute(query, some).fetchall()
                sources = {number: source_numbered(sql, number) for number in {row["source"] for row in rows}}
            for row in rows:
                source = sources[row["source"]]
                one = window_of(source, [tuple(row)[1:]], 0.0, 0.0)
                yield Scored(
                    served=source.served,
                    schema=source.schema,
                    id=row["id"],
                    at=row["ns"] / 1e9,
                    labels=one.labels,
                    probabilities=one.probabilities,
                )

    def minutes(
        self, *, target: str | None = None, namespace: str, deployment: str, since: float = 0.0, until: float = 9e9
    ) -> list[tuple[Source, Minute]]:
        """Aggregates whose first answer lies in [since, until), in time order; several processes have one each."""
        which = Which(namespace=namespace, deployment=deployment, target=target)
        with self.reading() as sql:
            sources = matching(sql, which)
            found = [
                (one, decode_minute(row[0]))
                for one in sources
                for row in sql.execute(
                    "select minute from minutes where source = ? and since_ns >= ? and since_ns < ?",
                    (one.source, round(since * 1e9), round(until * 1e9)),
                )
            ]
        return sorted(found, key=lambda pair: pair[1].since_ns)

    def recorded(self) -> list[Recorded]:
        """What is there, source by source."""
        with self.reading() as sql:
            sources = [Source.of(row) for row in sql.execute("select * from sources order by source")]
            return [recorded_of(sql, one) for one in sources]

    def missing(self, since: float = 0.0) -> list[Missing]:
        """Gaps that ended after `since`, in time order."""
        with self.reading() as sql:
            rows = sql.execute(
                "select * from gaps where until_ns >= ? order by since_ns", (round(since * 1e9),)
            ).fetchall()
            return [
                Missing(
                    served=source_numbered(sql, row["source"]).served if row["source"] else None,
                    since=row["since_ns"] / 1e9,
                    until=row["until_ns"] / 1e9,
                    answers=row["answers"],
                    bytes=row["bytes"],
                    reason=row["reason"],
                )
                for row in rows
            ]
