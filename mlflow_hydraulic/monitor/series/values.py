"""One column of what a model was asked or said, with the same of training: what is drawn by `columns` and `names`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.reference import Reference
from mlflow_hydraulic.monitor.series.chart import Chart, numbers
from mlflow_hydraulic.monitor.series.sample import Sample
from mlflow_hydraulic.record.values import Window


@dataclass(frozen=True, kw_only=True, eq=False)
class Values:
    """One column. values: (n,) numbers, or texts. training: the same of training rows; None where nobody knows."""

    name: str
    unit: str
    values: NDArray[np.float64] | NDArray[np.str_]
    training: NDArray[np.float64] | NDArray[np.str_] | None

    @property
    def numeric(self) -> bool:
        return self.values.dtype.kind == "f"

    @property
    def titled(self) -> str:
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    @property
    def training_words(self) -> str:
        return "" if self.training is not None else "Nothing is known of this column in training."


def outputs_of(window: Window) -> list[str]:
    """The names of what the model says: what it predicted, and the probability of each label."""
    schema = window.schema
    return [schema.target, *(probability(label) for label in schema.labels if window.probabilities is not None)]


def probability(label: object) -> str:
    return f"probability of {label}"


def values_of(window: Window, reference: Reference | None, name: str) -> Values | None:
    """The column of an input or an output; None where there is none of that name."""
    schema = window.schema
    for number, field in enumerate(schema.inputs):
        if field.name == name:
            if not field.numeric:
                words = window.categories.get(name, np.full(len(window), ""))
                return Values(name=name, unit="", values=texts(words), training=None)
            known = None if reference is None or name not in reference.names else reference
            training = None if known is None else known.rows[:, known.names.index(name)]
            return Values(name=name, unit=field.unit or "", values=window.inputs[:, number], training=training)
    if name == schema.target:
        return _predicted(window, reference)
    for number, label in enumerate(schema.labels):
        if name == probability(label) and window.probabilities is not None:
            known_rows = reference is not None and reference.probabilities.shape[1] == len(schema.labels)
            training = reference.probabilities[:, number] if reference is not None and known_rows else None
            return Values(name=name, unit="", values=window.probabilities[:, number], training=training)
    return None


def _predicted(window: Window, reference: Reference | None) -> Values:
    schema = window.schema
    if not schema.labels:
        return Values(name=schema.target, unit="", values=np.asarray(window.labels, dtype=np.float64), training=None)
    training = None
    if reference is not None and (known := reference.predicted[reference.predicted >= 0]).size:
        training = texts(np.array([str(one) for one in schema.labels])[known])
    return Values(name=schema.target, unit="", values=texts(window.labels), training=training)


def texts(values: NDArray[np.generic]) -> NDArray[np.str_]:
    return np.array(["" if one is None else str(one) for one in values.tolist()], dtype=str)


def share_heat(
    made: Sample, column: Values, x: list[float | str], shares: list[NDArray[np.float64]], rows: list[str]
) -> Chart:
    """Time x value. shares: of each stretch of time, shape (rows,); the first is training's where that is known."""
    first: list[float | str] = [] if column.training is None else ["training"]
    led = "the first column is training." if first else column.training_words
    return Chart(
        name="heat",
        title="Heatmap",
        says=f"Shares of the rows of each stretch of time, of {made.says}; {led}",
        x=[*first, *x],
        x_kind="name",
        y_title=column.titled,
        rows=rows,
        cells=[numbers([one[number] for one in shares]) for number in range(len(rows))],
        scale="share",
    )
