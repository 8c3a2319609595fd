"""Labelled rows in and out of the tables: whose they are, what was predicted. Called by `store`, inside its lock."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import numpy as np

from mlflow_hydraulic.accuracy.values import Labelled, class_number
from mlflow_hydraulic.record.selecting import Scored
from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Label, Schema

SERVED = ("target", "namespace", "deployment", "predictor", "model", "version", "digest")
INSERT = (
    "insert or ignore into subjects (target, namespace, deployment, predictor, model, version, digest, schema) "
    "values (?, ?, ?, ?, ?, ?, ?, ?)"
)
SELECT = (
    "select subject from subjects where target = ? and namespace = ? and deployment = ? and predictor = ? "
    "and model = ? and version = ? and digest = ? and schema = ?"
)


class Subjects:
    """The numbers of those who predicted, remembered while a connection lives."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Served, Schema], int] = {}

    def number(self, sql: sqlite3.Connection, one: Scored) -> int:
        key = (one.served, one.schema)
        if key not in self._numbers:
            schema = json.dumps(one.schema.to_dict(), sort_keys=True)
            values = (*(getattr(one.served, name) for name in SERVED), schema)
            sql.execute(INSERT, values)
            self._numbers[key] = int(sql.execute(SELECT, values).fetchone()[0])
        return self._numbers[key]


def predicted(one: Scored, row: int) -> tuple[float, bytes | None]:
    """The row's predicted class or value, and its packed probabilities."""
    label: Label = one.labels[row].item() if isinstance(one.labels[row], np.generic) else one.labels[row]
    probabilities = None if one.probabilities is None else one.probabilities[row].astype("<f8").tobytes()
    return class_number(one.schema, label), probabilities


def labelled_rows(sql: sqlite3.Connection, subject: sqlite3.Row, since: int, until: int, last: int) -> Labelled:
    """Labelled rows of one row of `subjects`, predicted in [since, until) nanoseconds; the last `last`, -1 for all."""
    rows: Sequence[sqlite3.Row] = sql.execute(
        "select at_ns, arrived_ns, truth, predicted, probabilities from labelled "
        "where subject = ? and at_ns >= ? and at_ns < ? order by at_ns desc, id desc, row desc limit ?",
        (subject["subject"], since, until, last),
    ).fetchall()[::-1]
    whole = bool(rows) and all(row["probabilities"] is not None for row in rows)
    columns = [np.array([row[index] for row in rows], dtype=np.float64) for index in range(4)]
    packed = b"".join(row["probabilities"] for row in rows) if whole else b""
    return Labelled(
        served=Served(**{name: subject[name] for name in SERVED}),
        schema=Schema.from_dict(json.loads(subject["schema"])),
        at=columns[0] / 1e9,
        arrived=columns[1] / 1e9,
        truth=columns[2],
        predicted=columns[3],
        probabilities=np.frombuffer(packed, "<f8").reshape(len(rows), -1) if whole else None,
    )
