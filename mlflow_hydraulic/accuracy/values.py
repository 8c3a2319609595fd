"""The values of accuracy: a true value that arrived, labelled rows of one predictor, and how far labels reach.

Made by `reading`, the intake and Seldon's feedback; kept and joined by `store`; measured by `measures`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Label, Schema

LONGEST_ID = 256
MOST_ROWS = 2**31
END_OF_TIME = 9e9  # seconds since 1970: the year 2255; in nanoseconds it still fits a database's integer
UNKNOWN = -1  # the index of a class that the model was never told of


@dataclass(frozen=True, slots=True, kw_only=True)
class Actual:
    """What a predicted row turned out to be.

    id, row: the prediction id that the caller got, and the row's number in that request. value: a class label or a
    number. at: when it was determined, seconds since 1970, UTC; of two for one row the later one holds, whatever the
    order in which they arrive. source: who brought it ("file cycles.csv", "feedback", "api").
    """

    id: str
    row: int = 0
    value: Label
    at: float
    source: str = ""

    def __post_init__(self) -> None:
        if not self.id or len(self.id) > LONGEST_ID:
            raise BadInput(f"prediction id {self.id[:40]!r}: 1 to {LONGEST_ID} characters are an id")
        if not 0 <= self.row < MOST_ROWS:
            raise BadInput(f"row {self.row} of prediction {self.id!r}: rows count from 0")
        if not 0 <= self.at < END_OF_TIME:
            raise BadInput(
                f"prediction {self.id!r}, row {self.row}: {self.at:g} s since 1970 is no time of a true value"
            )
        if isinstance(self.value, float) and not np.isfinite(self.value):
            raise BadInput(f"prediction {self.id!r}, row {self.row}: value {self.value} is no number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Rows of one predictor whose truth is known, in the order of their predictions; arrays of one length n.

    truth, predicted: class numbers by `schema.labels` (`UNKNOWN` for a class that is not among them), or values of a
    regression. probabilities: (n, labels), or None. at: when predicted; arrived: when the truth came first; seconds.
    """

    served: Served
    schema: Schema
    at: NDArray[np.float64]
    arrived: NDArray[np.float64]
    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much is known of what was predicted in a window. delay_s: quantiles (0.5, 0.95) from prediction to truth.

    by_label: (predicted, labelled) for each predicted class: labels that come for one class only flatter or blame.
    """

    predicted: int
    labelled: int
    delay_s: tuple[float, float]
    by_label: dict[str, tuple[int, int]]

    @property
    def share(self) -> float:
        return self.labelled / self.predicted if self.predicted else 0.0


def class_number(schema: Schema, value: Label) -> float:
    """A truth as `Labelled` holds it: the class's number, or the value itself for a regression.

    3, 3.0 and "3" are one class: files know no types. `BadInput` where a regression's truth is no number.
    """
    if schema.labels:
        return float({_text(label): index for index, label in enumerate(schema.labels)}.get(_text(value), UNKNOWN))
    try:
        number = float(value)
    except ValueError as error:
        raise BadInput(f"{schema.target}={value!r}: a regression's true value is a number") from error
    if not np.isfinite(number):
        raise BadInput(f"{schema.target}={value!r}: a true value is a finite number")
    return number


def _text(label: Label) -> str:
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    text = str(label).strip()
    head, dot, tail = text.partition(".")
    return head if dot and head.lstrip("-").isdigit() and not tail.strip("0") else text
