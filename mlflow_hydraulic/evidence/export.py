"""The ledger as a file that anybody can verify without the database: one row a line, hashes included.

JSON lines or CSV, read back one row at a time. Called by `hydraulic ledger export` and `ledger verify --file`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

from mlflow_hydraulic.errors import BadData, NotFound
from mlflow_hydraulic.evidence.ledger import Chain, Row, Verification

COLUMNS = tuple(column.name for column in fields(Row))
LONGEST_CELL = 2**31 - 1


def write_jsonl(rows: Iterable[Row], out: TextIO) -> int:
    """Write one JSON object a row; returns how many."""
    count = 0
    for row in rows:
        out.write(json.dumps(asdict(row), ensure_ascii=True) + "\n")
        count += 1
    return count


def write_csv(rows: Iterable[Row], out: TextIO) -> int:
    """Write a heading and one line a row, every cell quoted; returns how many rows."""
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        writer.writerow([getattr(row, column) for column in COLUMNS])
        count += 1
    return count


FORMATS: Mapping[str, Callable[[Iterable[Row], TextIO], int]] = {"jsonl": write_jsonl, "csv": write_csv}


def verify_file(path: Path, anchor: Mapping[str, object] | None = None) -> Verification:
    """Verify an exported file. Rows cut off its end are found by an anchor only: a file has no head of its own."""
    chain = Chain(anchor)
    for row in read_rows(path):
        chain.take(row)
    return chain.verification((chain.last, chain.hash))


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of an exported file; `BadData` names the row that is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            first = file.read(1)
            file.seek(0)
            yield from _read_jsonl(path, file) if first in ("{", "") else _read_csv(path, file)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(str(path), f"cannot be read as an exported ledger: {error}") from error


def _read_jsonl(path: Path, file: TextIO) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        try:
            yield _row(json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise BadData(str(path), f"not a row of an exported ledger: {error}", row=number) from error


def _read_csv(path: Path, file: TextIO) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(file, strict=True)
    try:
        if tuple(next(reader, ())) != COLUMNS:
            raise BadData(str(path), f"is neither JSON lines nor CSV with the columns {', '.join(COLUMNS)}", row=1)
        for cells in reader:
            yield _row(dict(zip(COLUMNS, cells, strict=True)))
    except (csv.Error, ValueError, TypeError) as error:
        raise BadData(str(path), f"not a row of an exported ledger: {error}", row=reader.line_num) from error


def _row(value: object) -> Row:
    if not isinstance(value, dict) or set(value) != set(COLUMNS):
        raise TypeError(f"it must have exactly the columns {', '.join(COLUMNS)}")
    texts = {column: value[column] for column in COLUMNS if column != "seq"}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("every column but seq must be a text")
    return Row(seq=int(value["seq"]), **texts)
