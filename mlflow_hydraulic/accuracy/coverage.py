"""How far labels reach: what share of the predictions has a truth, of which classes, and how late it came.

Reads both files in pieces, so that a window may hold millions of predictions. Called by the monitor and by the CLI.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from mlflow_hydraulic.accuracy.values import Coverage, Labelled
from mlflow_hydraulic.record.selecting import Which, matching
from mlflow_hydraulic.record.store import Store

PREDICTIONS_AT_ONCE = 10_000
_unpack = msgspec.msgpack.Decoder().decode


def coverage(record: Store, rows: Labelled, *, since: float, until: float) -> Coverage:
    """Of what `rows.served` predicted in [since, until). rows: its labelled rows of that window.

    Predictions that retention has removed since are not counted: labels are never more than predictions.
    """
    served = rows.served
    which = Which(
        namespace=served.namespace,
        deployment=served.deployment,
        target=served.target,
        predictor=served.predictor,
        version=served.version,
    )
    labels = rows.schema.labels
    predicted: Counter[str] = Counter()
    with record.reading() as sql:
        for source in matching(sql, which):
            for label, count in _labels(sql, source.source, round(since * 1e9), round(until * 1e9)):
                predicted[str(label) if labels else ""] += count
    numbers = rows.predicted.astype(np.int64)
    labelled = Counter(str(labels[number]) for number in numbers) if labels else Counter({"": len(rows)})
    total = max(sum(predicted.values()), len(rows))
    delay = np.maximum(rows.arrived - rows.at, 0.0)
    quantiles = np.quantile(delay, (0.5, 0.95)) if len(rows) else (0.0, 0.0)
    return Coverage(
        predicted=total,
        labelled=len(rows),
        delay_s=(float(quantiles[0]), float(quantiles[1])),
        by_label={str(label): (predicted[str(label)], labelled[str(label)]) for label in labels},
    )


def _labels(sql: sqlite3.Connection, source: int, begin: int, end: int) -> Iterator[tuple[Any, int]]:
    """(label, how often), piece by piece. Any: a label is int, float or str."""
    cursor = sql.execute(
        "select label_type, labels from predictions where source = ? and ns >= ? and ns < ? and rows > 0",
        (source, begin, end),
    )
    while some := cursor.fetchmany(PREDICTIONS_AT_ONCE):
        packed: dict[str, list[bytes]] = {}
        for label_type, labels in some:
            if label_type:
                packed.setdefault(label_type, []).append(labels)
            else:
                yield from Counter(_unpack(labels)).items()
        for label_type, parts in packed.items():
            values, counts = np.unique(np.frombuffer(b"".join(parts), label_type), return_counts=True)
            yield from zip(values.tolist(), counts.tolist(), strict=True)
