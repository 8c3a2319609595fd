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
ODD = 0.005  # of the training rows are so odd that the limit is not set by them
ROOM = 1.25  # times the distance of the farthest other training row
ROUNDS = 10


class RowCheck:
    """Flags rows of float64 (n, k); some 10 microseconds for a row of 17 inputs, 0.3 a row for many.

    rate: the share of training rows that it flags itself: what to expect when nothing is wrong.
    """

    def __init__(self, reference: Reference) -> None:
        rows = reference.rows
        self.limits = Limits(rows)
        lacking = np.isnan(rows).any(axis=0)
        self._lacking = lacking if lacking.any() else None
        size = np.maximum(np.nanmax(np.abs(rows), axis=0), 1e-300)
        self._mean = np.nanmean(rows / size, axis=0) * size
        std = np.nanstd(rows / size, axis=0)
        self._std = np.where(std > 1e-9, std, 1e-6) * size
        z = np.nan_to_num((rows - self._mean) / self._std)
        centres, member = _regimes(z)
        inner = z - centres[member]
        covariance = inner.T @ inner / len(z)
        # A tenth of a training spread is never far, however still a regime's inputs stand.
        whiten = np.linalg.inv(np.linalg.cholesky(covariance + 0.01 * np.eye(z.shape[1]))).T
        centres = centres @ whiten
        self._turn = whiten / self._std[:, None]
        self._middle = self.limits.low / 2 + self.limits.high / 2
        self._half = self.limits.high / 2 - self.limits.low / 2
        self._shift = ((self._middle - self._mean) / self._std) @ whiten
        self._centres = np.ascontiguousarray(-2 * centres.T)
        self._sizes = (centres**2).sum(axis=1)
        known = np.where(np.isnan(rows), self._mean, rows)
        self.limit = _limit(self._distances(known - self._middle))
        self.rate = float(self.flags(rows).mean())

    def flags(self, cells: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows are unlike the training rows, shape (n,)."""
        with np.errstate(all="ignore"):  # a huge or a missing cell gives a distance that is no number, so no pass
            offset = cells - self._middle
            passed = np.logical_and.reduce(np.abs(offset) <= self._half, axis=1)
            passed &= self._distances(offset) <= self.limit
            if self._lacking is not None or self.limits.few:
                passed = self._lenient(cells, passed)
        return np.asarray(np.logical_not(passed))

    def _lenient(self, cells: NDArray[np.float64], passed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where training rows lacked cells, or had few values: a cell that may be missing counts as the mean."""
        if self._lacking is not None:
            allowed = np.isnan(cells) & self._lacking
            some = np.flatnonzero(allowed.any(axis=1))
            filled = np.where(allowed[some], self._mean, cells[some])
            offset = filled - self._middle
            passed[some] = (np.abs(offset) <= self._half).all(axis=1) & (self._distances(offset) <= self.limit)
        return np.asarray(passed & ~self.limits.outside(cells).any(axis=1))

    def _distances(self, offset: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared Mahalanobis distance to the nearest regime, shape (n,), of cells less the middle of the ranges."""
        turned = offset @ self._turn
        turned += self._shift
        from_centres = turned @ self._centres
        from_centres += self._sizes
        nearest: NDArray[np.float64] = np.minimum.reduce(from_centres, axis=1)
        nearest += np.einsum("ij,ij->i", turned, turned)
        return nearest


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


def _limit(distances: NDArray[np.float64]) -> float:
    """Some room beyond all but `ODD` of the training rows: a changeover that happened once must not hide others."""
    return float(np.quantile(distances, 1 - ODD)) * ROOM
