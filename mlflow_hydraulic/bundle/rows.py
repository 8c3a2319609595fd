"""The rows on which a certificate compares Python with the graph: training, random, decision borders, tree thresholds.

All are made from the background rows, the estimator and a seed, so that anybody can make them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Rows = NDArray[np.float64]
Labels = Callable[[Rows], NDArray[np.object_]]

RANDOM_ROWS = 2000
BORDER_PAIRS = 200
THRESHOLDS = 300
STRETCH = 0.2  # of the box between the 1 % and the 99 % quantile, to each side
HALVINGS = 80  # enough for neighbours: a double has 53 bits


def groups(estimator: BaseEstimator, labels: Labels, background: Rows, seed: int) -> Iterator[tuple[str, Rows]]:
    """(name, rows) of each group; rows are float64 (n, k), n may be 0 (no border found, no trees)."""
    streams = [np.random.default_rng([seed, number]) for number in range(4)]
    yield "training", background
    uniform = uniform_rows(background, streams[0])
    yield "uniform", uniform
    yield "normal", normal_rows(background, streams[1])
    yield "borders", border_rows(labels, np.concatenate([background, uniform]), streams[2])
    yield "thresholds", threshold_rows(estimator, background, streams[3])


def uniform_rows(background: Rows, stream: np.random.Generator) -> Rows:
    """Rows spread evenly over the box between the 1 % and 99 % quantiles, stretched by 20 % to each side."""
    low, high = np.quantile(background, [0.01, 0.99], axis=0)
    room = STRETCH * (high - low)
    rows: Rows = stream.uniform(low - room, high + room, size=(RANDOM_ROWS, background.shape[1]))
    return rows


def normal_rows(background: Rows, stream: np.random.Generator) -> Rows:
    """Rows with each column's mean and standard deviation, columns independent."""
    noise = stream.normal(size=(RANDOM_ROWS, background.shape[1]))
    rows: Rows = background.mean(axis=0) + noise * background.std(axis=0)
    return rows


def border_rows(labels: Labels, rows: Rows, stream: np.random.Generator) -> Rows:
    """Pairs of rows of different label, halved until the two are neighbours in float64: (2 * pairs, k)."""
    found = labels(rows)
    first = stream.integers(0, len(rows), size=20 * BORDER_PAIRS)
    second = stream.integers(0, len(rows), size=20 * BORDER_PAIRS)
    differ = np.flatnonzero(found[first] != found[second])[:BORDER_PAIRS]
    a, b = rows[first[differ]], rows[second[differ]]
    label = found[first[differ]]
    if not len(a):
        return np.empty((0, rows.shape[1]))
    for _ in range(HALVINGS):
        middle = a + (b - a) / 2
        if np.all((middle == a).all(axis=1) | (middle == b).all(axis=1)):
            break
        stays = (labels(middle) == label)[:, None]
        a, b = np.where(stays, middle, a), np.where(stays, b, middle)
    return np.concatenate([a, b])


def threshold_rows(estimator: BaseEstimator, background: Rows, stream: np.random.Generator) -> Rows:
    """Background rows with one input exactly at a tree's threshold, and one ulp of float64 and float32 beside it."""
    splits = _splits(estimator)
    if not len(splits):
        return np.empty((0, background.shape[1]))
    chosen = splits[stream.permutation(len(splits))[:THRESHOLDS]]
    threshold, single = chosen[:, 1], chosen[:, 1].astype(np.float32)
    values = [threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf)]
    values += [single, np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))]
    rows = np.tile(background[stream.integers(0, len(background), size=len(chosen))], (len(values), 1))
    columns = np.tile(chosen[:, 0].astype(np.intp), len(values))
    rows[np.arange(len(rows)), columns] = np.concatenate(values)
    return rows


def _splits(estimator: BaseEstimator) -> Rows:
    """(column, threshold) of every inner node of every tree that reads the inputs themselves, shape (splits, 2)."""
    members = np.ravel(np.asarray(getattr(estimator, "estimators_", [estimator]), dtype=object))
    trees = [member.tree_ for member in members if hasattr(member, "tree_")]
    parts: list[Rows] = [np.column_stack([tree.feature, tree.threshold])[tree.feature >= 0] for tree in trees]
    return np.unique(np.concatenate(parts), axis=0) if parts else np.empty((0, 2))
