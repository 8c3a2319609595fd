"""The values of the prediction record: who was asked, one answered request, and a window of rows for monitoring.

Written by the scorer (`scoring`), stored by `record.store`, read by `monitor` and the pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Which scorer answered: one predictor of one deployment, with its pinned model version.

    target, namespace: where it runs ("seldon-local", "prod"); empty for a scorer that nobody deployed.
    """

    target: str = ""
    namespace: str = ""
    deployment: str = ""
    predictor: str = ""
    model: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One answered scoring request.

    id: the prediction id that the caller got. at: seconds since 1970, UTC. latency_s: from first byte to answer.
    caller: who asked, as the caller or its gateway said (header X-Hydraulic-Caller or the log-in's name); "" unknown.
    request, answer: the bodies as they were, empty in the aggregates-only mode.
    inputs: shape (n, k), float64 or objects, columns as in the schema. labels: shape (n,).
    probabilities: shape (n, labels), or None for a regression. anomalous: shape (n,), bool: rows that are unlike the
    training data.
    """

    served: Served
    id: str
    at: float
    path: str
    status: int
    latency_s: float
    caller: str = ""
    request: bytes = b""
    answer: bytes = b""
    inputs: NDArray[Any]
    labels: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None
    anomalous: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Scored rows of one deployment (or one predictor of it) in time order, as columns of the same length n.

    ids, rows: the prediction id and the row's number in its request; actuals join by both.
    inputs: (n, k) float64; a cell that is no number is NaN (`categories` then has its text by column name).
    labels: (n,), what was predicted. probabilities: (n, labels) or None. at: (n,) seconds since 1970.
    """

    schema: Schema
    served: Served
    since: float
    until: float
    ids: NDArray[Any]
    rows: NDArray[np.int64]
    at: NDArray[np.float64]
    inputs: NDArray[np.float64]
    labels: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None
    anomalous: NDArray[np.bool_] | None = None
    categories: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.at)
