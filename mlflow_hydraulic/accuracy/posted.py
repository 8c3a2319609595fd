"""True values from the body of a `POST /actuals`: JSON, JSON lines or CSV; all or none. Called by the intake."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from mlflow_hydraulic.accuracy.reading import FIELD_LIMIT, Columns, actual_of
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.accuracy.values import Actual
from mlflow_hydraulic.errors import BadData, BadInput

MOST = 100_000  # values of one request
ERRORS_NAMED = 20
JSON_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
CSV = ("text/csv", "application/csv")
KEYS = ("id", "row", "actual", "at")
WHERE = "the body"
Record = Mapping[str, Any]  # Any: JSON values until they are checked


def take_posted(store: ActualStore, media: str, body: bytes) -> dict[str, int]:
    """Keep what a body brings, and say what became of it. `BadInput` names every row that is wrong; none is kept then.

    media: its type, as `application/json`. Brought twice, it changes nothing.
    """
    now = time.time()
    return asdict(store.take(read_posted(media, body, now), now))


def read_posted(media: str, body: bytes, now: float) -> list[Actual]:
    """The values of a body. now: seconds since 1970, `at` of those that do not say when."""
    found: list[Actual] = []
    wrong: list[str] = []
    count = 0
    for number, record in _records(media, body):
        count += 1
        if count > MOST:
            raise BadInput(f"more than {MOST} true values in one request: send them in parts")
        try:
            found.append(_read(number, record, now))
        except (BadData, BadInput) as error:
            wrong.append(str(error))
    if wrong:
        more = f"; and {len(wrong) - ERRORS_NAMED} more" if len(wrong) > ERRORS_NAMED else ""
        raise BadInput(
            f"{len(wrong)} of {count} true values cannot be taken, so none is: {'; '.join(wrong[:ERRORS_NAMED])}{more}"
        )
    return found


def _read(number: int, record: Record, now: float) -> Actual:
    unknown = [str(key) for key in record if key not in KEYS]
    if unknown:
        raise BadData(WHERE, f"unknown key {unknown[0][:60]!r}: known are {', '.join(KEYS)}", row=number)
    return actual_of(WHERE, number, record, Columns(), now, source="api")


def _records(media: str, body: bytes) -> Iterator[tuple[int, Record]]:
    """Records with their numbers, from 1; a CSV's and JSON lines' are the lines'."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"the body is no UTF-8: byte {error.start} is wrong") from error
    if media in CSV:
        yield from _csv(text)
    elif media in JSON_LINES:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield number, _object(line, number)
    elif media in ("application/json", ""):
        value = _json(text, "the body")
        listed = value.get("actuals") if isinstance(value, dict) else None
        if not isinstance(listed, list):
            raise BadInput('the body must be {"actuals": [{"id": "...", "row": 0, "actual": 3, "at": "..."}, ...]}')
        for number, one in enumerate(listed, 1):
            if not isinstance(one, dict):
                raise BadInput(f'the body, row {number}: must be an object such as {{"id": "...", "actual": 3}}')
            yield number, one
    else:
        raise BadInput(f"content type {media!r}: send application/json, {JSON_LINES[0]} or {CSV[0]}")


def _object(line: str, number: int) -> Record:
    value = _json(line, f"the body, row {number}")
    if not isinstance(value, dict):
        raise BadInput(f'the body, row {number}: must be an object such as {{"id": "...", "actual": 3}}')
    return value


def _json(text: str, where: str) -> Any:  # Any: a JSON value
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where} is no valid JSON: {error}") from error


def _csv(text: str) -> Iterator[tuple[int, Record]]:
    csv.field_size_limit(FIELD_LIMIT)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = list(reader.fieldnames or ())
        if "id" not in names or "actual" not in names:
            raise BadInput(
                f"the CSV's first line must name id and actual, it has {', '.join(names)[:200] or 'nothing'}"
            )
        for record in reader:
            if None in record or None in record.values():
                raise BadInput(f"the body, row {reader.line_num}: {len(names)} cells are expected")
            yield reader.line_num, record
    except csv.Error as error:
        raise BadInput(f"the body, row {reader.line_num + 1}: {error}") from error
