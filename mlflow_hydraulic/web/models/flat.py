"""Nested JSON as lines of name and value, and numbers as people read them. Pure; for the models' pages."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

MOST_LINES, DEEPEST = 5000, 12


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """ "a.b.0": "text" for each leaf, in the value's own order; what is too deep or too much stays one JSON text.

    >>> list(flat({"a": {"b": [1, None]}, "c": {}}))
    [('a.b.0', '1'), ('a.b.1', 'null'), ('c', '{}')]
    """
    for count, line in enumerate(_leaves(value, name, DEEPEST)):
        if count == MOST_LINES:
            return
        yield line


def _leaves(value: object, name: str, deep: int) -> Iterator[tuple[str, str]]:
    parts: Iterator[tuple[object, object]] | None = None
    if deep and isinstance(value, dict) and value:
        parts = iter(value.items())
    elif deep and isinstance(value, list) and value:
        parts = iter(enumerate(value))
    if parts is None:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        return
    for key, part in parts:
        yield from _leaves(part, f"{name}.{key}" if name else str(key), deep - 1)


def json_lines(text: str, name: str) -> list[tuple[str, str]]:
    """JSON in `text`, flattened under `name`; what is no JSON is one line as it stands."""
    try:
        return list(flat(json.loads(text), name)) if text else []
    except (ValueError, RecursionError):
        return [(name, text)]


def told(value: float | None) -> str:
    """A number in at most six digits; words for what is none.

    >>> [told(one) for one in (0.98123456, 12.0, 1e-9, float("inf"), float("nan"), None)]
    ['0.981235', '12', '1e-09', '∞', 'not a number', '']
    """
    if value is None:
        return ""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.6g}"
