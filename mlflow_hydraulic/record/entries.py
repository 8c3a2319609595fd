"""What stands in a journal's frames, as msgpack arrays: a head, lists of predictions, gaps, minutes, feedback.

Written by the scorer's recorder, read by the shipper and the intake. Structs grow at their end only: older readers
ignore what they do not know, newer readers take the defaults.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Schema

FORMAT = 1


class Head(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The first frame of a segment: who writes, and what its predictions look like.

    replica: which process of a predictor ("s3", a pod's name): it makes the series of two processes differ.
    schema: `Schema.to_dict()`. bins: the inner edges of each input's histogram in minutes, empty otherwise.
    beginning: what request bodies begin with that are not written whole (`Entry.cut`).
    """

    format: int = FORMAT
    target: str
    namespace: str
    deployment: str
    predictor: str
    model: str
    version: str
    digest: str
    replica: str
    schema: dict[str, Any]  # Any: the value is JSON
    bins: list[list[float]] = []
    beginning: bytes = b""

    @property
    def served(self) -> Served:
        names = ("target", "namespace", "deployment", "predictor", "model", "version", "digest")
        return Served(**{name: getattr(self, name) for name in names})


class Entry(msgspec.Struct, array_like=True):
    """One answered scoring request. The recorder writes a tuple of the same fields, which is made more quickly.

    ns: nanoseconds since 1970, UTC; [ns, ns + rows) overlaps with no other entry of the same process.
    rows: how many rows were scored; 0 where the request was refused.
    inputs, labels, probabilities: the columns' bytes, little-endian and row by row: float64, `label_type`, float64;
    where a cell is no number, lists instead (`label_type` "" then).
    cut: how many bytes of the head's `beginning` stand before `request`.
    predictor: where the router in front said another than the head's; "" else.
    """

    ns: int
    id: str
    path: str
    status: int
    latency_s: float
    caller: str = ""
    predictor: str = ""
    rows: int = 0
    inputs: bytes | list[list[Any]] = b""  # Any: cells are float, str, bool or None
    label_type: str = ""
    labels: bytes | list[Any] = b""  # Any: a label is int, float or str
    probabilities: bytes | None = None
    anomalous: bytes | None = None
    request: bytes = b""
    answer: bytes = b""
    cut: int = 0


class Gap(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Answers that are not in the record, and why: written as soon as writing works again."""

    since_ns: int
    until_ns: int
    answers: int
    reason: str


class Minute(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Aggregates of one minute or more, without any row of its own. For k inputs:

    since_ns, until_ns: of the answers in it. answers, failures, rows: how many; failures have a status of 400 or more.
    count, mean, m2: of each numeric input, without missing cells; m2 is the sum of squared deviations.
    bins: how many cells in each bin of the head's edges, one more than edges. missing: empty cells of each input.
    labels: how often each label was predicted, as [label, count]. latency: cumulative counts by `BOUNDS_S`.
    anomalous: rows that were unlike the training data.
    """

    since_ns: int
    until_ns: int
    answers: int
    failures: int
    rows: int
    count: list[int]
    mean: list[float]
    m2: list[float]
    bins: list[list[int]]
    missing: list[int]
    labels: list[tuple[Any, int]]  # Any: a label is int, float or str
    latency: list[int]
    anomalous: int = 0


class Feedback(msgspec.Struct, array_like=True):
    """What a caller said of an earlier prediction, which another process may have answered.

    ns: when, nanoseconds since 1970, UTC. id: the prediction's. truth: one value a row of it, None where that is not
    known; empty where only a reward came.
    """

    ns: int
    id: str
    truth: list[Any]  # Any: int, float, str or None
    reward: float | None = None


encode = msgspec.msgpack.Encoder(enc_hook=str).encode  # a model of somebody else's may answer with any type
decode_head = msgspec.msgpack.Decoder(Head).decode
decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode
decode_gap = msgspec.msgpack.Decoder(Gap).decode
decode_minute = msgspec.msgpack.Decoder(Minute).decode
decode_feedback = msgspec.msgpack.Decoder(Feedback).decode


def head_of(served: Served, schema: Schema, replica: str, bins: list[list[float]] | None = None) -> Head:
    """The head of every segment of one process."""
    return Head(
        target=served.target,
        namespace=served.namespace,
        deployment=served.deployment,
        predictor=served.predictor,
        model=served.model,
        version=served.version,
        digest=served.digest,
        replica=replica,
        schema=schema.to_dict(),
        bins=bins or [],
    )


def packed_cells(cells: NDArray[Any]) -> bytes | list[list[Any]]:
    """Cells for an entry: float64 as bytes, anything else as lists."""
    return cells.tobytes() if cells.dtype == np.float64 else plain(cells.tolist())


def packed_labels(labels: NDArray[Any]) -> tuple[str, bytes | list[Any]]:
    """(`label_type`, `labels`) of an entry."""
    if labels.dtype.kind in "ifb":
        return labels.dtype.str, labels.tobytes()
    return "", plain(labels.tolist())


def plain(value: Any) -> Any:  # Any: nested lists of cells
    """Lists of cells without numpy's own scalars, which msgpack does not know."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
