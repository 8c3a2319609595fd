"""Values that a TOML file gives, with their types checked: a wrong one is `BadInput` that names its key and the rule.

Called by whoever reads a table of hydraulic.toml: `configuration`, `monitor.rules`, `monitor.channels`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlflow_hydraulic.errors import BadInput

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST_S = 10 * 366 * 86_400


def known(where: str, table: Mapping[str, Any], keys: tuple[str, ...]) -> Mapping[str, Any]:
    """`table`, of which every key is one of `keys`."""
    for key in table:
        if key not in keys:
            raise BadInput(f"{where}.{key}: no such key; known are {', '.join(keys)}")
    return table


def table(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{where}={value!r}: must be a table")
    return value


def items(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"{where}={value!r}: must be a list")
    return value


def texts(where: str, value: Any) -> tuple[str, ...]:
    return tuple(text(where, item) for item in items(where, value))


def text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{where}={value!r}: must be a text")
    return value


def whole(where: str, value: Any, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(f"{where}={value!r}: must be a whole number from {least} to {most}")
    return value


def truth(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{where}={value!r}: must be true or false")
    return value


def seconds(where: str, value: Any) -> float:
    """How long, in seconds: a number, or a text such as "90s", "15m", "4h", "2d", "1w".

    >>> seconds("again", "1.5h"), seconds("again", 90)
    (5400.0, 90.0)
    """
    found = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        length = float(found[1]) * UNIT_S[found[2]]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        length = float(value)
    else:
        raise BadInput(f'{where}={value!r}: write how long, such as "90s", "15m", "4h" or "2d"')
    if not 0 <= length <= LONGEST_S:
        raise BadInput(f"{where}={value!r}: must be from 0 to 10 years")
    return length
