"""What a window is compared with: real training rows in time order, with what was predicted for them.

`rig.train` makes it with `make_reference`, the bundle keeps it as `drift.npz`, `check` and `rows` work from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.blocks import block_length
from mlflow_hydraulic.errors import BadInput

MOST_ROWS = 4000
MOST_CELLS = 1_000_000  # 8 MB
FEWEST_ROWS = 30
PIECES = 8  # a series that is too long is kept as so many stretches, spread over its time


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Training rows in time order.

    rows: float64 (n, k), NaN where a cell was missing. run: (n,), the number of the stretch of alike conditions.
    breaks: (n,), rows that do not follow the row before them in time. importance: (k,), 0 and up, sum 1.
    predicted: (n,), positions in the model's labels, -1 unknown. probabilities: (n, c), c = 0 for a regression or
    unknown; both out of fold: what the model says of rows that it has not seen.
    block: how long the series remembers, in rows (`blocks.block_length`, the longest of all inputs).
    """

    rows: NDArray[np.float64]
    run: NDArray[np.int64]
    breaks: NDArray[np.bool_]
    importance: NDArray[np.float64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    names: tuple[str, ...]
    block: float = field(default=1.0)

    def __len__(self) -> int:
        return len(self.rows)


KINDS = {
    "rows": "f",
    "run": "i",
    "breaks": "b",
    "importance": "f",
    "predicted": "i",
    "probabilities": "f",
    "block": "f",
}


def make_reference(
    rows: NDArray[np.float64],
    names: Sequence[str],
    *,
    run: NDArray[np.int64] | None = None,
    importance: NDArray[np.float64] | None = None,
    predicted: NDArray[np.int64] | None = None,
    probabilities: NDArray[np.float64] | None = None,
) -> Reference:
    """The reference of training rows in time order; a long series is cut to `PIECES` stretches spread over it.

    run: None where conditions never change. Raises `BadInput` for fewer than `FEWEST_ROWS` rows, shapes that do not
    fit, infinity, or an input without a single number.
    """
    rows = np.asarray(rows, dtype=np.float64)
    n, k = rows.shape if rows.ndim == 2 else (0, 0)
    if n < FEWEST_ROWS or k < 1 or k != len(names):
        raise BadInput(
            f"training rows of shape {rows.shape} for {len(names)} inputs: drift needs {FEWEST_ROWS} rows at least"
        )
    if np.isinf(rows).any() or np.isnan(rows).all(axis=0).any():
        raise BadInput("training rows: hold infinity, or an input without a single number; mend or drop it")
    keep = kept_rows(n, k)
    breaks = np.zeros(len(keep), dtype=bool)
    breaks[1:] = np.diff(keep) != 1
    weight = np.zeros(k) if importance is None else np.clip(np.asarray(importance, dtype=np.float64), 0, None)
    chosen = rows[keep]
    return _checked(
        Reference(
            rows=chosen,
            run=np.zeros(len(keep), dtype=np.int64) if run is None else np.asarray(run, dtype=np.int64)[keep],
            breaks=breaks,
            importance=weight / weight.sum() if weight.sum() > 0 else np.full(k, 1 / k),
            predicted=np.full(len(keep), -1) if predicted is None else np.asarray(predicted, dtype=np.int64)[keep],
            probabilities=np.empty((len(keep), 0))
            if probabilities is None
            else np.asarray(probabilities, dtype=np.float64)[keep],
            names=tuple(names),
            block=longest_block(chosen, breaks),
        )
    )


def kept_rows(n: int, k: int) -> NDArray[np.int64]:
    """Which of `n` rows of `k` inputs are kept: all, or `PIECES` stretches of equal length spread over the series."""
    room = max(min(MOST_ROWS, MOST_CELLS // k), FEWEST_ROWS)
    if n <= room:
        return np.arange(n)
    length = room // PIECES
    starts = np.linspace(0, n - length, PIECES).astype(np.int64)
    return np.unique((starts[:, None] + np.arange(length)).ravel())


def longest_block(rows: NDArray[np.float64], breaks: NDArray[np.bool_]) -> float:
    return max(block_length(rows[:, column], breaks) for column in range(rows.shape[1]))


def to_arrays(reference: Reference) -> dict[str, NDArray[np.generic]]:
    """What is stored; `from_arrays` reads it back."""
    return {name: np.asarray(getattr(reference, name)) for name in KINDS}


def from_arrays(arrays: Mapping[str, NDArray[np.generic]], names: Sequence[str]) -> Reference:
    """The reference of stored arrays; `BadInput` says which of them is missing or does not fit."""
    for name, kind in KINDS.items():
        if name not in arrays or arrays[name].dtype.kind != kind:
            raise BadInput(f"reference: the array {name!r} is missing or holds something else than it should")
    rows = np.asarray(arrays["rows"], dtype=np.float64)
    breaks = np.asarray(arrays["breaks"], dtype=np.bool_)
    if rows.ndim != 2 or rows.shape[1] != len(names) or len(rows) < FEWEST_ROWS or breaks.shape != rows.shape[:1]:
        raise BadInput(f"reference: rows have shape {rows.shape}: must be ({FEWEST_ROWS} or more, {len(names)})")
    return _checked(
        Reference(
            rows=rows,
            run=np.asarray(arrays["run"], dtype=np.int64),
            breaks=breaks,
            importance=np.asarray(arrays["importance"], dtype=np.float64),
            predicted=np.asarray(arrays["predicted"], dtype=np.int64),
            probabilities=np.asarray(arrays["probabilities"], dtype=np.float64),
            names=tuple(names),
            block=float(np.nan_to_num(arrays["block"].astype(np.float64).max(initial=1.0), nan=1.0).clip(1, len(rows))),
        )
    )


def _checked(reference: Reference) -> Reference:
    n, k = reference.rows.shape
    shapes = {"run": (n,), "predicted": (n,), "importance": (k,)}
    for name, shape in shapes.items():
        if getattr(reference, name).shape != shape:
            raise BadInput(f"reference: {name} has shape {getattr(reference, name).shape}: must be {shape}")
    if reference.probabilities.ndim != 2 or len(reference.probabilities) != n:
        raise BadInput(f"reference: probabilities have shape {reference.probabilities.shape}: must be ({n}, labels)")
    if not np.isfinite(reference.importance).all() or (reference.importance < 0).any():
        raise BadInput("reference: an importance is negative or no number")
    if np.isinf(reference.rows).any() or np.isnan(reference.rows).all(axis=0).any():
        raise BadInput("reference: rows hold infinity, or an input without a single number")
    return reference
