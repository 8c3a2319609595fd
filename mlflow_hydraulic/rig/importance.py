"""How much a fitted model leans on each feature: permutation importance on cycles that it did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlflow_hydraulic.rig.folds import OutOfFold, Table

ROWS = 150  # of each fold: what the figure needs, in a second or two
BATCH = 32  # features permuted in one call of `predict`


def permutation_importance(out: OutOfFold, table: Table, names: Sequence[str], *, seed: int) -> pd.DataFrame:
    """Fall in accuracy when one feature's values are shuffled (L. Breiman, "Random forests", 2001).

    A frame of `feature`, `importance` (mean over the folds) and `spread` (standard deviation over the folds), the
    largest first. Features that say the same share their importance: a low value does not mean "of no use".
    """
    random = np.random.default_rng(seed)
    falls = []
    for number, estimator in enumerate(out.estimators):
        rows = np.flatnonzero(out.fold == number)
        rows = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(np.int64)]
        falls.append(_falls(estimator, table.x[rows], table.y[rows], random.permutation(len(rows))))
    frame = pd.DataFrame(
        {"feature": list(names), "importance": np.mean(falls, axis=0), "spread": np.std(falls, axis=0)}
    )
    ordered: pd.DataFrame = frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    return ordered


def _falls(
    estimator: object, x: NDArray[np.float64], y: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The fall for each feature, shape (k,)."""
    before = (estimator.predict(x) == y).mean()  # type: ignore[attr-defined]  # scikit-learn ships no types
    falls = np.empty(x.shape[1])
    for start in range(0, x.shape[1], BATCH):
        columns = np.arange(start, min(start + BATCH, x.shape[1]))
        copies = np.repeat(x[None], len(columns), axis=0)
        copies[np.arange(len(columns))[:, None], np.arange(len(x)), columns[:, None]] = x[order][:, columns].T
        labels = estimator.predict(copies.reshape(-1, x.shape[1]))  # type: ignore[attr-defined]
        falls[columns] = before - (labels.reshape(len(columns), -1) == y).mean(axis=1)
    return falls
