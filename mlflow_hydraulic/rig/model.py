"""The trained model as a value: what `hydraulic train` makes, the flavor saves and the bundle converts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow_hydraulic.drift.reference import Reference
from mlflow_hydraulic.schema import Schema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator


@dataclass(frozen=True, kw_only=True)
class HydraulicModel:
    """A fitted scikit-learn estimator with what is needed to use it rightly.

    estimator: fitted on a frame of float64 with the columns of `schema`, in that order.
    schema: its inputs with units, its target, its class labels in the order of `estimator.classes_`.
    features: "means" (the tutorial's 17 columns) or "statistics" (per-cycle statistics of each sensor).
    origin: "measured" or "simulated": what it was trained on.
    background: training rows (some 200 to 500) that the baseline, Shapley values and the certificate start from.
    reference: training rows in time order, with what was predicted for them unseen: what drift is judged by; None for
    a model that was trained without, whose drift is then grey.
    """

    estimator: BaseEstimator
    schema: Schema
    features: str
    origin: str
    background: pd.DataFrame
    reference: Reference | None = None

    def predict(self, X: pd.DataFrame) -> NDArray[np.generic]:
        """Class labels, shape (n,); columns of `X` may be a superset in any order."""
        return self.estimator.predict(X[list(self.schema.names)])  # type: ignore[no-any-return]

    def predict_proba(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Class probabilities, shape (n, labels), columns in the order of `schema.labels`."""
        return self.estimator.predict_proba(X[list(self.schema.names)])  # type: ignore[no-any-return]

    def usual(self, count: int) -> pd.DataFrame:
        """The `count` background rows nearest to the middle of all: examples that are none of the odd ones."""
        middle = self.background.median()
        width = self.background.quantile(0.75) - self.background.quantile(0.25)
        distance = ((self.background - middle).abs() / width.where(width > 0, 1.0)).max(axis=1, skipna=False)
        nearest = distance.fillna(float("inf")).to_numpy().argsort(kind="stable")[:count]
        return self.background.iloc[nearest].reset_index(drop=True)  # type: ignore[no-any-return]
