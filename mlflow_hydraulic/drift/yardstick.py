"""Scores of single rows against the training rows; `calibration` and `check` take windows of them.

A row is scored in training standard deviations, against the most alike training row ("its nearest kind"), and by how
its deviations from that row hang together. Training rows are scored alike, each without its own time around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.reference import Reference

CLIP = 8.0  # standard deviations; no single row weighs more
GRID = np.linspace(0.05, 0.95, 19)  # quantiles at which distributions are compared
FEW_VALUES = 20  # an input with at most so many values in training has "unseen" ones
SPARE = 0.1  # of the training range, to each side, before a value counts as outside it
MOST_PAIRS = 300  # whose correlation is watched
CHUNK = 64  # rows whose distances to all training rows are in memory at once
ROUNDS = 2  # of finding neighbours, and the scale of inputs from these neighbours

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """One row a row; every array has n rows.

    z: (n, k), standard deviations from the training mean. present: (n, k). step, stepped: (n, k), the change since
    the row before, in z, and where there is one. equal: (n, k), no change at all. place: (n, k), the class between
    training quantiles. residual: (n, k), z less that of the nearest training row. relation: (n, k), the part of the
    residual that the other inputs' residuals do not explain, in its standard deviation. jump: (n, k), how much the part
    of z that a line through the other inputs does not explain changed since the row before. distance: (n,), log of the
    residuals' squared Mahalanobis distance. outside: (n, k), out of the training range or a value never seen.
    probabilities, surprise: (n, c): as predicted, and less those of the nearest training row.
    """

    z: Matrix
    present: Mask
    step: Matrix
    stepped: Mask
    equal: Mask
    place: NDArray[np.int64]
    residual: Matrix
    relation: Matrix
    jump: Matrix
    distance: NDArray[np.float64]
    outside: Mask
    probabilities: Matrix
    surprise: Matrix

    def take(self, index: NDArray[np.int64]) -> Scores:
        return Scores(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


class _Placed(NamedTuple):
    z: Matrix
    present: Mask
    nearest: NDArray[np.int64]
    residual: Matrix


class Yardstick:
    """Scores rows against one reference; `own` are the scores of the reference itself."""

    def __init__(self, reference: Reference) -> None:
        rows = reference.rows
        self.reference = reference
        self.classes = reference.probabilities.shape[1]
        self.gap = max(math.ceil(reference.block), 1)
        self.limits = Limits(rows)
        self.mean, self.std = _moments(rows)
        self.grid = np.nanquantile(rows, GRID, axis=0, method="inverted_cdf")
        z, present = self._standardised(rows)
        self._filled = z
        nearest, residual = self._scaled_neighbours(z, present)
        spread = np.maximum(np.sqrt((_tamed(residual) ** 2).mean(axis=0)), 1e-3)
        self._tamed_at = CLIP * spread
        covariance = np.atleast_2d(np.cov(_tamed(residual).T, bias=True)) + np.diag(1e-3 * spread**2 + 1e-9)
        self._precision = np.linalg.inv(covariance)
        self._lines = _lines(z)
        own = self._scores(rows, reference.breaks, _Placed(z, present, nearest, residual), reference.probabilities)
        self.own = replace(own, outside=self.limits.outside_others(rows, self.gap) & present)
        self.pairs = _pairs(z)
        self.cumulated = np.cumsum(self.counts(self.own.place), axis=1)

    def scores(self, rows: Matrix, probabilities: Matrix | None = None) -> Scores:
        """Scores of consecutive rows (n, k); NaN where a cell is missing. probabilities: (n, c)."""
        z, present = self._standardised(rows)
        nearest, residual = self._neighbours(z, present)
        breaks = np.zeros(len(rows), dtype=bool)
        given = probabilities if probabilities is not None else np.empty((len(rows), 0))
        return self._scores(rows, breaks, _Placed(z, present, nearest, residual), given)

    def counts(self, place: NDArray[np.int64]) -> Matrix:
        """Shares of the rows in each class between quantiles, shape (k, classes); 0 where an input has no values."""
        k, classes = place.shape[1], len(GRID) + 2
        flat = (place + classes * np.arange(k)).ravel()
        counts = np.bincount(flat, minlength=k * classes).reshape(k, classes)[:, :-1].astype(np.float64)
        return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))

    def _standardised(self, rows: Matrix) -> tuple[Matrix, Mask]:
        present = ~np.isnan(rows)
        with np.errstate(over="ignore"):
            z = (rows - self.mean) / self.std
        return np.where(present, np.clip(z, -CLIP, CLIP), 0.0), present

    def _scaled_neighbours(self, z: Matrix, present: Mask) -> tuple[NDArray[np.int64], Matrix]:
        """Neighbours of the training rows outside their own time, in the scale in which neighbours differ."""
        self._set_scale(np.ones(z.shape[1]))
        nearest, residual = self._neighbours(z, present, own=True)
        for _ in range(ROUNDS):
            self._set_scale(1 / np.maximum(np.sqrt((_tamed(residual) ** 2).mean(axis=0)), 0.01))
            nearest, residual = self._neighbours(z, present, own=True)
        return nearest, residual

    def _set_scale(self, scale: NDArray[np.float64]) -> None:
        """Single precision finds the same neighbour, or one as near, in half the time."""
        known = self._filled * scale
        self._scale = scale
        self._known = np.ascontiguousarray(-2 * known.T, dtype=np.float32)
        self._squares = np.ascontiguousarray((known * known).T, dtype=np.float32)
        self._sizes = self._squares.sum(axis=0)

    def _neighbours(self, z: Matrix, present: Mask, *, own: bool = False) -> tuple[NDArray[np.int64], Matrix]:
        """The nearest training row of each row by the cells that are present, and the difference in z."""
        scaled = (z * self._scale).astype(np.float32)
        nearest = np.empty(len(z), dtype=np.int64)
        for start in range(0, len(z), CHUNK):
            here = present[start : start + CHUNK]
            distance = scaled[start : start + CHUNK] @ self._known
            distance += self._sizes if here.all() else here.astype(np.float32) @ self._squares
            if own:
                for row in range(len(distance)):
                    distance[row, max(start + row - self.gap + 1, 0) : start + row + self.gap] = np.inf
            nearest[start : start + CHUNK] = distance.argmin(axis=1)
        return nearest, np.where(present, z - self._filled[nearest], 0.0)

    def _scores(self, rows: Matrix, breaks: Mask, placed: _Placed, probabilities: Matrix) -> Scores:
        z, present, nearest, residual = placed
        stepped = np.zeros_like(present)
        stepped[1:] = present[1:] & present[:-1] & ~breaks[1:, None]
        step, jump, equal = np.zeros_like(z), np.zeros_like(z), np.zeros_like(present)
        step[1:] = np.abs(np.diff(z, axis=0))
        jump[1:] = np.abs(np.diff(np.clip(z @ self._lines, -10, 10), axis=0))
        equal[1:] = (rows[1:] == rows[:-1]) & stepped[1:]
        tame = np.clip(residual, -self._tamed_at, self._tamed_at)
        explained = tame @ self._precision
        classes = self.classes if probabilities.shape[1] == self.classes else 0
        known = self.reference.probabilities[nearest]
        return Scores(
            z=z,
            present=present,
            step=np.where(stepped, step, 0.0),
            stepped=stepped,
            equal=equal,
            place=self._places(rows, present),
            residual=residual,
            relation=np.clip(explained / np.sqrt(np.diag(self._precision)), -10, 10),
            jump=np.where(stepped, jump, 0.0),
            distance=np.log(np.maximum((explained * tame).sum(axis=1), 0) / z.shape[1] + 0.05),
            outside=self.limits.outside(rows) & present,
            probabilities=probabilities[:, :classes],
            surprise=probabilities[:, :classes] - known[:, :classes],
        )

    def _places(self, rows: Matrix, present: Mask) -> NDArray[np.int64]:
        places = np.empty(rows.shape, dtype=np.int64)
        for column in range(rows.shape[1]):
            places[:, column] = np.searchsorted(self.grid[:, column], rows[:, column], side="left")
        return np.where(present, places, len(GRID) + 1)


def _pairs(z: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of inputs whose correlation is watched: all, or the most correlated in training."""
    i, j = np.triu_indices(z.shape[1], 1)
    if len(i) > MOST_PAIRS:
        deviation = z - z.mean(axis=0)
        size = np.sqrt((deviation**2).mean(axis=0)) + 1e-3
        strength = np.abs((deviation.T @ deviation / len(z) / np.outer(size, size))[i, j])
        chosen = np.sort(np.argsort(-strength, kind="stable")[:MOST_PAIRS])
        i, j = i[chosen], j[chosen]
    return i.astype(np.int64), j.astype(np.int64)


