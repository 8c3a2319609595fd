"""True values from a file: CSV, JSON lines or Parquet, in batches, so that a file may be larger than memory.

Columns: `id`, `actual`, and if need be `row` (0 where it is missing) and `at` (ISO 8601 or seconds since 1970). Called
by `hydraulic actuals load`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlflow_hydraulic.accuracy.values import Actual
from mlflow_hydraulic.errors import BadData, BadInput

BATCH = 10_000
FIELD_LIMIT = 1 << 20  # characters in one cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the file calls them."""

    id: str = "id"
    actual: str = "actual"
    row: str = "row"
    at: str = "at"


def read_actuals(path: Path, columns: Columns, now: float) -> Iterator[list[Actual]]:
    """The file's values in its order, some thousand at a time. now: `at` of those that do not say when.

    `BadInput` for a file of another kind or without the columns, `BadData` with row and column for a bad cell.
    """
    readers = {".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path}: files of true values end in {', '.join(sorted(readers))}")
    batch: list[Actual] = []
    try:
        for number, record in reader(path, columns):
            batch.append(actual_of(str(path), number, record, columns, now, source=f"file {path.name}"))
            if len(batch) == BATCH:
                yield batch
                batch = []
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    if batch:
        yield batch


def parse_time(text: object) -> float:
    """Seconds since 1970 from such a number or from ISO 8601; without an offset it is UTC. ValueError otherwise."""
    if isinstance(text, datetime):
        return _seconds(text)
    if isinstance(text, int | float):
        return float(text)
    try:
        return float(str(text))
    except ValueError:
        return _seconds(datetime.fromisoformat(str(text).strip().replace("Z", "+00:00")))


def _seconds(time: datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def actual_of(
    file: str, number: int, record: Mapping[str, Any], columns: Columns, now: float, *, source: str
) -> Actual:  # Any: cells as they were read
    """The value in a record, which stands in row `number` of `file`. `BadData` names row and column."""

    def bad(column: str, problem: str) -> BadData:
        return BadData(file, problem, row=number, column=column)

    name, value = record.get(columns.id), record.get(columns.actual)
    if name in (None, ""):
        raise bad(columns.id, "no prediction id: each true value names the prediction that it belongs to")
    if value in (None, "") or isinstance(value, dict | list):
        raise bad(columns.actual, f"{value!r} is no true value: leave the line out while nothing is known")
    row, at = record.get(columns.row), record.get(columns.at)
    try:
        whole = 0 if row in (None, "") else int(str(row))
    except ValueError as error:
        raise bad(columns.row, f"{row!r} is no number of a row: 0 is the request's first") from error
    try:
        when = now if at in (None, "") else parse_time(at)
    except (ValueError, OverflowError) as error:
        raise bad(columns.at, f'{at!r} is no time: write "2026-11-23T10:00:00Z" or seconds since 1970') from error
    try:
        return Actual(id=str(name), row=whole, value=value, at=when, source=source)
    except BadInput as error:
        raise bad(columns.id, str(error)) from error


def _csv(path: Path, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(FIELD_LIMIT)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        try:
            _check(path, reader.fieldnames or (), columns)
            for record in reader:
                if None in record or None in record.values():
                    raise BadData(str(path), f"{len(reader.fieldnames or ())} cells are expected", row=reader.line_num)
                yield reader.line_num, record
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadData(str(path), str(error), row=reader.line_num + 1) from error


def _json_lines(path: Path, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise BadData(str(path), f"is no JSON: {error}", row=number) from error
            if not isinstance(record, dict):
                raise BadData(str(path), f'is no object such as {{"{columns.id}": ...}}', row=number)
            yield number, record


def _parquet(path: Path, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check(path, names, columns)
            kept = [name for name in (columns.id, columns.actual, columns.row, columns.at) if name in names]
            number = 0
            for batch in file.iter_batches(batch_size=BATCH, columns=kept):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except pyarrow.ArrowInvalid as error:
        raise BadData(str(path), f"is no Parquet file: {error}") from error


def _check(path: Path, names: Iterable[str], columns: Columns) -> None:
    found = list(names)
    for name in (columns.id, columns.actual):
        if name not in found:
            raise BadInput(
                f"{path}: has no column {name!r}; its columns are {', '.join(map(str, found)) or 'none'}. "
                f"Name yours with --id-column and --actual-column"
            )
