"""The baseline: what a model's inputs and outputs looked like on its training rows, as JSON for monitoring to compare.

`bundle.build` writes it as `baseline.json`; a reader gets it by `Bundle.read_baseline()`.

    format, version   "mlflow-hydraulic-baseline", 2; version 1 lacked `series`
    origin            "measured" or "simulated" rows
    rows              how many rows it was made from
    inputs            one entry an input, in the order of the schema: name, unit, mean, std (n - 1), skewness, excess
                      kurtosis, minimum, maximum, quantiles {"0.01": value}, mode and mode_share (the most common value
                      and its share of the rows: PS4 is 0 in half of them, so mind ties), missing (a share)
    correlation       Spearman's rank correlation of the inputs, k x k; null where an input is constant
    outputs           one entry a label: label, share (of rows it is predicted for), mean, std and quantiles of its
                      probability
    probability_of_label   mean and quantiles of the largest probability of each row: how sure the model was

    series            how the training rows hang together in time, and what the model leans on; null for a model without
                      a reference: rows, block_length (in rows, `drift.blocks`), runs, median_run_length, and one entry
                      an input: name, importance (sum 1), block_length, lag_1 (autocorrelation)

A number that is not defined (the skewness of a constant) is null.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mlflow_hydraulic.bundle.manifest import Json
from mlflow_hydraulic.drift.blocks import block_length, lag_1
from mlflow_hydraulic.drift.reference import Reference
from mlflow_hydraulic.rig.model import HydraulicModel

FORMAT = "mlflow-hydraulic-baseline"
FORMAT_VERSION = 2
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)

Column = NDArray[np.float64]


def make_baseline(model: HydraulicModel) -> Json:
    """The baseline of the model's background rows."""
    rows = model.background[list(model.schema.names)]
    matrix = rows.to_numpy(dtype=np.float64)
    baseline: Json = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "origin": model.origin,
        "rows": len(matrix),
        "inputs": [
            {"name": field.name, "unit": field.unit, **_input(matrix[:, column])}
            for column, field in enumerate(model.schema.inputs)
        ],
        "correlation": _rank_correlation(matrix),
        "series": None if model.reference is None else _series(model.reference),
    }
    if not model.schema.labels or not hasattr(model.estimator, "predict_proba"):
        return {**baseline, "outputs": [], "probability_of_label": None}
    probabilities = model.predict_proba(rows)
    predicted = model.predict(rows)
    outputs = [
        {"label": label, "share": float(np.mean(predicted == label)), **_spread(probabilities[:, column])}
        for column, label in enumerate(model.schema.labels)
    ]
    return {**baseline, "outputs": outputs, "probability_of_label": _spread(probabilities.max(axis=1))}


def _series(reference: Reference) -> Json:
    lengths = np.unique(reference.run, return_counts=True)[1]
    return {
        "rows": len(reference),
        "block_length": reference.block,
        "runs": len(lengths),
        "median_run_length": float(np.median(lengths)),
        "inputs": [
            {
                "name": name,
                "importance": float(reference.importance[column]),
                "block_length": block_length(reference.rows[:, column], reference.breaks),
                "lag_1": _number(lag_1(reference.rows[:, column], reference.breaks)),
            }
            for column, name in enumerate(reference.names)
        ],
    }


def _input(column: Column) -> Json:
    present = column[np.isfinite(column)]
    missing = 1 - len(present) / len(column)
    if not len(present):
        return {"missing": missing}
    values, counts = np.unique(present, return_counts=True)
    varies = len(values) > 1
    return {
        **_spread(present),
        "skewness": _number(stats.skew(present)) if varies else None,
        "kurtosis": _number(stats.kurtosis(present)) if varies else None,
        "minimum": float(present.min()),
        "maximum": float(present.max()),
        "mode": float(values[counts.argmax()]),
        "mode_share": float(counts.max() / len(column)),
        "missing": missing,
    }


def _spread(values: Column) -> Json:
    quantiles = np.quantile(values, QUANTILES)
    return {
        "mean": float(values.mean()),
        "std": _number(values.std(ddof=1)) if len(values) > 1 else None,
        "quantiles": {str(q): float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
    }


def _rank_correlation(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    ranks = stats.rankdata(matrix, axis=0)
    centred = ranks - ranks.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    scale = np.outer(length, length)
    correlation = np.divide(centred.T @ centred, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return [[_number(value) for value in row] for row in np.clip(correlation, -1, 1)]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
