"""Rows for the dialects that Seldon's orchestrator and MLServer speak, and predictions out of their answers. Pure.

Protocols: Seldon Core v1 (SeldonMessage) and Open Inference (V2). Called by `scoring_client`, which makes MLflow's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_hydraulic.errors import BadInput, Failed

Json = dict[str, Any]  # Any: the value is JSON
METHOD = "predict_method"  # MLflow's parameter; in a SeldonMessage a tag that our scorer reads
PREDICT = "predict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of equal length. columns: their names, None where they come in the model's order. method: what to ask."""

    columns: tuple[str, ...] | None
    rows: list[list[Any]]  # Any: cells of JSON
    method: str = PREDICT


def table_of(body: Mapping[str, Any]) -> Table:  # Any: the value is JSON
    """The table in a body of MLflow's dialect: dataframe_split, dataframe_records, instances or inputs.

    `BadInput` for what is no table: nested cells, rows of unequal length, columns of unequal length.
    """
    if split := body.get("dataframe_split"):
        columns, rows = split.get("columns"), [list(row) for row in split["data"]]
    else:
        columns, rows = _columns_and_rows(next(body[key] for key in _FORMS if key in body))
    names = tuple(map(str, columns)) if columns is not None else None
    width = len(names) if names is not None else len(rows[0]) if rows else 0
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise BadInput(
                f"row {number} has {len(row)} cells and not {width}: every row must have one for each column"
            )
        if any(isinstance(cell, (list, dict)) for cell in row):
            raise BadInput(f"row {number} has a list or an object for a cell: this deployment takes tables only")
    return Table(columns=names, rows=rows, method=str((body.get("params") or {}).get(METHOD, PREDICT)))


def to_seldon(table: Table) -> Json:
    """A SeldonMessage; the tag asks our scorer for what MLflow's `predict` gives, other servers let it pass."""
    data: Json = {"ndarray": table.rows}
    if table.columns is not None:
        data["names"] = list(table.columns)
    return {"data": data, "meta": {"tags": {METHOD: table.method}}}


def from_seldon(answer: Mapping[str, Any]) -> list[Any]:  # Any: the value is JSON
    """The predictions of a SeldonMessage: a list of values, or of records where there are several columns."""
    if "jsonData" in answer:
        found = answer["jsonData"]
        found = found.get("predictions", found) if isinstance(found, dict) else found
        return found if isinstance(found, list) else [found]
    data = answer.get("data") or {}
    if "ndarray" in data:
        rows = data["ndarray"]
    elif "tensor" in data:
        rows = _shaped(data["tensor"].get("values") or [], data["tensor"]["shape"])
    else:
        raise Failed(f"the answer has no data.ndarray, data.tensor or jsonData, only {sorted(answer)}")
    names = data.get("names") or []
    if names and all(isinstance(row, list) and len(row) == len(names) > 1 for row in rows):
        return [dict(zip(names, row, strict=True)) for row in rows]
    return _flat(rows)


def to_v2(table: Table) -> Json:
    """An inference request: a tensor a column, or one of all where the columns have no names."""
    if table.columns is None:
        width = len(table.rows[0]) if table.rows else 0
        cells = [cell for row in table.rows for cell in row]
        return {"inputs": [_tensor("input-0", [len(table.rows), width], cells)]}
    inputs = [
        _tensor(name, [len(table.rows)], [row[at] for row in table.rows]) for at, name in enumerate(table.columns)
    ]
    return {"inputs": inputs, "parameters": {"content_type": "pd"}}  # MLServer makes a DataFrame of it


def from_v2(answer: Mapping[str, Any], method: str = PREDICT) -> list[Any]:  # Any: the value is JSON
    """The predictions in the output that is called as `method`, else in the first."""
    outputs = answer.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        raise Failed(f"the answer has no outputs, only {sorted(answer)}")
    found = next((one for one in outputs if one.get("name") == method), outputs[0])
    return _flat(_shaped(found["data"], found["shape"]))


_FORMS = ("dataframe_records", "instances", "inputs")


def _columns_and_rows(value: object) -> tuple[list[str] | None, list[list[Any]]]:
    if isinstance(value, Mapping):
        columns = {
            str(name): list(cells) if isinstance(cells, (list, tuple)) else [cells] for name, cells in value.items()
        }
        lengths = {len(cells) for cells in columns.values()}
        if len(lengths) > 1:
            raise BadInput(f"the columns have {sorted(lengths)} cells: every column must have one for each row")
        return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        names = list(dict.fromkeys(str(name) for row in value for name in row))
        return names, [[row.get(name) for name in names] for row in value]
    if isinstance(value, list) and all(isinstance(row, (list, tuple)) for row in value):
        return None, [list(row) for row in value]
    raise BadInput("this deployment takes a table: a DataFrame, rows, records, or columns of equal length")


def _tensor(name: str, shape: list[int], cells: list[Any]) -> Json:
    there = [cell for cell in cells if cell is not None]
    if there and all(isinstance(cell, bool) for cell in there):
        datatype = "BOOL"
    elif len(there) == len(cells) and all(isinstance(cell, int) and not isinstance(cell, bool) for cell in there):
        datatype = "INT64"
    elif all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in there):
        datatype = "FP64"
    else:
        return {"name": name, "shape": shape, "datatype": "BYTES", "data": cells, "parameters": {"content_type": "str"}}
    return {"name": name, "shape": shape, "datatype": datatype, "data": cells}


def _shaped(values: list[Any], shape: Sequence[int]) -> list[Any]:
    """Flat `values` as rows of `shape`; those that come nested already are left so."""
    if len(shape) < 2 or (values and isinstance(values[0], list)):
        return list(values)
    width = 1
    for size in shape[1:]:
        width *= int(size)
    return [values[at : at + width] for at in range(0, len(values), width)] if width else []


def _flat(rows: list[Any]) -> list[Any]:
    if rows and all(isinstance(row, list) and len(row) == 1 for row in rows):
        return [row[0] for row in rows]
    return rows
