"""Small fitted models for the bundle's tests: three inputs, classes as bands of a noisy sum."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.schema import Field, Label, Schema

COLUMNS = ("ps", "ts", "vs")
LABELS: dict[str, tuple[Label, ...]] = {
    "three": (3, 20, 100),
    "two": (0, 1),
    "strings": ("close to failure", "full", "reduced"),
    "negative": (-7, 5),
}


def rows(count: int = 150, seed: int = 0, scale: float = 1.0, offset: float = 0.0) -> pd.DataFrame:
    stream = np.random.default_rng(seed)
    values = stream.normal(size=(count, len(COLUMNS))) * scale + offset
    frame: pd.DataFrame = pd.DataFrame(values, columns=list(COLUMNS))
    frame.loc[::2, "vs"] = offset  # one value in half of the rows, as PS4 has
    return frame


def classes_of(frame: pd.DataFrame, labels: tuple[Label, ...], seed: int = 0) -> NDArray[np.generic]:
    noise = np.random.default_rng([seed, 1]).normal(size=len(frame)) * 0.3
    ranks = (frame["ps"] + frame["ts"]).rank(pct=True).to_numpy() + 0.1 * noise
    place = np.clip((ranks * len(labels)).astype(int), 0, len(labels) - 1)
    return np.asarray(np.array(labels)[place])


def make_model(estimator: BaseEstimator, labels: str = "three", seed: int = 0) -> HydraulicModel:
    frame = rows(seed=seed)
    estimator.fit(frame, classes_of(frame, LABELS[labels], seed))
    return as_model(estimator, frame)


def as_model(estimator: BaseEstimator, frame: pd.DataFrame) -> HydraulicModel:
    schema = Schema(
        inputs=tuple(Field(name=str(name), unit="bar") for name in frame.columns),
        target="cool_cond_y",
        labels=tuple(label.item() for label in estimator.classes_),
    )
    return HydraulicModel(estimator=estimator, schema=schema, features="means", origin="simulated", background=frame)
