"""A digest of a fitted estimator that saving and loading do not change: over its parameters and arrays.

`bundle.certificate` writes it down, so that `hydraulic bundle verify` can tell another model from the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mlflow_hydraulic.errors import Failed

DEEPEST = 200  # nested values; a fitted pipeline has some ten
SKIPPED = {"n_jobs", "verbose", "_sklearn_version"}  # change nothing in what is predicted


def estimator_digest(estimator: object) -> str:
    """sha256 over type, parameters and fitted attributes, hex.

    Lists equal tuples and numpy scalars equal Python's, because savers turn the one into the other.
    `Failed` for a value nested more than 200 deep.
    """
    hasher = hashlib.sha256()
    _feed(hasher.update, estimator, 0)
    return hasher.hexdigest()


def rows_digest(rows: np.ndarray) -> str:
    """sha256 over shape, type and bytes of an array, hex."""
    hasher = hashlib.sha256()
    _feed_array(hasher.update, rows, 0)
    return hasher.hexdigest()


Update = Callable[[bytes], None]


def _feed(update: Update, value: Any, depth: int) -> None:  # noqa: PLR0912 - a branch a type
    if depth > DEEPEST:
        raise Failed(f"{type(value).__name__}: nested more than {DEEPEST} deep, so the estimator has no stable digest")
    match value:
        case None | bool() | np.bool_():
            update(f"|{None if value is None else bool(value)}".encode())
        case int() | np.integer():
            update(f"|i{int(value)}".encode())
        case float() | np.floating():
            update(f"|f{float(value).hex()}".encode())
        case str():
            update(f"|s{len(value)}:{value}".encode("utf-8", "surrogatepass"))
        case bytes():
            update(b"|b%d:" % len(value) + value)
        case np.ndarray():
            _feed_array(update, value, depth)
        case Mapping():
            items = sorted(value.items(), key=lambda item: (type(item[0]).__name__, str(item[0])))
            _feed_all(update, "m", (part for item in items for part in item), len(items), depth)
        case set() | frozenset():
            _feed_all(update, "e", sorted(value, key=repr), len(value), depth)
        case list() | tuple():
            _feed_all(update, "l", value, len(value), depth)
        case np.dtype():
            update(f"|d{value.str}".encode())
        case _ if isinstance(value, type) or hasattr(value, "__qualname__"):
            update(f"|t{value.__module__}.{value.__qualname__}".encode())
        case np.random.RandomState():
            _feed(update, value.get_state(legacy=False), depth + 1)
        case _:
            _feed_object(update, value, depth)


def _feed_all(update: Update, kind: str, parts: Iterable[object], count: int, depth: int) -> None:
    update(f"|{kind}{count}".encode())
    for part in parts:
        _feed(update, part, depth + 1)


def _feed_array(update: Update, array: np.ndarray, depth: int) -> None:
    if array.dtype.names:  # field by field: the padding between fields holds whatever was in memory
        for name in array.dtype.names:
            update(f"|n{name}".encode())
            _feed_array(update, array[name], depth)
    elif array.dtype.hasobject:
        _feed_all(update, f"a{array.shape}", array.ravel().tolist(), array.size, depth)
    else:
        update(f"|a{array.dtype.str}{array.shape}".encode())
        update(np.ascontiguousarray(array).tobytes())


def _feed_object(update: Update, value: Any, depth: int) -> None:  # Any: an object of scikit-learn, Cython's among them
    update(f"|o{type(value).__module__}.{type(value).__qualname__}".encode())
    if hasattr(value, "__dict__"):
        state = {key: part for key, part in vars(value).items() if key not in SKIPPED}
        _feed(update, state, depth + 1)
    if not hasattr(value, "__dict__") or not vars(value):
        _feed(update, list(value.__reduce_ex__(2)[1:]), depth + 1)
