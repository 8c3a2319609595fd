"""How long and how much is kept: the oldest go first, and what went is written down. Called by shipper and CLI."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from mlflow_hydraulic.record.store import Store

AT_ONCE = 5000  # predictions of one transaction, so that writers wait for a moment only
DAY_NS = 86_400 * 10**9
FORGET_NS = 7 * DAY_NS  # how long the name of a segment and an event's id are known


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one pruning took away, and the size that is left in bytes."""

    predictions: int
    minutes: int
    bytes_left: int


def prune(store: Store, *, days: float, max_bytes: int, now: float | None = None) -> Pruned:
    """Delete what is older than `days`, then the oldest until no more than `max_bytes` are used."""
    before = round((time.time() if now is None else now) * 1e9 - days * DAY_NS)
    predictions = _older(store, before)
    minutes = _old_minutes(store, before)
    _note(store, predictions, minutes, before, f"older than {days:g} days")
    squeezed = 0
    while used_bytes(store) > max_bytes:
        gone, last = _oldest(store)
        if not gone:
            break
        squeezed += gone
        _note(store, gone, 0, last, f"more than {max_bytes} bytes")
    return Pruned(predictions=predictions + squeezed, minutes=minutes, bytes_left=used_bytes(store))


def used_bytes(store: Store) -> int:
    """Size of what is stored, in bytes; pages that are free count no more."""
    with store.reading() as sql:
        pages, free, size = (
            int(sql.execute(f"pragma {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def _older(store: Store, before: int) -> int:
    total = 0
    with store.reading() as sql:
        sources = [row[0] for row in sql.execute("select source from sources")]
    for source in sources:
        while True:
            with store.writing() as sql:
                found = sql.execute(
                    "select seq from predictions where source = ? and ns < ? order by ns limit ?",
                    (source, before, AT_ONCE),
                ).fetchall()
                _delete(sql, [row[0] for row in found])
            total += len(found)
            if len(found) < AT_ONCE:
                break
    return total


def _oldest(store: Store) -> tuple[int, int]:
    """How many of the first that came went, and the time of the last of them."""
    with store.writing() as sql:
        found = sql.execute("select seq, ns from predictions order by seq limit ?", (AT_ONCE,)).fetchall()
        _delete(sql, [row[0] for row in found])
    return len(found), max((row[1] for row in found), default=0)


def _delete(sql: sqlite3.Connection, numbers: list[int]) -> None:
    sql.executemany("delete from bodies where seq = ?", [(number,) for number in numbers])
    sql.executemany("delete from predictions where seq = ?", [(number,) for number in numbers])
    sql.execute("pragma incremental_vacuum").fetchall()


def _old_minutes(store: Store, before: int) -> int:
    with store.writing() as sql:
        gone = sql.execute("delete from minutes where since_ns < ?", (before,)).rowcount
        sql.execute("delete from gaps where until_ns < ?", (before,))
        sql.execute("delete from feedback where ns < ?", (before,))
        sql.execute("delete from events where at_ns < ?", (time.time_ns() - FORGET_NS,))
    return int(gone)


def _note(store: Store, predictions: int, minutes: int, before: int, reason: str) -> None:
    if predictions or minutes:
        with store.writing() as sql:
            sql.execute(
                "insert into pruned (at_ns, predictions, minutes, before_ns, reason) values (?, ?, ?, ?, ?)",
                (time.time_ns(), predictions, minutes, before, reason),
            )
