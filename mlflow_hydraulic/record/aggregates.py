"""Aggregates of what a scorer answers, for those who may keep no row: moments, histograms, counts. Used by `recorder`.

No figure is told of fewer than `FEWEST_ROWS` rows: of one row the mean would be the row.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.record.entries import Minute
from mlflow_hydraulic.schema import Schema

FEWEST_ROWS = 20
MINUTE_NS = 60 * 10**9
HELD_ROWS = 512  # rows that wait to be counted together: numpy's price for each call is high
QUANTILES = 20
BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def edges_of(schema: Schema, background: NDArray[Any]) -> list[list[float]]:
    """Edges of each input's histogram: the quantiles of training rows, the smallest and the largest among them.

    background: shape (n, k). Empty for an input that is no number, or where there are no rows.
    """
    edges: list[list[float]] = []
    for column, field in enumerate(schema.inputs):
        values = _numbers(background[:, column]) if field.numeric and len(background) else np.empty(0)
        values = values[np.isfinite(values)]
        found = np.unique(np.quantile(values, np.linspace(0, 1, QUANTILES + 1))) if len(values) else np.empty(0)
        edges.append([float(edge) for edge in found])
    return edges


class Aggregator:
    """Counts answers until a minute is full."""

    def __init__(self, schema: Schema, edges: list[list[float]]) -> None:
        self._schema = schema
        self._edges = [np.asarray(column) for column in edges]
        self._numeric = [column for column, field in enumerate(schema.inputs) if field.numeric]
        self._since_ns = self._until_ns = 0
        self._reset()

    def add(
        self,
        ns: int,
        *,
        failed: bool,
        latency_s: float,
        cells: NDArray[Any] | None,
        labels: NDArray[Any] | None,
        anomalous: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count one answer; cells and labels are None where nothing was scored."""
        self.answers += 1
        self._failures += failed
        self._latency[bisect_left(BOUNDS_S, latency_s)] += 1
        self._since_ns = self._since_ns or ns
        self._until_ns = ns
        if cells is not None and labels is not None:
            self._held.append(cells)
            self._held_labels.append(labels)
            self.rows += len(cells)
            self._anomalous += 0 if anomalous is None else int(anomalous.sum())
            if self.rows - self._counted >= HELD_ROWS:
                self._count()

    def due(self, ns: int) -> bool:
        """Whether a minute is over and enough rows are in it to be told."""
        return bool(self._since_ns) and ns >= self._since_ns + MINUTE_NS and self.tellable

    @property
    def tellable(self) -> bool:
        return self.answers > 0 and (self.rows == 0 or self.rows >= FEWEST_ROWS)

    @property
    def span_ns(self) -> tuple[int, int]:
        return self._since_ns, self._until_ns

    def take(self) -> Minute:
        """What was counted; begins anew."""
        self._count()
        minute = Minute(
            since_ns=self._since_ns,
            until_ns=self._until_ns,
            answers=self.answers,
            failures=self._failures,
            rows=self.rows,
            count=self._n.tolist(),
            mean=self._mean.tolist(),
            m2=self._m2.tolist(),
            bins=[column.tolist() for column in self._bins],
            missing=self._missing.tolist(),
            labels=list(self._labels.items()),
            latency=np.cumsum(self._latency).tolist(),
            anomalous=self._anomalous,
        )
        self._reset()
        return minute

    def _reset(self) -> None:
        width = len(self._schema.inputs)
        self.answers = self.rows = 0
        self._failures = self._anomalous = self._since_ns = self._until_ns = self._counted = 0
        self._latency: list[int] = [0] * (len(BOUNDS_S) + 1)
        self._held: list[NDArray[Any]] = []
        self._held_labels: list[NDArray[Any]] = []
        self._n, self._missing = np.zeros(width, np.int64), np.zeros(width, np.int64)
        self._mean, self._m2 = np.zeros(width), np.zeros(width)
        self._bins = [np.zeros(len(edges) + 1 if len(edges) else 0, np.int64) for edges in self._edges]
        self._labels: dict[Any, int] = {}  # Any: a label is int, float or str

    def _count(self) -> None:
        if not self._held:
            return
        cells = np.concatenate(self._held)
        for column, field in enumerate(self._schema.inputs):
            self._count_column(column, cells[:, column], numeric=field.numeric)
        if self._schema.labels:
            for labels in self._held_labels:
                for label in labels.tolist():
                    self._labels[label] = self._labels.get(label, 0) + 1
        self._held, self._held_labels, self._counted = [], [], self.rows

    def _count_column(self, column: int, values: NDArray[Any], *, numeric: bool) -> None:
        if not numeric:
            self._missing[column] += sum(value is None for value in values)
            return
        numbers = _numbers(values)
        numbers = numbers[~np.isnan(numbers)]
        self._missing[column] += len(values) - len(numbers)
        if not len(numbers):
            return
        # Chan, Golub, LeVeque 1979: two samples' moments from the moments of each.
        before, more = self._n[column], len(numbers)
        mean = numbers.mean()
        shift = mean - self._mean[column]
        self._n[column] = total = before + more
        self._mean[column] += shift * more / total
        self._m2[column] += ((numbers - mean) ** 2).sum() + shift**2 * before * more / total
        if len(self._edges[column]):
            places = np.searchsorted(self._edges[column], numbers, side="right")
            self._bins[column] += np.bincount(places, minlength=len(self._bins[column]))


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype != object:
        return values.astype(np.float64)
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