class Limits:
    """The training range of each input with `SPARE` around it, and the values of inputs that have few.

    low, high: (k,). NaN is never outside: it is missing.
    """

    def __init__(self, rows: Matrix) -> None:
        self.low, self.high = _with_spare(np.nanmin(rows, axis=0), np.nanmax(rows, axis=0))
        self.few: dict[int, NDArray[np.float64]] = {}
        for column in range(rows.shape[1]):
            known = rows[~np.isnan(rows[:, column]), column]
            if not (known == np.rint(known)).all():
                continue
            values = np.unique(known)
            if 1 < len(values) <= FEW_VALUES and len(rows) >= 5 * len(values):
                self.few[column] = values

    def outside(self, rows: Matrix) -> Mask:
        """(n, k): out of the range, or, for an input of few whole numbers, none of these."""
        found = (rows < self.low) | (rows > self.high)
        for column, values in self.few.items():
            at = np.minimum(np.searchsorted(values, rows[:, column]), len(values) - 1)
            found[:, column] = (values[at] != rows[:, column]) & ~np.isnan(rows[:, column])
        return found

    def outside_others(self, rows: Matrix, gap: int) -> Mask:
        """(n, k) for the training rows: out of the range of all that are `gap` rows away or more."""
        n, k = rows.shape
        low, high = np.full((n + 1, k), np.inf), np.full((n + 1, k), -np.inf)
        after_low, after_high = low.copy(), high.copy()
        low[1:], high[1:] = np.fmin.accumulate(rows), np.fmax.accumulate(rows)
        after_low[:-1], after_high[:-1] = np.fmin.accumulate(rows[::-1])[::-1], np.fmax.accumulate(rows[::-1])[::-1]
        before, after = np.maximum(np.arange(n) - gap + 1, 0), np.minimum(np.arange(n) + gap, n)
        least, most = np.fmin(low[before], after_low[after]), np.fmax(high[before], after_high[after])
        known = np.isfinite(least) & np.isfinite(most)
        least, most = _with_spare(np.where(known, least, self.low), np.where(known, most, self.high))
        found = (rows < least) | (rows > most)
        found[:, list(self.few)] = False
        return found


def _with_spare(low: Matrix, high: Matrix) -> tuple[Matrix, Matrix]:
    room = SPARE * (high / 2 - low / 2) * 2
    room = np.where(room > 0, room, 1e-6 * np.abs(high))
    return low - room, high + room


def _moments(rows: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation; of a constant, a millionth of its size."""
    size = np.maximum(np.nanmax(np.abs(rows), axis=0), 1e-300)
    mean, std = np.nanmean(rows / size, axis=0), np.nanstd(rows / size, axis=0)
    return mean * size, np.where(std > 1e-9, std, 1e-6) * size


def _lines(z: Matrix) -> Matrix:
    """(k, k): z times it is what the other inputs do not explain of each, in its standard deviation."""
    covariance = np.atleast_2d(np.cov(z.T, bias=True)) + 1e-4 * np.eye(z.shape[1])
    precision = np.linalg.inv(covariance)
    return np.asarray(precision / np.sqrt(np.diag(precision)))


def _tamed(residual: Matrix) -> Matrix:
    """Clipped to the 99 % quantile of its size, input by input: what a few odd rows do must not set a scale."""
    bound = np.quantile(np.abs(residual), 0.99, axis=0)
    return np.clip(residual, -bound, bound)
