"""Reads delimited text into a matrix of finite numbers, quickly, and finds the exact cell when it is damaged.

The quick way is pyarrow's parser; whatever it refuses is read again, cell by cell, by the way that can say where.
`tables` reads whole CSV files with it, `uci` blocks of lines.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from mlflow_hydraulic.errors import BadData

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def problem_of(cell: str) -> str | None:
    """Why `cell` is no finite number, or None.

    >>> problem_of("1.5"), problem_of("NaN"), problem_of("")
    (None, "'NaN' is not a finite number", 'the cell is empty')
    """
    if not cell.strip():
        return "the cell is empty"
    if NUMBER.fullmatch(cell):
        return None if math.isfinite(float(cell)) else f"{_shown(cell)} is too large for a number"
    if cell.strip().lstrip("+-").lower() in {"nan", "inf", "infinity"}:
        return f"{_shown(cell)} is not a finite number"
    return f"{_shown(cell)} is not a number"


def parse_rows(rows: Sequence[bytes], width: int, *, file: str, first_row: int) -> NDArray[np.float64]:
    """Tab-separated lines without their line ends as a matrix, shape (len(rows), width).

    `BadData` names `file`, the row (the first line here is `first_row`) and the column, both counted from 1.
    """
    if all(row.count(b"\t") == width - 1 for row in rows):
        values = _quick(b"\n".join(rows).replace(b"\t", b"\n") + b"\n", len(rows) * width)
        if values is not None:
            return values.reshape(len(rows), width)
    return np.array([_row(row, width, file, first_row + i) for i, row in enumerate(rows)], dtype=np.float64)


def parse_csv(text: str, header: Sequence[str], *, file: str, first_row: int) -> NDArray[np.float64]:
    """Comma-separated lines below a header as a matrix, shape (rows, len(header)).

    `first_row` is the line number of the first of them; `BadData` names the line and the header's column.
    """
    if not text.strip():
        raise BadData(file, "there are no rows below the header: at least one is needed", first_row)
    quick = _quick_csv(text, header)
    if quick is not None:
        return quick
    lines = list(csv.reader(io.StringIO(text)))
    while lines and not any(cell.strip() for cell in lines[-1]):
        lines.pop()
    return np.array([_csv_row(cells, header, file, first_row + i) for i, cells in enumerate(lines)], dtype=np.float64)


def _quick(column: bytes, count: int) -> NDArray[np.float64] | None:
    """One number a line; None where the slow way has to look."""
    try:
        table = pacsv.read_csv(
            pa.BufferReader(column),
            read_options=pacsv.ReadOptions(column_names=["value"], use_threads=False, block_size=max(len(column), 1)),
            parse_options=pacsv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(column_types={"value": pa.float64()}, null_values=[]),
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    values: NDArray[np.float64] = table.column(0).to_numpy()
    return values if len(values) == count and bool(np.isfinite(values).all()) else None


def _quick_csv(text: str, header: Sequence[str]) -> NDArray[np.float64] | None:
    names = [str(i) for i in range(len(header))]
    try:
        table = pacsv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=pacsv.ReadOptions(column_names=names, use_threads=False),
            parse_options=pacsv.ParseOptions(ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(column_types={name: pa.float64() for name in names}, null_values=[]),
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    values = np.column_stack([column.to_numpy() for column in table.columns])
    return values if bool(np.isfinite(values).all()) else None


def _row(row: bytes, width: int, file: str, number: int) -> list[float]:
    try:
        cells = row.decode("ascii").split("\t")
    except UnicodeDecodeError as error:
        column = row[: error.start].count(b"\t") + 1
        raise BadData(file, f"byte {row[error.start]:#04x} is not ASCII text", number, column) from error
    _check(cells, list(range(1, width + 1)), file, number)
    return [float(cell) for cell in cells]


def _csv_row(cells: list[str], header: Sequence[str], file: str, number: int) -> list[float]:
    _check(cells, header, file, number)
    return [float(cell) for cell in cells]


def _check(cells: list[str], columns: Sequence[str | int], file: str, row: int) -> None:
    for column, cell in zip(columns, cells, strict=False):
        problem = problem_of(cell)
        if problem and not (len(cells) == 1 and len(columns) > 1):
            raise BadData(file, problem, row, column)
    if len(cells) < len(columns):
        raise BadData(file, _count("ends after", cells, columns), row, columns[len(cells)])
    if len(cells) > len(columns):
        raise BadData(file, _count("goes on to", cells, columns), row, len(columns) + 1)


def _count(verb: str, cells: list[str], columns: Sequence[str | int]) -> str:
    return f"the row {verb} {len(cells)} columns: {len(columns)} are needed"


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")
