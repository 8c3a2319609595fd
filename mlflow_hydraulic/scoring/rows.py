"""Turns what a request holds (rows, records, columns) into the model's cells, and says which row and field is wrong.

Every dialect parses through one `RowReader`, so all of them accept the same values and give the same numbers.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NoReturn

import numpy as np

from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.scoring.values import Cells, FloatMatrix, RequestProblem

EXACT_INTEGER = 2**53 - 1  # beyond it two integers may be the same float64
FLOAT32_MAX = 3.4028234663852886e38
BOUNDS = {"integer": 2**31 - 1, "long": EXACT_INTEGER}
PLANS_KEPT = 64
NAMES_KEPT = 1024  # in one plan: the callers' names must not fill the memory
SHOWN = 10


class Plan:
    """Where each input stands in a row whose columns are `names`; -1 for an optional input that is absent."""

    def __init__(self, schema: Schema, names: Sequence[str], *, superset: bool) -> None:
        self.width = len(names)
        position = {name: index for index, name in enumerate(names)}
        if len(position) < len(names):
            _refuse_twice(names)
        missing = [field.name for field in schema.inputs if field.required and field.name not in position]
        if missing:
            raise RequestProblem(400, f"missing {_columns(missing)}; the model needs {_columns(schema.names)}")
        if not superset and (extra := [name for name in names if name not in schema.names]):
            raise RequestProblem(400, f"unknown {_columns(extra)}; the model takes {_columns(schema.names)}")
        self.order = [position.get(name, -1) for name in schema.names]
        self.identity = self.order == list(range(self.width))
        self.complete = -1 not in self.order
        self.pick: Callable[[Any], Any] | None = None
        if self.complete and len(self.order) > 1:
            self.pick = itemgetter(*self.order)


class RowReader:
    """Reads cells for one schema. It keeps no request; `RequestProblem` (400) names row, field and rule.

    A missing value (null, an absent optional column) becomes NaN, or None in a text column, and only where the field
    is not required. `text=True` also takes numbers written as strings, as the tutorial does. `superset=True` ignores
    columns that the model does not know.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.width = len(schema.inputs)
        self.names = list(schema.names)
        self.all_double = all(field.type == "double" for field in schema.inputs)
        self._plans: dict[tuple[bool, tuple[str, ...]], Plan] = {}
        self._identity = Plan(schema, self.names, superset=False)

    def rows(
        self, rows: object, names: object = None, *, text: bool = False, superset: bool = False, what: str = "rows"
    ) -> Cells:
        """Cells of a list of lists; `names` are its columns (None: the model's, in order). Shape (n, inputs)."""
        plan = self._identity if names is None else self.plan(names, superset=superset)
        if not isinstance(rows, (list, tuple)):
            raise RequestProblem(400, f'"{what}" must be a list of rows, not {kind_of(rows)}')
        cells = self._empty(len(rows), what)
        for index, row in enumerate(rows):
            if not isinstance(row, (list, tuple)):
                raise RequestProblem(400, f"must be a list of {plan.width} cells, not {kind_of(row)}", row=index)
            if len(row) != plan.width:
                raise RequestProblem(400, f"has {len(row)} cells where {plan.width} are expected", row=index)
            for column, (field, position) in enumerate(zip(self.schema.inputs, plan.order, strict=True)):
                value = row[position] if position >= 0 else None
                cells[index, column] = cell(field, value, index, text=text)
        return cells

    def double_rows(self, rows: list[list[float]], names: Sequence[str] | None = None) -> FloatMatrix | None:
        """The quick way for rows that JSON decoding has already typed as finite floats.

        None where the careful way (`rows`) must look: another type than double, ragged rows, an absent column.
        """
        plan = self._identity if names is None or names == self.names else self.plan(names, superset=False)
        if not (rows and self.all_double and plan.complete):
            return None
        try:
            matrix = np.array(rows, dtype=np.float64)
        except ValueError:  # ragged: `rows` finds and names the row
            return None
        if matrix.shape != (len(rows), plan.width):
            return None
        return matrix if plan.identity else matrix[:, plan.order]

    def text_rows(self, rows: list[list[str]], names: Sequence[str], *, superset: bool = True) -> FloatMatrix | None:
        """The quick way for rows of numbers as strings; None where the careful way (`rows`) must look."""
        plan = self._identity if names == self.names else self.plan(names, superset=superset)
        pick = plan.pick
        if not (rows and self.all_double and pick is not None):
            return None
        values = []
        for row in rows:
            if len(row) != plan.width:
                return None
            joined = "".join(row)
            if "_" in joined or not joined.isascii():  # float() would take both
                return None
            try:
                numbers = list(map(float, row if plan.identity else pick(row)))
            except ValueError:
                return None
            if not math.isfinite(sum(numbers)):
                return None
            values.append(numbers)
        return np.array(values, dtype=np.float64)

    def records(self, records: object, *, text: bool = False, superset: bool = False, what: str = "records") -> Cells:
        """Cells of a list of objects, one a row."""
        if not isinstance(records, (list, tuple)):
            raise RequestProblem(400, f'"{what}" must be a list of objects, not {kind_of(records)}')
        cells = self._empty(len(records), what)
        known = set(self.names)
        for index, record in enumerate(records):
            if not isinstance(record, dict):
                raise RequestProblem(400, f"must be an object of named cells, not {kind_of(record)}", row=index)
            if not superset and (extra := [name for name in record if name not in known]):
                raise RequestProblem(400, f"unknown {_columns(extra)}; the model takes {_columns(self.names)}", index)
            for column, field in enumerate(self.schema.inputs):
                if field.required and field.name not in record:
                    raise RequestProblem(400, "is missing; the model needs it", row=index, field=field.name)
                cells[index, column] = cell(field, record.get(field.name), index, text=text)
        return cells

    def columns(
        self, columns: Mapping[str, object], *, text: bool = False, superset: bool = False, what: str = "columns"
    ) -> Cells:
        """Cells of named columns, each a list of equal length; a scalar counts as a list of one."""
        self.plan(list(columns), superset=superset)
        lists = {
            name: list(value) if isinstance(value, (list, tuple)) else [value]
            for name, value in columns.items()
            if name in self.names
        }
        lengths = {name: len(value) for name, value in lists.items()}
        if len(set(lengths.values())) > 1:
            raise RequestProblem(400, f"columns differ in length: {_lengths(lengths)}; give each the same")
        cells = self._empty(next(iter(lengths.values()), 0), what)
        for column, field in enumerate(self.schema.inputs):
            for index, value in enumerate(lists.get(field.name) or [None] * len(cells)):
                cells[index, column] = cell(field, value, index, text=text)
        return cells

    def plan(self, names: object, *, superset: bool) -> Plan:
        """Where the inputs stand among `names`; `RequestProblem` for missing, unknown, doubled and unnamed columns."""
        if not isinstance(names, (list, tuple)):
            raise RequestProblem(400, f"column names must be a list of strings, not {kind_of(names)}")
        key = (superset, tuple(names))
        try:
            found = self._plans.get(key)
        except TypeError:  # a name is a list or an object: said below
            found = None
        if found is None:
            for index, name in enumerate(names):
                if not isinstance(name, str):
                    raise RequestProblem(400, f"column name {index} must be a string, not {kind_of(name)}")
            found = Plan(self.schema, names, superset=superset)
            if len(self._plans) < PLANS_KEPT and len(key[1]) <= NAMES_KEPT:
                self._plans[key] = found
        return found

    def _empty(self, rows: int, what: str) -> Cells:
        if rows == 0:
            raise RequestProblem(400, f'"{what}" holds no row; send one at least')
        return np.empty((rows, self.width), dtype=np.float64 if self.schema.numeric else object)


