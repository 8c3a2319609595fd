"""From payloads that only Seldon's logger saw to rows: Seldon v1 messages and V2. Called by `pairs`.

Our own scorers write what they scored; here request and answer are all there is. What is in neither shape is kept
whole, without rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.schema import Field, Label, Schema

Json = Any  # a JSON value


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What could be read. inputs: shape (n, k); labels: shape (n,); probabilities: shape (n, labels) or None."""

    schema: Schema
    inputs: NDArray[np.float64]
    labels: NDArray[Any]
    probabilities: NDArray[np.float64] | None
    model: str = ""
    version: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class _Table:
    names: tuple[str, ...]
    cells: NDArray[np.float64]


def read_pair(request: bytes, answer: bytes) -> Read | None:
    """Rows of a request with their answers; None where one of both is in no shape that is known."""
    asked, answered = _json(request), _json(answer)
    inputs, outputs = _table(asked, "inputs"), _table(answered, "outputs")
    if inputs is None or outputs is None or len(inputs.cells) != len(outputs.cells):
        return None
    names = inputs.names or tuple(f"input_{number}" for number in range(inputs.cells.shape[1]))
    if len(set(names)) < len(names) or len(names) != inputs.cells.shape[1]:
        return None
    target, labels = _labels(outputs.names)
    fields = tuple(Field(name=name) for name in names)
    tags = _tags(answered)
    found = {name: str(tags.get(f"model_{name}", "")) for name in ("version", "digest")}
    model = str(tags.get("model_name", "")) or str(answered.get("model_name", ""))
    version = found["version"] or str(answered.get("model_version", ""))
    if labels and len(labels) == outputs.cells.shape[1]:
        best = outputs.cells.argmax(axis=1)
        chosen: NDArray[Any] = np.array([labels[index] for index in best])
        schema = Schema(inputs=fields, target=target, labels=labels)
        probabilities: NDArray[np.float64] | None = outputs.cells
    else:
        chosen, probabilities = outputs.cells[:, 0], None
        schema = Schema(inputs=fields, target=target)
    return Read(
        schema=schema,
        inputs=inputs.cells,
        labels=chosen,
        probabilities=probabilities,
        model=model,
        version=version,
        digest=found["digest"],
    )


def _json(body: bytes) -> Mapping[str, Json]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _table(message: Mapping[str, Json], tensors: str) -> _Table | None:
    """The numbers of a message: `data.ndarray`, `data.tensor`, or V2's one tensor of two dimensions."""
    try:
        data = message.get("data")
        if isinstance(data, dict):
            names = tuple(str(name) for name in data.get("names") or ())
            if "ndarray" in data:
                return _checked(names, data["ndarray"])
            tensor = data["tensor"]
            return _checked(names, np.array(tensor["values"], dtype=np.float64).reshape(tensor["shape"]))
        found = message.get(tensors)
        if isinstance(found, list) and found:
            wide = [one for one in found if len(one["shape"]) > 1 and one["shape"][1] > 1] or found[:1]
            cells = np.array(wide[0]["data"], dtype=np.float64).reshape(wide[0]["shape"])
            return _checked((), cells.reshape(len(cells), -1))
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return None


def _checked(names: tuple[str, ...], rows: Sequence[Json] | NDArray[np.float64]) -> _Table | None:
    cells = np.array(rows, dtype=np.float64)
    if cells.ndim == 1:
        cells = cells.reshape(-1, 1)
    return _Table(names, cells) if cells.ndim == 2 and cells.size else None


def _labels(names: tuple[str, ...]) -> tuple[str, tuple[Label, ...]]:
    """Target and labels from names as our scorers write them: "cool_cond_y.3", "cool_cond_y.20", ..."""
    targets = {name.rpartition(".")[0] for name in names}
    if len(names) > 1 and len(targets) == 1 and (target := targets.pop()):
        words = [name.rpartition(".")[2] for name in names]
        return target, tuple(int(word) if word.isdigit() else word for word in words)
    return (names[0] if len(names) == 1 else "prediction"), ()


def _tags(answer: Mapping[str, Json]) -> Mapping[str, Json]:
    meta = answer.get("meta")
    tags = meta.get("tags") if isinstance(meta, dict) else None
    return tags if isinstance(tags, dict) else {}
