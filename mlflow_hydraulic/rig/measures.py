"""How good predictions are, with intervals that respect that cycles of one run are alike; called by `train`.

The intervals are 95 % percentile intervals of a bootstrap that draws whole runs (C. A. Field and A. H. Welsh,
"Bootstrapping clustered data", J. R. Stat. Soc. B 69, 2007): a bootstrap of single cycles would be far too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 2000
BINS = 10
TINY = 1e-15  # a probability of 0 for what happened would make the log-loss infinite
MEASURES = ("accuracy", "balanced_accuracy", "log_loss", "brier", "ece")


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def measure(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], run: NDArray[np.int64], *, seed: int
) -> dict[str, Interval]:
    """All of `MEASURES`. `truth`: class numbers, shape (n,); `probabilities`: shape (n, classes); `run`: shape (n,).

    brier: the sum over the classes (G. W. Brier 1950), 0 to 2. ece: expected calibration error of the predicted
    class over ten bins of equal width (C. Guo et al. 2017). An accuracy of 1 gets its lower bound from the number of
    runs without an error (the "rule of three"; J. A. Hanley and A. Lippman-Hand, JAMA 249, 1983).
    """
    runs, member = np.unique(run, return_inverse=True)
    sums = _sums_by_run(truth, probabilities, member, len(runs))
    draws = np.random.default_rng(seed).multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=RESAMPLES)
    point = _from_sums({name: value.sum(axis=0, keepdims=True) for name, value in sums.items()})
    drawn = _from_sums({name: draws @ value for name, value in sums.items()})
    result = {}
    for name in MEASURES:
        low, high = np.percentile(drawn[name], (2.5, 97.5))
        if name.endswith("accuracy") and point[name][0] == 1.0:
            low = 0.05 ** (1 / len(runs))
        result[name] = Interval(float(point[name][0]), float(low), float(high))
    return result


def reliability(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean probability of the predicted class, share that was right, and count, of each bin that holds a cycle."""
    sums = _sums_by_run(truth, probabilities, np.zeros(len(truth), dtype=np.int64), 1)
    count = sums["bin_count"][0]
    filled = count > 0
    confidence, hits = (sums[name][0][filled] / count[filled] for name in ("bin_confidence", "bin_hits"))
    return confidence, hits, count[filled].astype(np.int64)


def _sums_by_run(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], member: NDArray[np.int64], runs: int
) -> dict[str, NDArray[np.float64]]:
    """Every measure is a ratio of sums, so a resample is a weighted sum over runs; each shape (runs, k)."""
    classes = probabilities.shape[1]
    rows = np.arange(len(truth))
    predicted = probabilities.argmax(axis=1)
    hit = (predicted == truth).astype(np.float64)
    confidence = probabilities[rows, predicted]
    wanted = np.eye(classes)[truth]
    squares = ((probabilities - wanted) ** 2).sum(axis=1)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)

    def total(values: NDArray[np.float64], group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
        sums = np.bincount(member * groups + group, weights=values, minlength=runs * groups)
        return sums.astype(np.float64).reshape(runs, groups)

    one, alone = np.ones(len(truth)), np.zeros(len(truth), dtype=np.int64)
    return {
        "count": total(one, alone, 1),
        "log_loss": total(-np.log(np.maximum(probabilities[rows, truth], TINY)), alone, 1),
        "brier": total(squares, alone, 1),
        "class_count": total(one, truth, classes),
        "class_hits": total(hit, truth, classes),
        "bin_count": total(one, bins, BINS),
        "bin_hits": total(hit, bins, BINS),
        "bin_confidence": total(confidence, bins, BINS),
    }


def _from_sums(sums: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """The measures of each resample, each shape (resamples,); a class that a resample lacks does not count in it."""
    count = sums["count"][:, 0]
    present = sums["class_count"] > 0
    recall = sums["class_hits"] / np.where(present, sums["class_count"], 1)
    return {
        "accuracy": sums["class_hits"].sum(axis=1) / count,
        "balanced_accuracy": recall.sum(axis=1) / present.sum(axis=1),
        "log_loss": sums["log_loss"][:, 0] / count,
        "brier": sums["brier"][:, 0] / count,
        "ece": np.abs(sums["bin_hits"] - sums["bin_confidence"]).sum(axis=1) / count,
    }
