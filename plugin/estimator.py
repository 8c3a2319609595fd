"""A scikit-learn estimator as bytes that are safe to load and the same each time; `plugin/saved.py` calls it.

The format is skops': no pickle, and only types on a list are built. The list is ours, never the file's.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import skops.io
from sklearn.base import BaseEstimator

from mlflow_hydraulic.errors import BadInput, Untrusted
from mlflow_hydraulic.plugin.trees import check_trees

# What skops does not trust by itself: it cannot see whether a tree's indices stay inside the tree. `check_trees` does.
TRUSTED = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
SKOPS_INDEX = "schema.json"
VALUES = ("JsonNode", "TypeNode", "FunctionNode")  # whether two of these are one object in memory means nothing
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can name


def dump_estimator(estimator: BaseEstimator) -> bytes:
    """`estimator` in skops' format; the same bytes for the same estimator.

    Raises `BadInput` naming the type that a reader would not load, or that skops cannot write.
    """
    try:
        data = skops.io.dumps(estimator)
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise BadInput(f"{_name(estimator)} cannot be written in the skops format: {error}") from error
    if unsafe := _untrusted(data):
        raise BadInput(
            f"{_name(estimator)} holds {', '.join(unsafe)}: not on the list of types that are safe to load; "
            "use scikit-learn's own estimators and transformers, or log the model with another MLflow flavor"
        )
    return _canonical(data)


def load_estimator(data: bytes) -> BaseEstimator:
    """The estimator that `dump_estimator` wrote.

    Raises `Untrusted` for a type off the list, which is named and never imported to be run, for a damaged file, and for
    trees that point outside themselves.
    """
    try:
        unsafe = _untrusted(data)
        if not unsafe:
            estimator = skops.io.loads(data, trusted=list(TRUSTED))
    except Exception as error:  # skops raises whatever a crafted or damaged file makes it stumble over
        raise Untrusted(f"not a skops file that can be read: {type(error).__name__}: {error}") from error
    if unsafe:
        raise Untrusted(
            f"it holds {', '.join(unsafe)}: not on the list of types that are safe to load; nothing was loaded"
        )
    if not isinstance(estimator, BaseEstimator):
        raise Untrusted(f"it holds a {type(estimator).__name__}, which is no scikit-learn estimator")
    check_trees(estimator)
    return estimator


def _untrusted(data: bytes) -> list[str]:
    return sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))


def _name(estimator: object) -> str:
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}"


def _canonical(data: bytes) -> bytes:
    """The same skops file without times, memory addresses, random names and padding, which differ at each save."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        index = json.loads(source.read(SKOPS_INDEX))
        names = dict.fromkeys(source.namelist(), "")
        _renumber(index, {}, names)
        contents = {new: _without_padding(source.read(old)) for old, new in names.items() if new}
    contents[SKOPS_INDEX] = json.dumps(index, separators=(",", ":")).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it was written
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _renumber(node: Any, ids: dict[int, int], names: dict[str, str]) -> None:  # Any: the value is JSON
    """Numbers objects and files by where they occur first: skops names them by memory address."""
    if isinstance(node, list):
        for part in node:
            _renumber(part, ids, names)
    elif isinstance(node, dict):
        if node.get("__loader__") in VALUES:
            node.pop("__id__", None)
        elif isinstance(node.get("__id__"), int):
            node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
        if isinstance(node.get("file"), str) and node["file"] in names:
            old = node["file"]
            names[old] = names[old] or f"{len([new for new in names.values() if new])}{old[old.rfind('.') :]}"
            node["file"] = names[old]
        for part in node.values():
            _renumber(part, ids, names)


def _without_padding(content: bytes) -> bytes:
    """Zeroes between the fields of a tree's nodes: scikit-learn leaves there what happened to be in memory."""
    if not content.startswith(b"\x93NUMPY"):
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()
