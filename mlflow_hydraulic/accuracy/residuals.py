"""Whether errors grow: the loss of late rows against that of early ones, in blocks. Pure; called by the monitor.

A permutation of whole blocks says how large a difference chance makes where nothing changed: exact for exchangeable
blocks (E. J. G. Pitman, 1937), and no distribution of the losses is assumed. The change point is where the cumulative
sum of the losses' deviation is largest (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlflow_hydraulic.accuracy.measures import SEED, Values, blocks

PERMUTATIONS = 9999  # so that p can be as small as a look's share of the budget
FEWEST_BLOCKS = 8
MOST_BLOCKS = 200  # bounds the time; longer blocks lose nothing that matters


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """p_value: of a rise as large by chance. change: row from which losses differ; before, after: their means there."""

    p_value: float
    change: int
    before: float
    after: float

    @property
    def rise(self) -> float:
        return self.after - self.before


def residual_drift(losses: Values, *, block_rows: int = 1, seed: int = SEED) -> Residuals | None:
    """Whether losses (shape (n,), in time order) rise somewhere; None where fewer than 8 blocks leave nothing to tell.

    The statistic is the largest rise of the cumulative sum over all change points, so the point is searched within the
    test and not before it.
    """
    longest = -(-len(losses) // MOST_BLOCKS)
    block = blocks(len(losses), max(block_rows, longest)) if len(losses) else np.zeros(0, dtype=np.int64)
    if not len(block) or block[-1] + 1 < FEWEST_BLOCKS:
        return None
    count = np.bincount(block)
    means = np.bincount(block, weights=losses) / count
    rng = np.random.default_rng(seed)
    seen, at = _largest(means[None, :])
    shuffled = rng.permuted(np.repeat(means[None, :], PERMUTATIONS, axis=0), axis=1)
    largest, _ = _largest(shuffled)
    change = int(count[: int(at[0]) + 1].sum())
    return Residuals(
        p_value=float((1 + np.sum(largest >= seen[0] - 1e-12)) / (PERMUTATIONS + 1)),
        change=change,
        before=float(losses[:change].mean()),
        after=float(losses[change:].mean()),
    )


def _largest(means: Values) -> tuple[Values, Values]:
    """For each row of block means: the largest standardised rise from before to after, and the last block before it."""
    rows = means.shape[1]
    before = np.arange(1, rows)
    total = means.cumsum(axis=1)
    early = total[:, :-1] / before
    late = (total[:, -1:] - total[:, :-1]) / (rows - before)
    rise = (late - early) * np.sqrt(before * (rows - before) / rows)
    at = rise.argmax(axis=1)
    return rise[np.arange(len(rise)), at], at
