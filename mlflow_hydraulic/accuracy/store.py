"""The file of true values: what arrived, what holds, and the rows of predictions that it labels.

However late, partial, repeated or corrected they come, and whichever of prediction and truth is known first: `join`
finds each pair once, and again when either changes. Used by `hydraulic actuals`, the intake and the monitor.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mlflow_hydraulic.accuracy.rows import Subjects, labelled_rows, predicted
from mlflow_hydraulic.accuracy.tables import connect, problem
from mlflow_hydraulic.accuracy.values import Actual, Labelled, class_number
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.feedback import heard
from mlflow_hydraulic.record.selecting import Scored
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Label

FILE = "actuals.db"
AT_ONCE = 2000  # true values in one transaction of `join`
IDS_AT_ONCE = 20_000  # new predictions that are looked through at once
MOST_VARIABLES = 500  # of one query: SQLite's oldest limit is 999
TO_JOIN, JOINED, UNFIT, WAITING = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of values that arrived. older: it was determined before the one that holds, which stays."""

    new: int = 0
    corrected: int = 0
    repeated: int = 0
    older: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(**{name: value + getattr(other, name) for name, value in asdict(self).items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """True values: joined, unfit for their prediction (no such row, no number), waiting for a prediction."""

    joined: int
    unfit: int
    waiting: int


class ActualStore:
    """One open file. Threads may share it: they take turns. Its errors are `Unavailable`, `BadData` or `Failed`."""

    def __init__(self, path: Path, *, make: bool = True) -> None:
        self.path = path
        self._sql = connect(path, make=make)
        self._lock = threading.RLock()
        self._subjects = Subjects()

    def __enter__(self) -> ActualStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._sql.close()

    def take(self, actuals: Iterable[Actual], now: float) -> Taken:
        """Keep values that arrived at `now` (seconds since 1970), all or none of them. Repeats change nothing."""
        counts = dict.fromkeys(asdict(Taken()), 0)
        with self._writing() as sql:
            for one in actuals:
                counts[_take(sql, one, round(now * 1e9))] += 1
        return Taken(**counts)

    def join(self, record: Store, told: Callable[[int], None] = lambda _: None) -> Standing:
        """Label what is in the record: true values and feedback that arrived, and predictions, since the last call.

        told: called with the number of values that were looked at. A call that is killed is finished by the next.
        """
        self._hear(record)
        self._wake(record)
        while looked := self._join_some(record):
            told(looked)
        return self.standing()

    def standing(self) -> Standing:
        with self._reading() as sql:
            counts = dict(sql.execute("select state, count(*) from latest group by state").fetchall())
        waiting = counts.get(WAITING, 0) + counts.get(TO_JOIN, 0)
        return Standing(joined=counts.get(JOINED, 0), unfit=counts.get(UNFIT, 0), waiting=waiting)

    def labelled(
        self,
        *,
        target: str | None = None,
        namespace: str,
        deployment: str,
        predictor: str | None = None,
        since: float = 0.0,
        until: float = 9e9,
        last_rows: int = -1,
    ) -> list[Labelled]:
        """Labelled rows predicted in [since, until), in time order, for each predictor and version apart.

        last_rows: at most so many of each, the newest; -1 is all.
        """
        query = "select * from subjects where namespace = ? and deployment = ?"
        with self._reading() as sql:
            subjects = sql.execute(f"{query} order by subject", (namespace, deployment)).fetchall()
            found = [
                labelled_rows(sql, one, round(since * 1e9), round(until * 1e9), last_rows)
                for one in subjects
                if target in (None, one["target"]) and predictor in (None, one["predictor"])
            ]
        return [one for one in found if len(one)]

    def history(self, prediction_id: str) -> list[tuple[Actual, float]]:
        """Everything that ever arrived for one prediction, with when it arrived, in that order."""
        with self._reading() as sql:
            rows = sql.execute("select * from history where id = ? order by seq", (prediction_id,)).fetchall()
        return [
            (
                Actual(
                    id=row["id"],
                    row=row["row"],
                    value=json.loads(row["value"]),
                    at=row["at_ns"] / 1e9,
                    source=row["source"],
                ),
                row["arrived_ns"] / 1e9,
            )
            for row in rows
        ]

    def truths(self, ids: Iterable[str]) -> dict[tuple[str, int], Label]:
        """The values that hold for these predictions, by (id, row), of those that fit their prediction."""
        wanted, found = iter(dict.fromkeys(ids)), {}
        while some := list(itertools.islice(wanted, MOST_VARIABLES)):
            marks = ",".join("?" * len(some))
            query = f"select id, row, value from latest where state = ? and id in ({marks})"  # noqa: S608 - marks
            with self._reading() as sql:
                found.update({(row[0], row[1]): json.loads(row[2]) for row in sql.execute(query, (JOINED, *some))})
        return found

    def prune(self, before: float) -> int:
        """Forget labelled rows predicted before `before`, and true values determined before it; returns how many."""
        ns = round(before * 1e9)
        with self._writing() as sql:
            sql.execute("delete from labelled where at_ns < ?", (ns,))
            sql.execute("delete from history where at_ns < ?", (ns,))
            return sql.execute("delete from latest where at_ns < ?", (ns,)).rowcount

    def _hear(self, record: Store) -> None:
        """Take the true values of feedback that the record got: each once, for the cursor moves with them."""
        while True:
            with self._writing() as sql:
                seq = int(sql.execute("select feedback from cursor").fetchone()[0])
                with record.reading() as theirs:
                    new = heard(theirs, seq, AT_ONCE)
                if not new:
                    return
                for one in new:
                    for row, value in enumerate(one.truth):
                        if value is not None:
                            actual = Actual(id=one.id, row=row, value=value, at=one.at, source="feedback")
                            _take(sql, actual, time.time_ns())
                sql.execute("update cursor set feedback = ?", (new[-1].seq,))

    def _wake(self, record: Store) -> None:
        """Mark values whose prediction came after them, or came once more (a shadow's, later): to be joined."""
        while True:
            with self._writing() as sql:
                seq = int(sql.execute("select seq from cursor").fetchone()[0])
                with record.reading() as theirs:
                    new = theirs.execute(
                        "select seq, id from predictions where seq > ? order by seq limit ?", (seq, IDS_AT_ONCE)
                    ).fetchall()
                if not new:
                    return
                sql.execute("create temp table if not exists came (id text primary key) without rowid")
                sql.execute("delete from came")
                sql.executemany("insert or ignore into came values (?)", ((row[1],) for row in new))
                sql.execute(
                    "update latest set state = ? where state <> ? and id in (select id from came)", (TO_JOIN, TO_JOIN)
                )
                sql.execute("update cursor set seq = ?", (int(new[-1][0]),))

    def _join_some(self, record: Store) -> int:
        with self._writing() as sql:
            rows = sql.execute(
                "select id, row, value, first_ns from latest where state = 0 order by id, row limit ?", (AT_ONCE,)
            ).fetchall()
            scored: dict[str, dict[Served, Scored]] = {}
            for one in record.scored(dict.fromkeys(row["id"] for row in rows)):
                answers = scored.setdefault(one.id, {})
                if one.served not in answers or answers[one.served].at <= one.at:  # an id used again: the newest counts
                    answers[one.served] = one
            states = [
                (self._label(sql, row, scored.get(row["id"], {}).values()), row["id"], row["row"]) for row in rows
            ]
            sql.executemany("update latest set state = ? where id = ? and row = ?", states)
        return len(rows)

    def _label(self, sql: sqlite3.Connection, actual: sqlite3.Row, answers: Iterable[Scored]) -> int:
        state, row = WAITING, actual["row"]
        for one in answers:
            key = (self._subjects.number(sql, one), one.id, row)
            try:
                if row >= len(one.labels):
                    raise BadInput(f"prediction {one.id!r} has {len(one.labels)} rows")
                truth = class_number(one.schema, json.loads(actual["value"]))
            except BadInput:  # there is nothing to measure, and what an earlier value said does not hold any more
                sql.execute("delete from labelled where subject = ? and id = ? and row = ?", key)
                state = state if state == JOINED else UNFIT
                continue
            values = (round(one.at * 1e9), actual["first_ns"], truth, *predicted(one, row))
            sql.execute("insert or replace into labelled values (?, ?, ?, ?, ?, ?, ?, ?)", (*key, *values))
            state = JOINED
        return state

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._sql
            except sqlite3.Error as error:
                raise problem(self.path, error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as sql:
            sql.execute("begin immediate")
            try:
                yield sql
            except BaseException:
                if sql.in_transaction:
                    sql.execute("rollback")
                self._subjects = Subjects()  # those that were made are rolled back too
                raise
            sql.execute("commit")


def _take(sql: sqlite3.Connection, one: Actual, now_ns: int) -> str:
    value, at_ns = json.dumps(one.value), round(one.at * 1e9)
    before = sql.execute("select value, at_ns from latest where id = ? and row = ?", (one.id, one.row)).fetchone()
    if before is not None and before["value"] == value:
        sql.execute("update latest set at_ns = max(at_ns, ?) where id = ? and row = ?", (at_ns, one.id, one.row))
        return "repeated"
    sql.execute(
        "insert into history (id, row, value, at_ns, arrived_ns, source) values (?, ?, ?, ?, ?, ?)",
        (one.id, one.row, value, at_ns, now_ns, one.source),
    )
    if before is None:
        sql.execute("insert into latest values (?, ?, ?, ?, ?, ?)", (one.id, one.row, value, at_ns, now_ns, TO_JOIN))
        return "new"
    if at_ns < before["at_ns"]:
        return "older"
    sql.execute(
        "update latest set value = ?, at_ns = ?, state = ? where id = ? and row = ?",
        (value, at_ns, TO_JOIN, one.id, one.row),
    )
    return "corrected"
