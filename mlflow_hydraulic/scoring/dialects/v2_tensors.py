"""Reads the input tensors of an Open Inference request into the model's cells. Called by the `v2` dialect.

Accepted are one tensor of shape [rows, columns] in the model's order, or one tensor a column, named as the column, of
shape [rows] or [rows, 1]. Data may be flat or nested, in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from mlflow_hydraulic.schema import Field, FieldType
from mlflow_hydraulic.scoring.rows import RowReader, kind_of, shown
from mlflow_hydraulic.scoring.values import Cells, RequestProblem

TENSOR_KEYS = ("name", "shape", "datatype", "parameters", "data")
INTEGERS: Mapping[str, tuple[int, int]] = {
    **{f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
SHORT_FLOATS = {"FP32": np.float32, "FP16": np.float16}
COLUMNS: Mapping[FieldType, str] = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
    "string": "BYTES",
}
DATATYPES = ("FP64", *SHORT_FLOATS, *INTEGERS, "BOOL", "BYTES")


class QuickTensor(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: tuple[int, int]
    datatype: Literal["FP64"]
    data: list[float]


class QuickRequest(msgspec.Struct, forbid_unknown_fields=True):
    """One flat FP64 tensor of all columns; any other request goes the careful way."""

    inputs: tuple[QuickTensor]
    id: str = ""


QUICK = msgspec.json.Decoder(QuickRequest)


class Tensor(msgspec.Struct, frozen=True):
    """A checked input tensor; `data` is flat and fits `shape` (one or two dimensions)."""

    name: str
    shape: list[int]
    data: list[Any]  # Any: cells, checked against the model's columns later

    @property
    def width(self) -> int:
        return self.shape[1] if len(self.shape) == 2 else 1


def column_datatype(field: Field) -> str:
    """The datatype that the model's metadata names for a column."""
    return COLUMNS[field.type]


def quick_cells(request: QuickRequest, reader: RowReader) -> Cells | None:
    """Cells without a look at each value; None where `read_cells` must look."""
    (tensor,) = request.inputs
    rows, width = tensor.shape
    if not reader.all_double or width != reader.width or tensor.name in reader.names or rows < 1:
        return None
    return np.array(tensor.data, dtype=np.float64).reshape(rows, width) if len(tensor.data) == rows * width else None


def read_cells(inputs: object, reader: RowReader) -> Cells:
    """Cells, shape (rows, columns); `RequestProblem` (400) names the tensor, or the row and the field."""
    if not isinstance(inputs, list) or not inputs:
        raise RequestProblem(400, f"inputs must be a list of one tensor at least, not {_given(inputs)}")
    tensors = [_read_tensor(value, index, reader) for index, value in enumerate(inputs)]
    if len(tensors) == 1 and tensors[0].name not in reader.names:
        return _matrix(tensors[0], reader)
    return _columns(tensors, reader)


def _matrix(tensor: Tensor, reader: RowReader) -> Cells:
    if len(tensor.shape) != 2 or tensor.width != reader.width:
        raise RequestProblem(
            400,
            f"input {shown(tensor.name)} has shape {tensor.shape}: it must be [rows, {reader.width}] with the columns "
            f"{', '.join(reader.names)}, or send one tensor a column",
        )
    rows = [tensor.data[start : start + tensor.width] for start in range(0, len(tensor.data), tensor.width)]
    return reader.rows(rows, what=tensor.name)


def _columns(tensors: list[Tensor], reader: RowReader) -> Cells:
    reader.plan([tensor.name for tensor in tensors], superset=False)
    wide = next((tensor for tensor in tensors if tensor.width != 1), None)
    if wide is not None:
        raise RequestProblem(400, f"has shape {wide.shape}: a column must be [rows] or [rows, 1]", field=wide.name)
    return reader.columns({tensor.name: tensor.data for tensor in tensors}, what="inputs")


