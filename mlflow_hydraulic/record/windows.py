"""From the record's rows to values: windows of scored rows, and whole predictions. Called by `store`."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.record.values import Prediction, Served, Window
from mlflow_hydraulic.schema import Schema

COLUMNS = "ns, id, rows, input_type, inputs, label_type, labels, probabilities, anomalous"
WINDOW_BITS = -13  # raw deflate with 8 kB of history: the dictionary's size, and cheap to set up for each body
_unpack = msgspec.msgpack.Decoder().decode
Row = tuple[Any, ...]  # Any: SQLite's values


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A row of `sources`."""

    source: int
    served: Served
    replica: str
    schema: Schema
    dictionary: bytes
    bins: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, row: sqlite3.Row) -> Source:
        names = ("target", "namespace", "deployment", "predictor", "model", "version", "digest")
        return cls(
            source=row["source"],
            served=Served(**{name: row[name] for name in names}),
            replica=row["replica"],
            schema=Schema.from_dict(json.loads(row["schema"])),
            dictionary=row["dictionary"],
            bins=tuple(tuple(edges) for edges in json.loads(row["bins"])),
        )


def window_of(source: Source, rows: Sequence[Row], since: float, until: float) -> Window:
    """A window of rows (`COLUMNS`, in time order) that share the schema of `source`."""
    schema = source.schema
    counts = np.fromiter((row[2] for row in rows), np.int64, len(rows))
    total = int(counts.sum())
    starts = np.cumsum(counts) - counts
    within = np.arange(total) - np.repeat(starts, counts)
    ns = np.repeat(np.fromiter((row[0] for row in rows), np.int64, len(rows)), counts)
    inputs, categories = _inputs(schema, rows)
    probabilities = _joined(rows, 7, np.float64)
    anomalous = _joined(rows, 8, np.bool_)
    return Window(
        schema=schema,
        served=source.served,
        since=since,
        until=until,
        ids=np.repeat(np.array([row[1] for row in rows], dtype=object), counts),
        rows=within,
        at=(ns + within) / 1e9,
        inputs=inputs,
        labels=_labels(rows),
        probabilities=None if probabilities is None or not total else probabilities.reshape(total, -1),
        anomalous=anomalous,
        categories=categories,
    )


def prediction_of(source: Source, row: sqlite3.Row) -> Prediction:
    """One whole prediction; bodies as they were, empty where they were not kept."""
    rows, width = row["rows"], len(source.schema.inputs)
    one = [tuple(row[name] for name in COLUMNS.split(", "))]
    if row["input_type"]:
        inputs: NDArray[Any] = np.frombuffer(row["inputs"], row["input_type"]).reshape(rows, width)
    else:
        inputs = np.empty((rows, width), dtype=object)
        for index, cells in enumerate(_unpack(row["inputs"]) if rows else []):
            inputs[index] = cells
    probabilities = _joined(one, 7, np.float64)
    return Prediction(
        served=source.served,
        id=row["id"],
        at=row["ns"] / 1e9,
        path=row["path"],
        status=row["status"],
        latency_s=row["latency_s"],
        caller=row["caller"],
        request=inflate(row["request"], source.dictionary),
        answer=inflate(row["answer"], source.dictionary),
        inputs=inputs,
        labels=_labels(one),
        probabilities=None if probabilities is None or not rows else probabilities.reshape(rows, -1),
        anomalous=_joined(one, 8, np.bool_),
    )


def deflate(body: bytes, dictionary: bytes) -> bytes:
    """A body as it is stored; empty stays empty."""
    if not body:
        return b""
    press = zlib.compressobj(1, zlib.DEFLATED, WINDOW_BITS, 5, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return press.compress(body) + press.flush()


def inflate(stored: bytes | None, dictionary: bytes) -> bytes:
    """The inverse of `deflate`."""
    return zlib.decompressobj(WINDOW_BITS, dictionary).decompress(stored) if stored else b""


def _inputs(schema: Schema, rows: Sequence[Row]) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
    width = len(schema.inputs)
    if all(row[3] for row in rows):
        return np.frombuffer(b"".join(row[4] for row in rows), np.float64).reshape(-1, width), {}
    cells = [cells for row in rows for cells in _cells(row, width)]
    numbers = np.full((len(cells), width), np.nan)
    categories: dict[str, NDArray[Any]] = {}
    for column, field in enumerate(schema.inputs):
        values = [row[column] for row in cells]
        if field.numeric:
            numbers[:, column] = [np.nan if value is None else float(value) for value in values]
        else:
            categories[field.name] = np.array(values, dtype=object)
    return numbers, categories


def _cells(row: Row, width: int) -> list[list[Any]]:
    if row[3]:
        found: list[list[Any]] = np.frombuffer(row[4], row[3]).reshape(-1, width).tolist()
        return found
    unpacked: list[list[Any]] = _unpack(row[4])
    return unpacked


def _labels(rows: Sequence[Row]) -> NDArray[Any]:
    kinds = {row[5] for row in rows}
    if len(kinds) == 1 and (kind := kinds.pop()):
        return np.frombuffer(b"".join(row[6] for row in rows), np.dtype(kind))
    values = [
        v for row in rows for v in (np.frombuffer(row[6], row[5]).tolist() if row[5] else _unpack(row[6] or b"\x90"))
    ]
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _joined(rows: Sequence[Row], column: int, dtype: Any) -> NDArray[Any] | None:  # Any: numpy's own argument
    """The column's bytes of all rows; None where one of them has none, for a part is no column."""
    if any(row[column] is None for row in rows):
        return None
    return np.frombuffer(b"".join(row[column] for row in rows), dtype)
