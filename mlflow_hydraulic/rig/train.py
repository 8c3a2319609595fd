"""Training: features, choice of the model, honest evaluation, and the final fit on all cycles.

Called by `hydraulic train`; what it returns is logged by the plugin. How the choice is kept honest: docs/training.md.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mlflow_hydraulic.drift.reference import FEWEST_ROWS, Reference, make_reference
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.rig.candidates import candidates_for
from mlflow_hydraulic.rig.choice import Progress, Steps, choose, fits_of
from mlflow_hydraulic.rig.features import features_of
from mlflow_hydraulic.rig.folds import OutOfFold, Table
from mlflow_hydraulic.rig.importance import permutation_importance
from mlflow_hydraulic.rig.measures import Interval, measure
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.rig.sensors import Condition, condition
from mlflow_hydraulic.schema import Schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlflow_hydraulic.rig.cycles import Cycles

BACKGROUND_ROWS = 300


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one scheme found. probabilities: out of fold, shape (n, classes); fold: shape (n,)."""

    measures: dict[str, Interval]
    probabilities: NDArray[np.float64]
    fold: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model with the evidence for it.

    chosen: name of the candidate. evaluations: of the chosen one, by scheme (`SCHEMES`).
    nested: by scheme, measures of the whole procedure with the choice made anew in each fold; empty if not asked for.
    nested_choices: by scheme, what each fold chose.
    truth: class numbers, shape (n,), positions in `model.schema.labels`.
    candidates: one row each: candidate, accuracy by unseen runs and by contiguous time, seconds.
    importance: feature, importance, spread. timings_s: seconds of each part.
    """

    model: HydraulicModel
    target: str
    chosen: str
    seed: int
    evaluations: dict[str, Evaluation]
    nested: dict[str, dict[str, Interval]]
    nested_choices: dict[str, list[str]]
    truth: NDArray[np.int64]
    candidates: pd.DataFrame
    importance: pd.DataFrame
    features: pd.DataFrame
    timings_s: dict[str, float]

    def confusion(self, scheme: str = "unseen_runs") -> NDArray[np.int64]:
        """Counts, shape (classes, classes): true class by row, predicted class by column."""
        k = len(self.model.schema.labels)
        predicted = self.evaluations[scheme].probabilities.argmax(axis=1)
        return np.bincount(self.truth * k + predicted, minlength=k * k).reshape(k, k)

    def predictions(self) -> pd.DataFrame:
        """One row a cycle: the true label, and by scheme the fold, the predicted label and its probability."""
        labels = np.array(self.model.schema.labels)
        columns: dict[str, NDArray[np.generic]] = {"truth": labels[self.truth]}
        for scheme, found in self.evaluations.items():
            columns[f"{scheme}.fold"] = found.fold
            columns[f"{scheme}.predicted"] = labels[found.probabilities.argmax(axis=1)]
            columns[f"{scheme}.probability"] = found.probabilities.max(axis=1)
        frame: pd.DataFrame = pd.DataFrame(columns)
        return frame


def train(
    cycles: Cycles,
    *,
    target: str,
    features: str | None = None,
    seed: int = 0,
    candidates: tuple[str, ...] | None = None,
    nested_choice: bool = True,
    progress: Progress | None = None,
) -> TrainingResult:
    """Choose a model of `target` by unseen runs, evaluate it, and fit it on all cycles.

    features: "means" or "statistics"; None: means for `cool_cond_y`, statistics for the other targets.
    candidates: names to choose from; None: `candidates_for` the number of classes.
    The same cycles, seed and versions of the libraries give the same model to the bit, whatever the number of
    processors: linear algebra and forests run on one thread. `BadInput` says what the cycles lack.
    """
    clock = _Clock()
    goal = condition(target)
    transformer = features_of(features or default_features(target))
    frame = transformer.fit_transform(cycles)
    labels, table = _table(cycles, goal, frame)
    contenders = candidates_for(len(labels), candidates)
    clock.lap("features")
    nested_choice = nested_choice and len(contenders) > 1
    step = Steps(fits_of(len(contenders), nested_choice=nested_choice) + 1, progress)
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # A statistic of a sensor that stands still (PS4 = 0) depends on the others; discriminant analysis says so.
        warnings.filterwarnings("ignore", "Variables are collinear", UserWarning)
        found = choose(contenders, table, seed=seed, nested_choice=nested_choice, step=step)
        clock.lap("choice")
        estimator = found.chosen.make(seed).fit(frame, labels[table.y])
        step()
        clock.lap("final_fit")
        importance = permutation_importance(found.out["unseen_runs"], table, list(frame.columns), seed=seed)
    clock.lap("importance")
    model = HydraulicModel(
        estimator=estimator,
        schema=Schema(inputs=transformer.fields(), target=target, labels=tuple(labels.tolist())),
        features=features or default_features(target),
        origin=cycles.origin,
        background=background(frame, table.y),
        reference=reference(frame, table.run, importance, found.out["unseen_runs"]),
    )
    evaluations = {
        scheme: Evaluation(
            measures=measure(table.y, out.probabilities, table.run, seed=seed),
            probabilities=out.probabilities,
            fold=out.fold,
        )
        for scheme, out in found.out.items()
    }
    whole = {name: measure(table.y, value, table.run, seed=seed) for name, value in found.nested.items()}
    clock.lap("intervals")
    return TrainingResult(
        model=model,
        target=target,
        chosen=found.chosen.name,
        seed=seed,
        evaluations=evaluations,
        nested=whole,
        nested_choices=found.nested_choices,
        truth=table.y,
        candidates=found.table,
        importance=importance,
        features=frame,
        timings_s=clock.laps,
    )


def default_features(target: str) -> str:
    """The tutorial's means tell the cooler; the other conditions need what happens within a cycle."""
    return "means" if target == "cool_cond_y" else "statistics"


