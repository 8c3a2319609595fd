"""One input or output as charts: over time, as a histogram, as a heatmap; each against training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.monitor.series import names as texts
from mlflow_hydraulic.monitor.series.chart import BUCKETS, MOST_POINTS, Band, Chart, Series, evenly, numbers, times
from mlflow_hydraulic.monitor.series.drift import NOTHING_ASKED
from mlflow_hydraulic.monitor.series.sample import Sample, middles, positions
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.monitor.series.values import Values, share_heat

BARS = 30
Floats = NDArray[np.float64]


def column_charts(made: Sample, column: Values, span: Span) -> list[Chart]:
    """Three charts; each says why where there is nothing to show."""
    if not len(made.window):
        titles = {"course": "Over time", "spread": "Histogram", "heat": "Heatmap"}
        return [Chart(name=name, title=title, missing=NOTHING_ASKED) for name, title in titles.items()]
    if not column.numeric:
        return texts.name_charts(made, column, span)
    edges = _edges(column)
    return [_cloud(made, column), _histogram(made, column, edges), _heat(made, column, edges, span)]


def _cloud(made: Sample, column: Values) -> Chart:
    """Values over time, at most `MOST_POINTS`; odd rows apart."""
    window = made.window
    chosen = evenly(len(window), MOST_POINTS)
    values = column.values[chosen].astype(np.float64)
    odd = window.anomalous[chosen] if window.anomalous is not None else np.zeros(len(chosen), dtype=bool)
    parts = [Series(name="rows", kind="points", y=numbers(np.where(odd, np.nan, values)), tone="window")]
    if odd.any():
        parts.append(Series(name="odd rows", kind="points", y=numbers(np.where(odd, values, np.nan)), tone="odd"))
    says = f"{len(chosen):,} points of {made.says}" if len(chosen) < len(window) else made.says
    return Chart(
        name="course",
        title="Over time",
        says=f"{says[:1].upper()}{says[1:]}. {column.training_words}",
        x=times(window.at[chosen]),
        y_title=column.titled,
        unit=column.unit,
        series=parts,
        band=_band(column),
    )


def _band(column: Values) -> Band | None:
    known = _known(column.training) if column.training is not None else np.empty(0)
    if not len(known):
        return None
    low, high = np.quantile(known, (0.05, 0.95))
    return Band(name="middle 90 % of training", low=float(low), high=float(high))


def _histogram(made: Sample, column: Values, edges: Floats) -> Chart:
    parts = [Series(name="now", kind="step", y=numbers(_shares(column.values, edges)), tone="window")]
    if column.training is not None:
        training = numbers(_shares(column.training, edges))
        parts.insert(0, Series(name="training", kind="bars", y=training, tone="baseline"))
    return Chart(
        name="spread",
        title="Histogram",
        says=f"Share of rows by value, of {made.says}; what lies beyond is in the outermost bars. "
        f"{column.training_words}",
        x=[float(f"{one:.6g}") for one in middles(edges)],
        x_kind="number",
        x_title=column.titled,
        y_title="share of rows",
        series=parts,
    )


def _heat(made: Sample, column: Values, edges: Floats, span: Span) -> Chart:
    ends = span.edges(BUCKETS)
    place = positions(made.window.at, ends)
    shares = [_shares(column.values[place == number], edges) for number in range(len(ends) - 1)]
    if column.training is not None:
        shares.insert(0, _shares(column.training, edges))
    rows = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges.tolist())]
    return share_heat(made, column, times(middles(ends)), shares, rows)


def _edges(column: Values) -> Floats:
    """The middle 99.8 % of both, in `BARS` bars."""
    both = [column.values] if column.training is None else [column.values, column.training]
    ends = [np.quantile(known, (0.001, 0.999)) for values in both if len(known := _known(values))]
    low, high = (float(np.min(ends)), float(np.max(ends))) if ends else (0.0, 1.0)
    if not high > low:
        low, high = low - max(abs(low), 1.0) * 1e-3, high + max(abs(high), 1.0) * 1e-3
    return np.linspace(low, high, BARS + 1)


def _known(values: NDArray[np.generic]) -> Floats:
    found = values.astype(np.float64)
    return found[np.isfinite(found)]


def _shares(values: NDArray[np.generic], edges: Floats) -> Floats:
    """Of the values that are numbers, by bar; NaN where there is none."""
    known = _known(values)
    if not len(known):
        return np.full(len(edges) - 1, np.nan)
    return np.asarray(np.histogram(np.clip(known, edges[0], edges[-1]), edges)[0] / len(known), dtype=np.float64)