def _read_tensor(value: object, index: int, reader: RowReader) -> Tensor:
    where = f"inputs[{index}]"
    if not isinstance(value, dict):
        raise RequestProblem(400, f"{where} must be a tensor object, not {kind_of(value)}")
    name = value.get("name")
    if not isinstance(name, str):
        raise RequestProblem(400, f"{where}.name must be a string, not {kind_of(name)}")
    where = f"input {shown(name)}"
    if "binary_data_size" in _object(value.get("parameters"), f"{where}: parameters"):
        raise RequestProblem(400, f"{where}: binary_data_size is not supported, send JSON data")
    unknown = [key for key in value if key not in TENSOR_KEYS]
    if unknown:
        raise RequestProblem(
            400, f"{where} has the unknown key {shown(unknown[0])}: known are {', '.join(TENSOR_KEYS)}"
        )
    shape = _shape(value.get("shape"), where)
    data = _flat(value.get("data"), shape, where)
    columns = [name] if len(shape) == 1 or name in reader.names else reader.names
    return Tensor(name, shape, _typed(data, value.get("datatype"), columns, where))


def _shape(shape: object, where: str) -> list[int]:
    if not isinstance(shape, list) or len(shape) not in (1, 2) or not all(type(n) is int and n >= 0 for n in shape):
        raise RequestProblem(400, f"{where}: shape must be [rows] or [rows, columns], not {shown(shape)}")
    return shape


def _flat(data: object, shape: list[int], where: str) -> list[Any]:
    """The values of `data`, flat or nested as `shape` says."""
    if not isinstance(data, list):
        raise RequestProblem(400, f"{where}: data must be a list, not {kind_of(data)}")
    if len(shape) == 2 and data and isinstance(data[0], list):
        if len(data) != shape[0]:
            raise RequestProblem(400, f"{where} has {len(data)} rows of data, which shape {shape} does not hold")
        for index, row in enumerate(data):
            if not isinstance(row, list) or len(row) != shape[1]:
                given = f"has {len(row)} cells" if isinstance(row, list) else f"is {kind_of(row)}"
                raise RequestProblem(400, f"{where}: {given} where shape {shape} wants a list of {shape[1]}", row=index)
        data = [cell for row in data for cell in row]
    if len(data) != math.prod(shape):
        raise RequestProblem(400, f"{where} has {len(data)} values of data, which shape {shape} does not hold")
    return data


def _typed(data: list[Any], datatype: object, columns: list[str], where: str) -> list[Any]:
    """The values as their datatype has them: whole numbers within its range, short floats rounded to its precision."""
    if datatype not in DATATYPES:
        raise RequestProblem(400, f"{where}: datatype {shown(datatype)} is not one of {', '.join(DATATYPES)}")
    if datatype in INTEGERS:
        low, high = INTEGERS[datatype]
        _each(
            data,
            columns,
            lambda v: type(v) is int and low <= v <= high,
            f"must be whole and in {low} to {high}",
            datatype,
        )
    elif datatype == "BOOL":
        _each(data, columns, lambda v: isinstance(v, bool), "must be true or false", datatype)
    elif datatype == "BYTES":
        _each(data, columns, lambda v: isinstance(v, str), "must be a string", datatype)
    elif datatype in SHORT_FLOATS:
        short = SHORT_FLOATS[datatype]
        most = float(np.finfo(short).max)
        _each(data, columns, lambda v: _number(v) and abs(v) <= most, f"must be a number within +-{most:g}", datatype)
        rounded = np.array(data, dtype=np.float64).astype(short).astype(np.float64).tolist()
        return [None if given is None else value for given, value in zip(data, rounded, strict=True)]
    return data


def _each(data: list[Any], columns: list[str], holds: Any, rule: str, datatype: str) -> None:  # Any: a predicate
    for index, value in enumerate(data):
        if value is not None and not holds(value):
            row, column = divmod(index, len(columns))
            raise RequestProblem(400, f"{rule} ({datatype}), not {shown(value)}", row=row, field=columns[column])


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _object(value: object, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestProblem(400, f"{where} must be an object, not {kind_of(value)}")
    return value


def _given(value: object) -> str:
    return "an empty list" if value == [] else kind_of(value)
