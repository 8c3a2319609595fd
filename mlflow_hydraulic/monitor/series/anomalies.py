"""Rows that are unlike the training data: their share over time, and the last of them with what is odd in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from mlflow_hydraulic.monitor.series.chart import BUCKETS, Chart, Series, Table, numbers, shown_time, times
from mlflow_hydraulic.monitor.series.drift import NOTHING_ASKED, means
from mlflow_hydraulic.monitor.series.sample import MOST_READ, Sample, middles, positions
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.monitor.versions import Training
from mlflow_hydraulic.record.values import Window

UNFLAGGED = (
    "Whoever recorded these rows did not look whether they are odd, and this version has nothing to judge them by."
)
ODDEST = 3  # inputs that are named of a flagged row


def flagged(window: Window, training: Training | None) -> Window:
    """The window with its flags; made here where whoever recorded it did not look, as Seldon's request logger."""
    if window.anomalous is not None or training is None or not len(window):
        return window
    return replace(window, anomalous=training.odd.flags(window.inputs))


def odd_chart(made: Sample, span: Span, training: Training | None) -> Chart:
    """The share of flagged rows in each stretch of time, with the share that training rows themselves have."""
    chart = partial(Chart, name="odd", title="Odd rows over time")
    window = flagged(made.window, training)
    if not len(window):
        return chart(missing=NOTHING_ASKED)
    if window.anomalous is None:
        return chart(missing=UNFLAGGED)
    edges = span.edges(BUCKETS)
    place = positions(window.at, edges)
    flags = window.anomalous.astype(np.float64)[:, None]
    rate = means(flags, place, len(edges) - 1)[0]
    rows = np.bincount(place, minlength=len(edges) - 1)
    odd = np.bincount(place, weights=flags[:, 0], minlength=len(edges) - 1)
    says = [f"{int(some):,} of {int(all_):,} rows" for some, all_ in zip(odd, rows, strict=True)]
    series = [Series(name="odd rows", kind="bars", y=numbers(rate * 100), says=says, tone="odd")]
    if training is not None:
        usual = numbers(np.full(len(rate), training.odd.rate * 100))
        series.append(Series(name="training rows", y=usual, tone="baseline"))
    total = f"{int(flags.sum()):,} rows are unlike the training data, of {made.says}"
    return chart(says=f"{total}.", x=times(middles(edges)), y_title="% of rows", unit="%", series=series)


def flagged_table(last: Window, training: Training | None) -> Table:
    """The last flagged rows, newest first: when, which prediction, what was predicted, which inputs are oddest."""
    table = partial(Table, name="flagged", title="Last odd rows")
    if not len(last):
        return table(missing=f"No row was odd among the newest {MOST_READ:,} predictions of this time range.")
    rows = []
    for at in range(len(last) - 1, -1, -1):
        odd = ", ".join(_oddest(last, at, training)) or "unknown: this version has no baseline"
        rows.append([shown_time(float(last.at[at])), str(last.ids[at]), str(last.rows[at]), str(last.labels[at]), odd])
    headings = ["time (UTC)", "prediction id", "row", "predicted", "furthest from training"]
    return table(headings=headings, rows=rows)


def _oddest(last: Window, at: int, training: Training | None) -> Sequence[str]:
    """The inputs of one row that lie furthest from training, in training standard deviations."""
    if training is None:
        return []
    reference = training.baseline.reference
    cells = last.inputs[at, [last.schema.names.index(name) for name in reference.names]]
    centre, spread = np.nanmean(reference.rows, axis=0), np.maximum(np.nanstd(reference.rows, axis=0), 1e-9)
    away = np.where(np.isfinite(cells), (cells - centre) / spread, np.inf)
    places = np.argsort(-np.abs(away))[:ODDEST]
    return [
        f"{reference.names[one]} {cells[one]:.4g} ({away[one]:+.1f} sd)"
        if np.isfinite(away[one])
        else f"{reference.names[one]} is missing"
        for one in places
    ]
