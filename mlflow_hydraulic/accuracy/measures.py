"""How good predictions are where the truth is known, with intervals for streams whose rows are alike. Pure.

Consecutive rows of a machine are no independent draws: intervals resample blocks of consecutive rows (H. R. Künsch,
"The jackknife and the bootstrap for general stationary observations", Ann. Statist. 17, 1989), as long as the baseline
says that rows hang together, and never shorter than n^(1/3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.accuracy.values import Labelled
from mlflow_hydraulic.rig.measures import Interval, measure

Values = NDArray[np.float64]
RESAMPLES = 2000
SEED = 20151013
FEWEST = 10  # labelled rows; fewer say nothing
FEWEST_BLOCKS = 3
CLASS_MEASURES = ("accuracy", "balanced_accuracy")
PROBABILITY_MEASURES = ("log_loss", "brier", "ece")


def blocks(rows: int, length: int = 1) -> NDArray[np.int64]:
    """The block of each of `rows` consecutive rows: numbers that rise from 0, each for `length` rows or more.

    >>> blocks(7, 3).tolist()
    [0, 0, 0, 1, 1, 1, 1]
    """
    least = max(int(np.ceil(rows ** (1 / 3))), length, 1)
    return np.minimum(np.arange(rows, dtype=np.int64) // least, max(rows // least, 1) - 1)


def interval_blocks(rows: int, length: int = 1) -> NDArray[np.int64]:
    """The same for an interval: three blocks at least, since all draws of one alone are alike, and nothing looks surer.

    >>> int(interval_blocks(30, 20).max())
    2
    """
    return blocks(rows, min(length, rows // FEWEST_BLOCKS))


def measures(rows: Labelled, *, block_rows: int = 1, seed: int = SEED) -> dict[str, Interval]:
    """Measures with 95 % intervals; none of fewer than `FEWEST` rows.

    Classes: accuracy, balanced_accuracy; with probabilities log_loss, brier and ece too. Regression: mae, rmse, bias
    (predicted minus true), in the target's unit, and r2. block_rows: how many consecutive rows hang together.
    """
    if len(rows) < FEWEST:
        return {}
    block = interval_blocks(len(rows), block_rows)
    if not rows.schema.labels:
        return _regression(rows.truth, rows.predicted, block, seed)
    known = rows.truth >= 0
    if rows.probabilities is not None and known.all():
        return measure(rows.truth.astype(np.int64), _sound(rows.probabilities), block, seed=seed)
    return _classes(rows.truth, rows.predicted, block, seed)


def confusion(rows: Labelled) -> NDArray[np.int64]:
    """Counts, shape (labels + 1, labels): true class by predicted class; the last row: classes that are unknown."""
    labels = len(rows.schema.labels)
    truth = np.where(rows.truth >= 0, rows.truth, labels).astype(np.int64)
    counts = np.bincount(truth * labels + rows.predicted.astype(np.int64), minlength=(labels + 1) * labels)
    return counts.reshape(labels + 1, labels)


def losses(rows: Labelled) -> Values:
    """What each row cost, shape (n,): 1 minus the probability of the truth, 0 or 1 without, or the absolute error."""
    if not rows.schema.labels:
        return np.asarray(np.abs(rows.predicted - rows.truth), dtype=np.float64)
    if rows.probabilities is None:
        return np.asarray(rows.predicted != rows.truth, dtype=np.float64)
    of_truth = rows.probabilities[np.arange(len(rows)), np.maximum(rows.truth, 0).astype(np.int64)]
    return np.asarray(np.where(rows.truth >= 0, 1 - of_truth, 1.0), dtype=np.float64)


def resampled_mean(values: Values, block: NDArray[np.int64], seed: int) -> Values:
    """Means of `RESAMPLES` draws of whole blocks with replacement, shape (RESAMPLES,)."""
    count = np.bincount(block).astype(np.float64)
    total = np.bincount(block, weights=values)
    draws = np.random.default_rng(seed).multinomial(len(count), np.full(len(count), 1 / len(count)), size=RESAMPLES)
    return np.asarray((draws @ total) / (draws @ count), dtype=np.float64)


def _sound(probabilities: Values) -> Values:
    """Probabilities whose largest one is the predicted class; NaN, which no model should answer, counts as 0."""
    return np.nan_to_num(probabilities, nan=0.0)


def _classes(truth: Values, predicted: Values, block: NDArray[np.int64], seed: int) -> dict[str, Interval]:
    classes, number = np.unique(truth, return_inverse=True)
    groups = int(block.max()) + 1
    hit = (truth == predicted).astype(np.float64)
    cell = block * len(classes) + number
    count = np.bincount(cell, minlength=groups * len(classes)).reshape(groups, -1).astype(np.float64)
    hits = np.bincount(cell, weights=hit, minlength=groups * len(classes)).reshape(groups, -1)
    draws = (
        np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES).astype(np.float64)
    )
    drawn = _class_measures(draws @ count, draws @ hits)
    point = _class_measures(count.sum(axis=0, keepdims=True), hits.sum(axis=0, keepdims=True))
    found = {name: _interval(float(point[name][0]), drawn[name]) for name in CLASS_MEASURES}
    for name, one in found.items():
        if one.value == 1.0:  # no error was seen: the rule of three, over blocks
            found[name] = Interval(1.0, 0.05 ** (1 / groups), 1.0)
    return found


def _class_measures(count: Values, hits: Values) -> dict[str, Values]:
    present = count > 0
    recall = hits / np.where(present, count, 1)
    return {
        "accuracy": hits.sum(axis=1) / count.sum(axis=1),
        "balanced_accuracy": recall.sum(axis=1) / present.sum(axis=1),
    }


def _regression(truth: Values, predicted: Values, block: NDArray[np.int64], seed: int) -> dict[str, Interval]:
    error = predicted - truth
    centred = truth - truth.mean()
    columns = {"mae": np.abs(error), "rmse": error**2, "bias": error, "spread": centred**2}
    drawn = {name: resampled_mean(values, block, seed) for name, values in columns.items()}
    point = {name: float(values.mean()) for name, values in columns.items()}
    found = {name: _interval(point[name], drawn[name]) for name in ("mae", "bias")}
    found["rmse"] = _interval(point["rmse"] ** 0.5, np.sqrt(drawn["rmse"]))
    if point["spread"] > 0:
        spread = np.where(drawn["spread"] > 0, drawn["spread"], np.nan)
        found["r2"] = _interval(1 - point["rmse"] / point["spread"], 1 - drawn["rmse"] / spread)
    return found


def _interval(value: float, drawn: Values) -> Interval:
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Interval(value, float(low), float(high))
