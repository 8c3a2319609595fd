"""The values that pass between dialects, engine and server: no I/O, no JSON, no HTTP library.

What is made anew for each request is a msgspec.Struct: ten times as quick to make as a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.schema import Schema

FloatMatrix = NDArray[np.float64]
Cells = NDArray[Any]  # float64 (n, k) when every input is a number, else objects (n, k), columns as in the schema


class Scores(msgspec.Struct, frozen=True):
    """What the model says of n rows.

    labels: shape (n,), class labels, or values of a regression.
    probabilities: shape (n, labels), in the order of `Schema.labels`; None for a regression.
    anomalous: shape (n,), rows that are unlike the training data; None where the model does not know them.
    """

    labels: NDArray[Any]
    probabilities: FloatMatrix | None
    anomalous: NDArray[np.bool_] | None = None


class Engine(Protocol):
    """A loaded model. `score` may be called from one thread at a time.

    loop_rows: calls of at most so many rows are quick enough for the event loop itself; 0: never, use a thread.
    shares_calls: whether rows of several requests may go in one call and still give the same numbers to the bit.
    """

    @property
    def loop_rows(self) -> int: ...

    @property
    def shares_calls(self) -> bool: ...

    def score(self, cells: Cells) -> Scores: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a scorer knows of the model it serves, for metadata answers, headers and metrics."""

    name: str
    version: str
    digest: str
    engine: str  # "onnxruntime" or "pyfunc"
    schema: Schema
    origin: str = "unknown"  # what it was trained on: measured, simulated, unknown
    sample: Cells = field(default_factory=lambda: np.empty((0, 0)))  # rows for sample requests
    background: Cells = field(default_factory=lambda: np.empty((0, 0)))  # rows that Shapley values start from


@dataclass(slots=True, eq=False)
class RequestProblem(BadInput):
    """Why a request is not answered; a dialect gives it its own shape.

    `status` is an HTTP status of the 4xx kind, or 500 and 503 when the scorer is at fault; `row` counts from 0.
    """

    status: int
    problem: str
    row: int | None = None
    field: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __str__(self) -> str:
        place = [f"row {self.row}"] if self.row is not None else []
        place += [f"field {self.field!r}"] if self.field is not None else []
        return f"{', '.join(place)}: {self.problem}" if place else self.problem


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller said of an earlier prediction, to be kept before it is answered.

    prediction_id: "" where the caller named none. truth: one value a row, None where it is not known; may be empty.
    """

    prediction_id: str
    truth: list[Any]  # Any: int, float, str or None
    reward: float | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP answer, ready to send once what was `told` is kept."""

    body: bytes
    status: int = 200
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    told: Told | None = None


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A scored request, for a dialect to render."""

    scores: Scores
    prediction_id: str
    shapley: NDArray[np.float64] | None = None  # (n, outputs, inputs + 1); the last is the base value


class ScoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed request: rows for the model and how its answer is to be written."""

    cells: Cells
    render: Callable[[Scored], Answer]
    prediction_id: str | None = None  # the caller's own, when given
    shapley: bool = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request as a dialect sees it; header names in lower case."""

    method: str
    path: str
    body: bytes
    content_type: str
    headers: Mapping[bytes, bytes]
    query: bytes = b""


class Dialect(Protocol):
    """One way of asking and answering. A dialect is made for one model (its `ModelCard`) and keeps no state.

    score_paths: POST paths whose body is parsed into a `ScoreRequest`.
    routes: every other (method, path) with what answers it.
    owns: whether an unknown path under this prefix gets this dialect's error shape.
    """

    name: str

    @property
    def score_paths(self) -> tuple[str, ...]: ...

    @property
    def routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]: ...

    def owns(self, path: str) -> bool: ...

    def parse(self, call: Call) -> ScoreRequest: ...

    def error(self, problem: RequestProblem) -> Answer: ...

    def openapi(self) -> Mapping[str, Any]:  # Any: the value is JSON, an OpenAPI "paths" object
        ...