def background(frame: pd.DataFrame, y: NDArray[np.int64], rows: int = BACKGROUND_ROWS) -> pd.DataFrame:
    """About `rows` rows of `frame`, each class by its share, spread evenly over its cycles in time."""
    chosen = []
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        take = min(len(members), max(1, round(rows * len(members) / len(y))))
        chosen.append(members[np.linspace(0, len(members) - 1, take).astype(np.int64)])
    spread: pd.DataFrame = frame.iloc[np.sort(np.concatenate(chosen))].reset_index(drop=True)
    return spread


def reference(
    frame: pd.DataFrame, run: NDArray[np.int64], importance: pd.DataFrame, unseen: OutOfFold
) -> Reference | None:
    """What drift is judged by; None for fewer cycles than it needs.

    Predictions are those for unseen runs: of rows that it learned from, a model is surer than of any that come.
    """
    if len(frame) < FEWEST_ROWS:
        return None
    return make_reference(
        frame.to_numpy(dtype=np.float64),
        [str(name) for name in frame.columns],
        run=run,
        importance=importance.set_index("feature")["importance"].reindex(frame.columns).to_numpy(dtype=np.float64),
        predicted=unseen.probabilities.argmax(axis=1),
        probabilities=unseen.probabilities,
    )


def _table(cycles: Cycles, goal: Condition, frame: pd.DataFrame) -> tuple[NDArray[np.int64], Table]:
    if cycles.conditions is None or cycles.run is None:
        raise BadInput(
            f"{cycles.source} has no labels, so nothing can be learned from it: "
            "give data with its profile (profile.csv or profile.txt beside the sensors)"
        )
    labels, y = np.unique(cycles.conditions[goal.column].to_numpy(dtype=np.int64), return_inverse=True)
    if len(labels) < 2:
        raise BadInput(
            f"{cycles.source}: {goal.column} is {labels.tolist()} in all {len(y)} cycles: "
            "training needs two classes at least; give more cycles"
        )
    return labels, Table(x=frame.to_numpy(), y=y, run=cycles.run, classes=len(labels))


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.since = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self.since
        self.since = now
