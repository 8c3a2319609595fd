"""From the truth of a Seldon feedback to one true value a row. Pure; called by the scorer's dialect and the intake.

A row is a label or a number, or one-hot over the labels, by names ("cool_cond_y.3", or "3") or in the model's order.
`null` is a row of which nothing is known. Read in Seldon's `prediction.proto`: `truth` is a SeldonMessage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.schema import Label, Schema

LONGEST_LABEL = 256
LARGEST_NUMBER = 2**63  # whole numbers beyond it fit no database
Value = Label | None
Json = Any  # a JSON value


def read_truth(truth: Mapping[str, Json], schema: Schema | None) -> list[Value]:
    """True values in the order of the request's rows; None where a row's is not known.

    schema: the model's, or None where it is not known: then one-hot rows need names. `BadInput` names the row.
    """
    for key in ("strData", "binData", "customData"):
        if key in truth:
            raise BadInput(f"truth.{key} holds no rows: send truth.data.ndarray, truth.data.tensor or truth.jsonData")
    if truth.get("jsonData") is not None:
        return _of_json(truth["jsonData"], schema)
    data = truth.get("data")
    if data is None:
        return []
    if not isinstance(data, Mapping) or ("ndarray" not in data and "tensor" not in data):
        raise BadInput('truth.data has neither "ndarray" nor "tensor": send one of them')
    names = data.get("names") or ()
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise BadInput("truth.data.names must be a list of column names")
    rows = data["ndarray"] if "ndarray" in data else _tensor(data["tensor"])
    if not isinstance(rows, list):
        raise BadInput("truth.data.ndarray must be a list of rows")
    return _of_rows(rows, tuple(map(str, names)), schema)


def puid_of(feedback: Mapping[str, Json]) -> str:
    """The prediction that a feedback is about, as its response or its request says; "" where neither does."""
    for part in ("response", "request"):
        message = feedback.get(part)
        meta = message.get("meta") if isinstance(message, Mapping) else None
        puid = meta.get("puid") if isinstance(meta, Mapping) else None
        if isinstance(puid, str) and puid:
            return puid
    return ""


def _of_json(value: Json, schema: Schema | None) -> list[Value]:
    """`jsonData`: a value, a record by column names, or a list of values, rows or records."""
    found = value if isinstance(value, list) else [value]
    return [
        _of_columns(number, tuple(map(str, row)), list(row.values()), schema)
        if isinstance(row, Mapping)
        else _of_row(number, row, (), schema)
        for number, row in enumerate(found)
    ]


def _of_rows(rows: list[Json], names: tuple[str, ...], schema: Schema | None) -> list[Value]:
    if len(names) > 1 and len(rows) == len(names) and not any(isinstance(row, list) for row in rows):
        rows = [rows]  # one row, without the brackets around it
    return [_of_row(number, row, names, schema) for number, row in enumerate(rows)]


def _of_row(number: int, row: Json, names: tuple[str, ...], schema: Schema | None) -> Value:
    if not isinstance(row, list):
        return _value(number, row, schema)
    if names:
        if len(names) != len(row):
            raise BadInput(f"truth, row {number}: has {len(row)} values for {len(names)} names")
        return _of_columns(number, names, row, schema)
    if len(row) == 1:
        return _value(number, row[0], schema)
    labels = schema.labels if schema else ()
    if not labels or len(labels) != len(row):
        known = f"one value, or one-hot over the {len(labels)} labels" if labels else "one value, or names with it"
        raise BadInput(f"truth, row {number}: has {len(row)} values: send {known}")
    return _one_hot(number, labels, row)


def _of_columns(number: int, names: tuple[str, ...], row: list[Json], schema: Schema | None) -> Value:
    """A row by its columns' names: the target's column, else one-hot over columns named after labels."""
    if schema is not None and schema.target in names:
        return _value(number, row[names.index(schema.target)], schema)
    labels = dict(zip(schema.output_names, schema.labels, strict=True)) if schema and schema.labels else {}
    labels |= {str(label): label for label in schema.labels} if schema else {}
    hot = [labels.get(name, None if labels else name.rpartition(".")[2]) for name in names]
    if len(names) == 1 and (hot[0] is None or not labels):
        return _value(number, row[0], schema)
    if None in hot or len(set(hot)) < len(hot):
        wanted = f"{schema.target!r} or labels such as {schema.output_names[0]!r}" if schema else "labels, each once"
        raise BadInput(f"truth, row {number}: the columns {', '.join(names)[:200]} must be {wanted}")
    return _one_hot(number, [label for label in hot if label is not None], row)


def _one_hot(number: int, labels: Sequence[Label], row: list[Json]) -> Value:
    if all(cell is None for cell in row):
        return None
    hot = [label for label, cell in zip(labels, row, strict=True) if cell == 1]
    if len(hot) != 1 or any(cell not in (0, 1) for cell in row):
        raise BadInput(f"truth, row {number}: one-hot means a single 1 and else 0, not {str(row)[:100]}")
    return hot[0]


def _value(number: int, cell: Json, schema: Schema | None) -> Value:
    if cell is None:
        return None
    if not isinstance(cell, (str, int, float)):
        raise BadInput(f"truth, row {number}: {str(cell)[:60]} is no label and no number")
    if isinstance(cell, str):
        if not 0 < len(cell) <= LONGEST_LABEL:
            raise BadInput(f"truth, row {number}: a label has 1 to {LONGEST_LABEL} characters")
    elif not math.isfinite(cell) or abs(cell) >= LARGEST_NUMBER:
        raise BadInput(f"truth, row {number}: {cell} is no label and no number that can be kept")
    if schema is not None and not schema.labels:
        return _number(number, cell, schema)
    return int(cell) if isinstance(cell, bool) else cell


def _number(number: int, cell: Label, schema: Schema) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        raise BadInput(
            f"truth, row {number}: {schema.target}={cell!r}: a regression's true value is a number"
        ) from error
    if not math.isfinite(value):
        raise BadInput(f"truth, row {number}: {schema.target}={cell!r}: a true value is a finite number")
    return value


def _tensor(tensor: Json) -> list[Json]:
    """The rows of a tensor: [n] are n values, [n, k] are n rows."""
    shape, values = (tensor.get(name) for name in ("shape", "values")) if isinstance(tensor, Mapping) else (None, None)
    if not isinstance(shape, list) or not isinstance(values, list) or len(shape) not in (1, 2):
        raise BadInput("truth.data.tensor must have values and a shape of [rows] or [rows, columns]")
    if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) != len(values):
        raise BadInput(f"truth.data.tensor has {len(values)} values, which shape {str(shape)[:60]} does not hold")
    if len(shape) == 1:
        return values
    if shape[1] == 0:
        raise BadInput("truth.data.tensor has no column")
    return [values[start : start + shape[1]] for start in range(0, len(values), shape[1])]