def cell(field: Field, value: object, row: int, *, text: bool = False) -> Any:  # Any: goes into an array of objects
    """One checked cell: a float for numeric fields, a str for text, NaN or None for a missing optional value."""
    if value is None or (text and value == "" and field.type != "string"):
        if not field.required:
            return math.nan if field.numeric else None
        _refuse(field, row, value, "a value is required")
    if field.type == "string":
        if not isinstance(value, str):
            _refuse(field, row, value, "must be a string")
        return value
    if field.type == "boolean":
        return _boolean(field, value, row, text=text)
    number = _number(field, value, row, text=text)
    if field.type in BOUNDS:
        if not number.is_integer():
            _refuse(field, row, value, "must be a whole number")
        if abs(number) > BOUNDS[field.type]:
            _refuse(field, row, value, f"must lie within +-{BOUNDS[field.type]} (type {field.type})")
    elif field.type == "float" and abs(number) > FLOAT32_MAX:
        _refuse(field, row, value, f"must lie within +-{FLOAT32_MAX} (type float)")
    return number


def _number(field: Field, value: object, row: int, *, text: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or (isinstance(value, str) and not text):
        _refuse(field, row, value, "must be a number")
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        _refuse(field, row, value, "must be a number written in ASCII digits")
    try:
        number = float(value)
    except OverflowError:
        _refuse(field, row, value, "must fit a 64-bit float")
    except ValueError:
        _refuse(field, row, value, "must be a number")
    if not math.isfinite(number):
        _refuse(field, row, value, "must be a finite number")
    return number


def _boolean(field: Field, value: object, row: int, *, text: bool) -> bool:
    if text and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        _refuse(field, row, value, "must be true or false")
    return value


def kind_of(value: object) -> str:
    """What JSON calls the type of `value`, for messages."""
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "a boolean", str: "a string", list: "a list", tuple: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def shown(value: object) -> str:
    """`value` as JSON, cut to a length that a message can bear."""
    try:
        written = json.dumps(value, default=str)
    except (ValueError, RecursionError):  # an integer too long to print, or lists within lists without end
        written = "a value too large to show"
    return written if len(written) <= 40 else written[:37] + "..."


def _refuse(field: Field, row: int, value: object, rule: str) -> NoReturn:
    raise RequestProblem(400, f"{rule}, got {shown(value)} ({kind_of(value)})", row=row, field=field.name)


def _refuse_twice(names: Sequence[str]) -> NoReturn:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    raise RequestProblem(400, f"{_columns(twice)} given twice; give each column once")


def _columns(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    noun = "column" if len(listed) == 1 else "columns"
    return f"{noun} {', '.join(shown(name) for name in listed[:SHOWN])}{more}"


def _lengths(lengths: Mapping[str, int]) -> str:
    return ", ".join(f"{shown(name)} has {length}" for name, length in list(lengths.items())[:SHOWN])
