"""A column of texts, such as the predicted class, as charts: shares over time, bars and a heatmap. For `columns`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.monitor.series.chart import BUCKETS, Chart, Series, numbers, times
from mlflow_hydraulic.monitor.series.sample import Sample, middles, positions
from mlflow_hydraulic.monitor.series.span import Span
from mlflow_hydraulic.monitor.series.values import Values, share_heat

MOST_NAMES = 20
OTHERS = "(others)"
Floats = NDArray[np.float64]


def name_charts(made: Sample, column: Values, span: Span) -> list[Chart]:
    """Over time, histogram, heatmap; of more than `MOST_NAMES` texts the most frequent."""
    edges, names = span.edges(BUCKETS), _names(column)
    share = _over_time(made, column, names, edges)
    x = times(middles(edges))
    shares = list(share)
    if column.training is not None:
        shares.insert(0, _share(column.training, names))
    return [
        Chart(
            name="course",
            title="Over time",
            says=f"Shares of each stretch of time, of {made.says}.",
            x=x,
            y_title="share of rows",
            series=[Series(name=name, kind="bars", y=numbers(share[:, at])) for at, name in enumerate(names)],
            stacked=True,
        ),
        _bars(made, column, names),
        share_heat(made, column, x, shares, names),
    ]


def _over_time(made: Sample, column: Values, names: list[str], edges: Floats) -> Floats:
    """Shape (stretches, names); NaN where a stretch has no row."""
    place, count = positions(made.window.at, edges), len(edges) - 1
    known = _among(column.values, names)
    counts = np.stack([np.bincount(place[known == name], minlength=count) for name in names], axis=1)
    total = counts.sum(axis=1, keepdims=True)
    share = np.full(counts.shape, np.nan)
    np.divide(counts, total, out=share, where=total > 0)
    return share


def _bars(made: Sample, column: Values, names: list[str]) -> Chart:
    parts = [Series(name="now", kind="bars", y=numbers(_share(column.values, names)), tone="window")]
    if column.training is not None:
        training = numbers(_share(column.training, names))
        parts.insert(0, Series(name="training", kind="bars", y=training, tone="baseline"))
    return Chart(
        name="spread",
        title="Histogram",
        says=f"Share of rows, of {made.says}. {column.training_words}",
        x=list(names),
        x_kind="name",
        x_title=column.name,
        y_title="share of rows",
        series=parts,
    )


def _names(column: Values) -> list[str]:
    both = [column.values] if column.training is None else [column.values, column.training]
    found, counts = np.unique(np.concatenate(both), return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")][:MOST_NAMES].tolist()
    return sorted(frequent, key=_natural) + ([OTHERS] if len(found) > MOST_NAMES else [])


def _natural(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _among(values: NDArray[np.generic], names: list[str]) -> NDArray[np.generic]:
    return np.where(np.isin(values, names), values, OTHERS)


def _share(values: NDArray[np.generic], names: list[str]) -> Floats:
    known = _among(values, names)
    return np.array([float((known == name).mean()) if len(known) else np.nan for name in names])
