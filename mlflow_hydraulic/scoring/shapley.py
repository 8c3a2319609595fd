"""Shapley values: how much each input moved each output away from the base value. Used by `scoring.explaining`.

Model-agnostic, by sampling permutations in antithetic pairs against background rows; exact, by all coalitions, for at
most ten inputs. An input that is not in a coalition takes its value from a background row.

E. Štrumbelj, I. Kononenko, "Explaining prediction models and individual predictions with feature contributions",
Knowledge and Information Systems 41, 2014, doi:10.1007/s10115-013-0679-x.
R. Mitchell, J. Cooper, E. Frank, G. Holmes, "Sampling permutations for Shapley value estimation", JMLR 23, 2022.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from math import factorial

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.scoring.values import Cells, FloatMatrix

Outputs = Callable[[Cells], FloatMatrix]  # (n, inputs) -> (n, outputs)

EXACT_INPUTS = 10
PAIRS = 64  # pairs of permutations a row, each against one background row
BATCH_ROWS = 4096


def shapley_values(
    outputs: Outputs, cells: Cells, background: Cells, *, seed: int = 0, pairs: int = PAIRS
) -> FloatMatrix:
    """Contributions of each row of `cells`: shape (n, outputs, inputs + 1); the last column is the base value.

    The base value is the mean output over the background; inputs and base value add up to the row's output, to
    rounding. The same row, background and seed give the same values, whatever other rows are asked with it.
    """
    base = np.concatenate([outputs(part) for part in _batches(background)]).mean(axis=0)
    explain = _exact if cells.shape[1] <= EXACT_INPUTS else _sampled
    values = []
    for row in cells:
        values.append(_closed(explain(outputs, row, background, seed, pairs), outputs(row[None, :])[0], base))
    return np.stack(values)


def _sampled(outputs: Outputs, row: Cells, background: Cells, seed: int, pairs: int) -> FloatMatrix:
    """Mean marginal contribution over `pairs` permutations and their reverses; shape (outputs, inputs)."""
    inputs = len(row)
    generator = np.random.default_rng(_seed(row, seed))
    starts = _spread(generator, len(background), pairs)
    total: FloatMatrix | None = None
    walks_at_once = max(1, BATCH_ROWS // (inputs + 1) // 2)
    for first in range(0, pairs, walks_at_once):
        chunk = starts[first : first + walks_at_once]
        orders = [generator.permutation(inputs) for _ in chunk]
        walks = [(order, start) for order, start in zip(orders, chunk, strict=True)]
        walks += [(order[::-1], start) for order, start in walks]
        rows = np.concatenate([_walk(row, background[start], order) for order, start in walks])
        steps = np.diff(outputs(rows).reshape(len(walks), inputs + 1, -1), axis=1)
        if total is None:
            total = np.zeros((steps.shape[2], inputs))
        for (order, _), step in zip(walks, steps, strict=True):
            total[:, order] += step.T
    if total is None:
        raise ValueError("pairs must be 1 or more")
    return total / (2 * pairs)


def _exact(outputs: Outputs, row: Cells, background: Cells, seed: int, pairs: int) -> FloatMatrix:
    """All coalitions against a sample of at most `pairs` background rows; shape (outputs, inputs)."""
    inputs = len(row)
    generator = np.random.default_rng(_seed(row, seed))
    chosen = background if len(background) <= pairs else background[_spread(generator, len(background), pairs)]
    members = (np.arange(2**inputs)[:, None] >> np.arange(inputs)) & 1 == 1
    worth = np.stack([outputs(np.where(member, row, chosen)).mean(axis=0) for member in members])
    weight = np.array([factorial(size) * factorial(inputs - size - 1) / factorial(inputs) for size in range(inputs)])
    values = np.empty((worth.shape[1], inputs))
    for column in range(inputs):
        without = np.flatnonzero(~members[:, column])
        gain = worth[without + (1 << column)] - worth[without]
        values[:, column] = weight[members[without].sum(axis=1)] @ gain
    return values


def _closed(values: FloatMatrix, output: NDArray[np.float64], base: NDArray[np.float64]) -> FloatMatrix:
    """Values with the base value, made to add up: background rows that were not drawn leave a small remainder.

    It is shared among the inputs by the size of their values, so that an input without influence keeps zero.
    """
    remainder = output - base - values.sum(axis=1)
    size = np.abs(values)
    total = size.sum(axis=1, keepdims=True)
    share = np.divide(size, total, out=np.full_like(size, 1 / size.shape[1]), where=total > 0)
    return np.column_stack([values + share * remainder[:, None], base])


def _walk(row: Cells, start: Cells, order: NDArray[np.intp]) -> Cells:
    """Rows from `start` to `row`, one more input taken over at each step in the given order."""
    rows = np.repeat(start[None, :], len(order) + 1, axis=0)
    for step, column in enumerate(order):
        rows[step + 1 :, column] = row[column]
    return rows


def _spread(generator: np.random.Generator, rows: int, wanted: int) -> NDArray[np.intp]:
    """`wanted` row numbers, each row drawn as often as any other, give or take one."""
    rounds = -(-wanted // rows)
    return np.concatenate([generator.permutation(rows) for _ in range(rounds)])[:wanted]


def _seed(row: Cells, seed: int) -> int:
    content = row.tobytes() if row.dtype != object else repr(row.tolist()).encode()
    return int.from_bytes(hashlib.sha256(seed.to_bytes(8, "big") + content).digest()[:8], "big")


def _batches(rows: Cells) -> Iterator[Cells]:
    for first in range(0, len(rows), BATCH_ROWS):
        yield rows[first : first + BATCH_ROWS]
