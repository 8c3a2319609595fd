"""The three ways of splitting cycles, and out-of-fold predictions by them; called by `train`.

unseen_runs: five folds, each run (block of cycles under the same conditions) wholly in one. A model is chosen by it.
contiguous_time: five stretches of the record, each predicted from the other four: the back-test.
random_split: five random folds. Neighbouring cycles are nearly the same, so it is optimistic and only for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from mlflow_hydraulic.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from mlflow_hydraulic.rig.candidates import Candidate

    Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

FOLDS = 5
INNER_FOLDS = 3
SCHEMES = {
    "unseen_runs": "unseen runs",
    "contiguous_time": "contiguous time",
    "random_split": "random split (optimistic)",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """What estimators are fitted on: features (n, k), class numbers (n,), runs (n,), in the order of time."""

    x: NDArray[np.float64]
    y: NDArray[np.int64]
    run: NDArray[np.int64]
    classes: int

    def rows(self, index: NDArray[np.int64]) -> Table:
        return Table(x=self.x[index], y=self.y[index], run=self.run[index], classes=self.classes)


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """Predictions of each cycle by a model that did not see its fold.

    probabilities: shape (n, classes), 0 for a class that the fold's training part lacks.
    fold: shape (n,). estimators: one of each fold.
    """

    probabilities: NDArray[np.float64]
    fold: NDArray[np.int64]
    estimators: list[BaseEstimator] = field(repr=False)


def folds_of(scheme: str, table: Table, *, seed: int, folds: int = FOLDS) -> list[Fold]:
    """Pairs of row numbers (training, held out); `BadInput` where a training part would hold one class only."""
    held = len(np.unique(table.run))
    if held < folds:
        raise BadInput(f"the cycles come from {held} runs: cross-validation by run needs at least {folds}; give more")
    if scheme == "unseen_runs":
        pairs = list(GroupKFold(folds).split(table.x, table.y, table.run))
    elif scheme == "contiguous_time":
        pairs = list(KFold(folds).split(table.x))
    else:
        smallest = int(np.bincount(table.y).min())
        if smallest < folds:
            raise BadInput(f"a class has {smallest} cycles: cross-validation needs at least {folds}; give more")
        pairs = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(table.x, table.y))
    if any(len(np.unique(table.y[train])) < 2 for train, _ in pairs):
        raise BadInput(
            f"{SCHEMES[scheme]}: one of {folds} folds leaves a single class to train on; "
            "give cycles of more runs of each class"
        )
    return pairs


def predict_out_of_fold(
    candidate: Candidate, table: Table, pairs: list[Fold], *, seed: int, step: Callable[[], None]
) -> OutOfFold:
    """Fit `candidate` once a fold; `step` is called after each fit."""
    probabilities = np.zeros((len(table.y), table.classes))
    fold = np.empty(len(table.y), dtype=np.int64)
    estimators = []
    for number, (train, held_out) in enumerate(pairs):
        estimator = candidate.make(seed).fit(table.x[train], table.y[train])
        probabilities[np.ix_(held_out, estimator.classes_)] = estimator.predict_proba(table.x[held_out])
        fold[held_out] = number
        estimators.append(estimator)
        step()
    return OutOfFold(probabilities=probabilities, fold=fold, estimators=estimators)


def accuracy_of(out: OutOfFold, truth: NDArray[np.int64]) -> float:
    return float((out.probabilities.argmax(axis=1) == truth).mean())


def nested(
    candidates: tuple[Candidate, ...],
    table: Table,
    pairs: list[Fold],
    outer: dict[str, OutOfFold],
    *,
    seed: int,
    step: Callable[[], None],
) -> tuple[NDArray[np.float64], list[str]]:
    """Probabilities of the whole procedure, the choice included, and what each fold chose.

    In each fold the candidate is chosen anew, by unseen runs of that fold's training part alone (S. Varma and
    R. Simon, BMC Bioinformatics 7:91, 2006): no held-out cycle has a say in the choice of the model that predicts it.
    """
    probabilities = np.empty((len(table.y), table.classes))
    chosen = []
    for train, held_out in pairs:
        part = table.rows(train)
        inner = folds_of("unseen_runs", part, seed=seed, folds=INNER_FOLDS)
        scores = {
            candidate.name: accuracy_of(predict_out_of_fold(candidate, part, inner, seed=seed, step=step), part.y)
            for candidate in candidates
        }
        best = max(scores, key=lambda name: scores[name])
        probabilities[held_out] = outer[best].probabilities[held_out]
        chosen.append(best)
    return probabilities, chosen
