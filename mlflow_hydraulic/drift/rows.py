"""Rows that are unlike anything in training, one by one; the scorer flags them in every answer.

Three reasons: a missing cell that training never lacked, a value out of the training range (or never seen, for an
input of few whole numbers), and a row far from the training rows though each of its cells is in range.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.reference import Reference
from mlflow_hydraulic.drift.yardstick import Limits

REGIMES = 16  # centres of training rows that a row is held against
RATE = 1e-3  # of training rows, each held against the others, that lie as far as a flagged one
ROUNDS = 10
CLIP = 100.0  # standard deviations; a huge value stays a number


class RowCheck:
    """Flags rows of float64 (n, k); some 10 microseconds for one row of 17 inputs, 1 a row for many."""

    def __init__(self, reference: Reference) -> None:
        rows = reference.rows
        self.limits = Limits(rows)
        self.may_lack = np.isnan(rows).any(axis=0)
        self.always_there = not self.may_lack.any()
        size = np.maximum(np.nanmax(np.abs(rows), axis=0), 1e-300)
        self._mean = np.nanmean(rows / size, axis=0) * size
        std = np.nanstd(rows / size, axis=0)
        self._std = np.where(std > 1e-9, std, 1e-6) * size
        z = self._standardised(rows)
        centres, member = _regimes(z)
        inner = z - centres[member]
        covariance = inner.T @ inner / len(z)
        # A tenth of a training spread is never far, however still a regime's inputs stand.
        whiten = np.linalg.inv(np.linalg.cholesky(covariance + 0.01 * np.eye(z.shape[1]) * (1 + len(z) ** -0.5)))
        self._whiten = whiten.T.copy()
        self._centres = centres @ self._whiten
        self._sizes = (self._centres**2).sum(axis=1)
        self.limit = _limit(self._distances(z), reference)

    def flags(self, cells: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows are unlike the training rows, shape (n,)."""
        missing = np.isnan(cells)
        lacks = missing.any(axis=1) if self.always_there else (missing & ~self.may_lack).any(axis=1)
        outside = ((cells < self.limits.low) | (cells > self.limits.high)).any(axis=1)
        if self.limits.few:
            outside |= self.limits.outside(cells).any(axis=1)
        found: NDArray[np.bool_] = lacks | outside | (self._distances(self._standardised(cells)) > self.limit)
        return found

    def _standardised(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):
            z = (cells - self._mean) / self._std
        np.clip(z, -CLIP, CLIP, out=z)
        z[np.isnan(z)] = 0.0
        return np.asarray(z)

    def _distances(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared Mahalanobis distance to the nearest regime, shape (n,)."""
        w = z @ self._whiten
        nearest = (self._sizes - 2 * (w @ self._centres.T)).min(axis=1)
        return np.asarray(nearest + np.einsum("ij,ij->i", w, w))


def _regimes(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Centres of k-means, started at the rows that are farthest from each other, and each row's centre."""
    first = int(((z - z.mean(axis=0)) ** 2).sum(axis=1).argmin())
    chosen, away = [first], ((z - z[first]) ** 2).sum(axis=1)
    while len(chosen) < min(REGIMES, max(len(z) // 20, 1)) and away.max() > 0:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, ((z - z[chosen[-1]]) ** 2).sum(axis=1))
    centres = z[chosen]
    for _ in range(ROUNDS):
        member = ((centres**2).sum(axis=1) - 2 * z @ centres.T).argmin(axis=1)
        for number in range(len(centres)):
            own = z[member == number]
            if len(own):
                centres[number] = own.mean(axis=0)
    return centres, np.asarray(((centres**2).sum(axis=1) - 2 * z @ centres.T).argmin(axis=1), dtype=np.int64)


def _limit(distances: NDArray[np.float64], reference: Reference) -> float:
    """The distance that a normal row exceeds with the chance `RATE`.

    The training rows' own quantile, raised by how much the most extreme stretch of the series goes beyond the rest:
    what comes will be as far from these rows as one stretch of them is from the others.
    """
    n = len(distances)
    quantile = float(np.quantile(distances, 1 - max(RATE, 1 / n)))
    stretches = max(min(n // max(int(np.ceil(reference.block)), 1), 20), 2)
    tops = np.sort([part.max() for part in np.array_split(distances, stretches)])
    return max(quantile, float(tops[-1])) * max(1.0, float(tops[-1] / max(tops[-2], 1e-12)))
