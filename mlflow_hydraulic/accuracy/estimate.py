"""Accuracy without a single true value, from the model's own probabilities: an estimate, and always shown as one. Pure.

Confidence-based performance estimation (J. Kivimäki, J. Białek, J. K. Nurminen and W. Kuberski, "Confidence-based
Estimators for Predictive Performance in Model Monitoring", 2024; NannyML's CBPE): where probabilities are calibrated, a
row whose predicted class has probability p is right with probability p. It cannot see that the concept itself changed:
then the probabilities lie. So where truths are known, what was measured stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.accuracy.measures import FEWEST, SEED, Values, interval_blocks, resampled_mean
from mlflow_hydraulic.accuracy.values import Labelled
from mlflow_hydraulic.rig.measures import Interval

BINS = 10
FEWEST_TO_CALIBRATE = 200  # labelled rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """accuracy: expected share of right answers, with the interval of its sampling and of its calibration.

    confusion: expected counts, true class by predicted class, (labels, labels). calibrated_on: labelled rows that the
    probabilities were calibrated on before; 0 where they are taken as the model gave them.
    """

    accuracy: Interval
    confusion: NDArray[np.float64]
    rows: int
    calibrated_on: int = 0


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often rows of each confidence were right, by pools of neighbouring bins; made of labelled rows.

    edges: between the bins. pool: of each bin, its pool. right, wrong: labelled rows of each pool.
    """

    edges: Values
    pool: NDArray[np.int64]
    right: Values
    wrong: Values

    @property
    def rows(self) -> int:
        return int((self.right + self.wrong).sum())

    def apply(self, confidence: Values) -> Values:
        """The calibrated confidence, shape as given; by Laplace's rule, so that none is 0 or 1."""
        share = (self.right + 1) / (self.right + self.wrong + 2)
        return np.asarray(share[self._pools(confidence)], dtype=np.float64)

    def drawn_errors(self, confidence: Values, draws: int, seed: int) -> Values:
        """How far the mean calibrated confidence may be off, with so few labels: draws of Beta, shape (draws,)."""
        weight = np.bincount(self._pools(confidence), minlength=len(self.right)) / len(confidence)
        share = np.random.default_rng(seed).beta(self.right + 1, self.wrong + 1, size=(draws, len(self.right)))
        return np.asarray((share - (self.right + 1) / (self.right + self.wrong + 2)) @ weight, dtype=np.float64)

    def _pools(self, confidence: Values) -> NDArray[np.int64]:
        return np.asarray(self.pool[np.searchsorted(self.edges, confidence, side="right")], dtype=np.int64)


def calibrate(rows: Labelled) -> Calibration | None:
    """A calibration from labelled rows; None where they are too few (`FEWEST_TO_CALIBRATE`) or have no probabilities.

    Bins of equal count, made monotonic by pooling neighbours (isotonic). Equals are pooled too, before Laplace's rule
    adds its two rows: added to each bin, they would make a model that was always right look worse than it is.
    """
    if rows.probabilities is None or len(rows) < FEWEST_TO_CALIBRATE:
        return None
    confidence = rows.probabilities.max(axis=1)
    hit = (rows.truth == rows.predicted).astype(np.float64)
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.searchsorted(edges, confidence, side="right")
    right, wrong = (
        np.bincount(place, weights=each, minlength=len(edges) + 1).astype(np.float64) for each in (hit, 1 - hit)
    )
    return Calibration(edges, *_rising(right, wrong))


def estimate(
    probabilities: Values, calibration: Calibration | None = None, *, block_rows: int = 1, seed: int = SEED
) -> Estimate | None:
    """The expected accuracy of rows with `probabilities`, shape (n, labels); None of fewer than `FEWEST` rows."""
    sound = probabilities[np.isfinite(probabilities).all(axis=1)]
    if len(sound) < FEWEST:
        return None
    predicted = sound.argmax(axis=1)
    stated = confidence = sound.max(axis=1)
    if calibration is not None:
        confidence = calibration.apply(confidence)
        sound = _with_confidence(sound, predicted, confidence)
    labels = sound.shape[1]
    expected = np.zeros((labels, labels))
    np.add.at(expected.T, predicted, sound)
    drawn = resampled_mean(confidence, interval_blocks(len(confidence), block_rows), seed)
    if calibration is not None:
        drawn = np.clip(drawn + calibration.drawn_errors(stated, len(drawn), seed + 1), 0.0, 1.0)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(
        accuracy=Interval(float(confidence.mean()), float(low), float(high)),
        confusion=expected,
        rows=len(sound),
        calibrated_on=calibration.rows if calibration else 0,
    )


def _with_confidence(probabilities: Values, predicted: NDArray[np.int64], confidence: Values) -> Values:
    """Probabilities that give the predicted class `confidence` and share the rest as before, evenly where it was 0."""
    rows = np.arange(len(probabilities))
    others = probabilities.copy()
    others[rows, predicted] = 0.0
    total = others.sum(axis=1, keepdims=True)
    even = np.full_like(others, 1 / max(others.shape[1] - 1, 1))
    even[rows, predicted] = 0.0
    shares = np.where(total > 0, others / np.where(total > 0, total, 1), even)
    made = shares * (1 - confidence)[:, None]
    made[rows, predicted] = confidence
    return np.asarray(made, dtype=np.float64)


def _rising(right: Values, wrong: Values) -> tuple[NDArray[np.int64], Values, Values]:
    """Isotonic regression of the bins' shares by pooling adjacent violators: each bin's pool, and the pools' sums."""
    pools: list[tuple[float, float, int]] = []  # right, wrong, bins
    for hits, misses in zip(right, wrong, strict=True):
        pools.append((float(hits), float(misses), 1))
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] >= pools[-1][0] * pools[-2][1]:  # empty bins too
            last, before = pools.pop(), pools.pop()
            pools.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    hits_of, misses_of, bins = zip(*pools, strict=True)
    return np.repeat(np.arange(len(pools)), bins), np.array(hits_of), np.array(misses_of)
