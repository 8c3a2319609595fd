"""The numbers of a drift plot: how one input was spread in training and is in the window; `monitor` draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlflow_hydraulic.drift.baseline import Baseline

BARS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """edges: (31,), in the input's unit. training, window: (30,), shares of rows. values: (n,), the window's rows in
    time order. low, high: the middle 90 % of training."""

    feature: str
    edges: tuple[float, ...]
    training: tuple[float, ...]
    window: tuple[float, ...]
    values: tuple[float, ...]
    low: float
    high: float


def picture_of(baseline: Baseline, rows: NDArray[np.float64], column: int) -> Picture:
    """Of one input; bars span the middle 99.8 % of both, and what lies beyond is counted in the outermost bars."""
    training = baseline.reference.rows[:, column]
    known, values = training[~np.isnan(training)], rows[:, column]
    seen = np.nan_to_num(values[~np.isnan(values)], posinf=np.finfo(float).max / 4, neginf=-np.finfo(float).max / 4)
    ends = [np.quantile(known, [0.001, 0.999])] + ([np.quantile(seen, [0.001, 0.999])] if len(seen) else [])
    low, high = float(np.min(ends)), float(np.max(ends))
    if not high > low:
        low, high = low - max(abs(low), 1.0) * 1e-3, high + max(abs(high), 1.0) * 1e-3
    edges = np.linspace(low, high, BARS + 1)
    middle = np.quantile(known, [0.05, 0.95])
    return Picture(
        feature=baseline.reference.names[column],
        edges=tuple(edges.tolist()),
        training=_shares(known, edges),
        window=_shares(seen, edges),
        values=tuple(values.tolist()),
        low=float(middle[0]),
        high=float(middle[1]),
    )


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[float, ...]:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return tuple((counts / max(len(values), 1)).tolist())
