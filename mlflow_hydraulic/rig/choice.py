"""Which candidate becomes the model: the one with the highest accuracy on unseen runs, the first of equals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from mlflow_hydraulic.rig.folds import (
    FOLDS,
    INNER_FOLDS,
    SCHEMES,
    OutOfFold,
    Table,
    accuracy_of,
    folds_of,
    nested,
    predict_out_of_fold,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlflow_hydraulic.rig.candidates import Candidate

BACK_TESTS = ("unseen_runs", "contiguous_time")
Progress = Callable[[int, int], None]  # fits done, fits in all


class Steps:
    """Counts fits and tells `progress`."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen candidate; its predictions by scheme; of the nested choice: probabilities and choices by scheme."""

    chosen: Candidate
    out: dict[str, OutOfFold]
    table: pd.DataFrame
    nested: dict[str, NDArray[np.float64]]
    nested_choices: dict[str, list[str]]


def fits_of(candidates: int, *, nested_choice: bool) -> int:
    """How many fits `choose` makes."""
    inner = FOLDS * INNER_FOLDS * candidates if nested_choice else 0
    return len(BACK_TESTS) * (FOLDS * candidates + inner) + FOLDS


def choose(
    candidates: tuple[Candidate, ...], table: Table, *, seed: int, nested_choice: bool, step: Callable[[], None]
) -> Choice:
    """Cross-validate every candidate by both schemes and choose by unseen runs alone.

    With `nested_choice` the choice itself is tested too (`folds.nested`). With one candidate there is none.
    """
    folds = {scheme: folds_of(scheme, table, seed=seed) for scheme in SCHEMES}
    out: dict[str, dict[str, OutOfFold]] = {scheme: {} for scheme in BACK_TESTS}
    rows = []
    for candidate in candidates:
        started = time.perf_counter()
        for scheme in BACK_TESTS:
            out[scheme][candidate.name] = predict_out_of_fold(candidate, table, folds[scheme], seed=seed, step=step)
        accuracy = {scheme: accuracy_of(out[scheme][candidate.name], table.y) for scheme in BACK_TESTS}
        rows.append({"candidate": candidate.name, **accuracy, "seconds": time.perf_counter() - started})
    frame = pd.DataFrame(rows)
    chosen = candidates[int(frame["unseen_runs"].to_numpy().argmax())]
    best = {scheme: out[scheme][chosen.name] for scheme in BACK_TESTS}
    best["random_split"] = predict_out_of_fold(chosen, table, folds["random_split"], seed=seed, step=step)
    whole = {
        scheme: nested(candidates, table, folds[scheme], out[scheme], seed=seed, step=step)
        for scheme in (BACK_TESTS if nested_choice else ())
    }
    return Choice(
        chosen=chosen,
        out=best,
        table=frame,
        nested={scheme: probabilities for scheme, (probabilities, _) in whole.items()},
        nested_choices={scheme: names for scheme, (_, names) in whole.items()},
    )
