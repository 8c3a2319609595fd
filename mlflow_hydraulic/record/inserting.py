"""Puts entries into the record's tables. Called by `store` and the intake's events, inside a transaction of theirs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from mlflow_hydraulic.record.entries import Entry, Feedback, Head, encode, packed_cells, packed_labels
from mlflow_hydraulic.record.values import Prediction
from mlflow_hydraulic.record.windows import deflate

DICTIONARY_BYTES = 4096  # of a request, and as much of an answer
LONGEST_NS = 10**7  # no prediction has more rows than this, so none that begins earlier reaches further
KEY = ("target", "namespace", "deployment", "predictor", "model", "version", "digest", "replica")
PREDICTION = """insert into predictions (seq, source, ns, id, rows, status, latency_s, path, caller, input_type, inputs,
 label_type, labels, probabilities, anomalous) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def source_of(sql: sqlite3.Connection, head: Head, predictor: str = "", dictionary: bytes = b"") -> tuple[int, bytes]:
    """The number of a source and its dictionary; made where it is new.

    predictor: instead of the head's. dictionary: what a new source's bodies are compressed with.
    """
    key: list[Any] = [getattr(head, name) for name in KEY]
    key[KEY.index("predictor")] = predictor or head.predictor
    key += [json.dumps(head.schema, sort_keys=True), json.dumps(head.bins)]
    where = " and ".join(f"{name} = ?" for name in (*KEY, "schema", "bins"))
    found = sql.execute(f"select source, dictionary from sources where {where}", key).fetchone()  # noqa: S608 - our names
    if found is None:
        names = ", ".join((*KEY, "schema", "bins", "dictionary"))
        marks = ", ".join("?" * (len(KEY) + 3))
        made = sql.execute(f"insert into sources ({names}) values ({marks})", [*key, dictionary])  # noqa: S608
        return int(made.lastrowid or 0), dictionary
    return int(found[0]), bytes(found[1])


def insert(sql: sqlite3.Connection, head: Head, entries: Sequence[Entry]) -> None:
    """Insert the entries of one process, in their order."""
    sources: dict[str, tuple[int, bytes]] = {}
    seq = sql.execute("select seq from sqlite_sequence where name = 'predictions'").fetchone()
    number = int(seq[0]) if seq else 0
    rows, bodies = [], []
    for entry in entries:
        known = sources.get(entry.predictor)
        if known is None:
            sample = entry.request[:DICTIONARY_BYTES] + entry.answer[:DICTIONARY_BYTES]
            known = sources[entry.predictor] = source_of(sql, head, entry.predictor, sample)
        number += 1
        rows.append(_row(number, known[0], entry))
        if entry.request or entry.answer:
            bodies.append((number, deflate(entry.request, known[1]), deflate(entry.answer, known[1])))
    sql.execute("savepoint quick")
    try:
        sql.executemany(PREDICTION, rows)
    except sqlite3.IntegrityError:  # two at one nanosecond: a clock was set back, or two processes share a name
        sql.execute("rollback to quick")
        for row in rows:
            sql.execute(PREDICTION, (*row[:2], _free(sql, row[1], row[2], row[4]), *row[3:]))
    sql.execute("release quick")
    sql.executemany("insert into bodies values (?, ?, ?)", bodies)


def insert_feedback(sql: sqlite3.Connection, given: Iterable[Feedback]) -> None:
    """Insert feedback in its order."""
    sql.executemany(
        "insert into feedback (ns, id, truth, reward) values (?, ?, ?, ?)",
        [(one.ns, one.id, encode(one.truth), one.reward) for one in given],
    )


def entry_of(prediction: Prediction) -> Entry:
    """A prediction as a journal has it."""
    label_type, labels = packed_labels(prediction.labels)
    probabilities, anomalous = prediction.probabilities, prediction.anomalous
    return Entry(
        ns=round(prediction.at * 1e9),
        id=prediction.id,
        path=prediction.path,
        status=prediction.status,
        latency_s=prediction.latency_s,
        caller=prediction.caller,
        rows=len(prediction.inputs),
        inputs=packed_cells(prediction.inputs),
        label_type=label_type,
        labels=labels,
        probabilities=None if probabilities is None else probabilities.astype("<f8").tobytes(),
        anomalous=None if anomalous is None else anomalous.tobytes(),
        request=prediction.request,
        answer=prediction.answer,
    )


def _row(number: int, source: int, entry: Entry) -> tuple[Any, ...]:  # Any: SQLite's values
    inputs, labels = entry.inputs, entry.labels
    packed = isinstance(inputs, bytes)
    return (
        number,
        source,
        entry.ns,
        entry.id,
        entry.rows,
        entry.status,
        entry.latency_s,
        entry.path,
        entry.caller,
        "<f8" if packed else "",
        inputs if packed else encode(inputs),
        entry.label_type,
        labels if isinstance(labels, bytes) else encode(labels),
        entry.probabilities,
        entry.anomalous,
    )


def _free(sql: sqlite3.Connection, source: int, ns: int, rows: int) -> int:
    """The first nanosecond from `ns` on at which `rows` rows of this source meet no other's."""
    taken = sql.execute(
        "select ns, ns + max(rows, 1) from predictions where source = ? and ns > ? order by ns",
        (source, ns - LONGEST_NS),
    )
    for start, end in taken:
        if start >= ns + max(rows, 1):
            break
        ns = max(ns, end)
    return ns
