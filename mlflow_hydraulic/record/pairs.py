"""Request and response events, which come apart, in any order and more than once, to predictions. Called by the intake.

A half waits in the store for its other one. What waits longer than `PATIENCE_NS` is recorded as it is: a request that
failed has no response event, and Seldon's logger drops events when its queue is full and never sends one again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlflow_hydraulic.record.cloudevents import Event
from mlflow_hydraulic.record.entries import head_of
from mlflow_hydraulic.record.inserting import entry_of, insert
from mlflow_hydraulic.record.payloads import read_pair
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Prediction, Served
from mlflow_hydraulic.schema import Schema

TARGET = "seldon"
PATH = "seldon request logger"
PATIENCE_NS = 600 * 10**9
AT_ONCE = 500
Outcome = Literal["stored", "waiting", "repeated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Half:
    """One half of a prediction, waiting or just come."""

    kind: str
    at_ns: int
    event: dict[str, str]
    body: bytes


def accept(store: Store, event: Event) -> Outcome:
    """Take a request or a response: once, however often it comes; a prediction is stored when both are there."""
    mine = _half_of(event)
    with store.writing() as sql:
        if sql.execute("select 1 from events where event = ?", (event.id,)).fetchone():
            return "repeated"
        sql.execute("insert into events values (?, ?)", (event.id, time.time_ns()))
        row = sql.execute(
            "select * from halves where key = ? and kind <> ? order by half limit 1", (event.key, event.kind)
        ).fetchone()
        if row is None:
            sql.execute(
                "insert into halves (key, kind, at_ns, about, body) values (?, ?, ?, ?, ?)",
                (event.key, mine.kind, mine.at_ns, json.dumps(mine.event), mine.body),
            )
            return "waiting"
        other = _waiting(row)
        sql.execute("delete from halves where half = ?", (row["half"],))
        _store(sql, mine if event.kind == "request" else other, other if event.kind == "request" else mine)
    return "stored"


def give_up_waiting(store: Store, now_ns: int) -> int:
    """Record halves that have waited too long, with status 0 and what there is of them; returns how many."""
    with store.writing() as sql:
        rows = sql.execute(
            "select * from halves where at_ns < ? order by half limit ?", (now_ns - PATIENCE_NS, AT_ONCE)
        ).fetchall()
        for row in rows:
            half = _waiting(row)
            _store(sql, half if half.kind == "request" else None, half if half.kind == "response" else None)
        sql.executemany("delete from halves where half = ?", [(row["half"],) for row in rows])
    return len(rows)


def _store(sql: sqlite3.Connection, request: _Half | None, response: _Half | None) -> None:
    """Insert one prediction made of one or two halves."""
    first, last = request or response, response or request
    if first is None or last is None:
        return
    asked, answered = request.body if request else b"", response.body if response else b""
    read = read_pair(asked, answered)
    about = first.event
    served = Served(
        target=TARGET,
        namespace=about["namespace"],
        deployment=about["deployment"],
        predictor=about["predictor"],
        model=(read.model if read else "") or about["node"],
        version=read.version if read else "",
        digest=read.digest if read else "",
    )
    schema = read.schema if read else Schema(inputs=(), target="prediction")
    prediction = Prediction(
        served=served,
        id=about["request_id"],
        at=0.0,
        path=PATH,
        status=200 if request and response else 0,
        latency_s=max(0, last.at_ns - first.at_ns) / 1e9,
        request=asked,
        answer=answered,
        inputs=read.inputs if read else np.empty((0, 0)),
        labels=read.labels if read else np.empty(0),
        probabilities=read.probabilities if read else None,
    )
    entry = entry_of(prediction)
    entry.ns = last.at_ns
    insert(sql, head_of(served, schema, ""), [entry])


def _half_of(event: Event) -> _Half:
    about = {name: getattr(event, name) for name in ("request_id", "namespace", "deployment", "predictor", "node")}
    return _Half(kind=event.kind, at_ns=event.at_ns, event=about, body=event.body)


def _waiting(row: Any) -> _Half:  # Any: sqlite3.Row
    return _Half(kind=row["kind"], at_ns=row["at_ns"], event=json.loads(row["about"]), body=row["body"])
