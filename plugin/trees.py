"""Checks decision trees that come from a file, before anything is predicted with them; `plugin/estimator.py` calls it.

scikit-learn walks a tree by indices that it does not check, so a crafted file could crash the process or read foreign
memory (why skops leaves these types off its own list: scikit-learn pull request 34558).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import Tree

from mlflow_hydraulic.errors import Untrusted

IndexArray = NDArray[np.integer[Any]]


def check_trees(estimator: BaseEstimator) -> None:
    """Raises `Untrusted` when a tree inside `estimator` points outside itself or to a feature that its rows lack."""
    for tree, width in _trees(estimator, None):
        if isinstance(tree, TreePredictor):
            _check_predictor(tree, width)
        else:
            _check_tree(tree, width)


def _trees(value: object, width: int | None) -> Iterator[tuple[Any, int]]:  # Any: Tree and TreePredictor are untyped
    """Every tree in `value` with the number of features in the rows that it will see."""
    if isinstance(value, (Tree, TreePredictor)):
        if width is None:
            raise Untrusted("a decision tree that belongs to no fitted estimator: it cannot be checked")
        yield value, width
    elif isinstance(value, BaseEstimator) or type(value).__module__.startswith("sklearn."):
        width = _narrower(width, getattr(value, "n_features_in_", None))
        for name, part in getattr(value, "__dict__", {}).items():
            yield from _trees(part, width if _sees_the_same_rows(value, name, part) else None)
    elif isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
        for part in value:
            yield from _trees(part, width)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _trees(part, width)


def _narrower(width: int | None, own: object) -> int | None:
    if not isinstance(own, (int, np.integer)):
        return width
    return int(own) if width is None else min(width, int(own))


def _sees_the_same_rows(holder: object, name: str, part: object) -> bool:
    """Members of an ensemble are called without a check of their own on its rows; parts of a pipeline check theirs."""
    if isinstance(part, (Tree, TreePredictor)) or name == "_predictors":
        return True
    return name == "estimators_" and not hasattr(holder, "estimators_features_")


def _check_tree(tree: Any, width: int) -> None:  # Any: Tree is untyped
    left, right = tree.children_left, tree.children_right
    split = left != -1
    _check_children(np.stack([left[split], right[split]]), np.flatnonzero(split), int(tree.node_count))
    _check_features(tree.feature[split], width)


def _check_predictor(tree: Any, width: int) -> None:  # Any: TreePredictor is untyped
    nodes = tree.nodes
    split = nodes["is_leaf"] == 0
    inner = nodes[split]
    _check_children(np.stack([inner["left"], inner["right"]]).astype(np.int64), np.flatnonzero(split), len(nodes))
    _check_features(inner["feature_idx"], width)
    categorical = inner["is_categorical"] != 0
    if (
        inner["bitset_idx"][categorical] >= min(len(tree.raw_left_cat_bitsets), len(tree.binned_left_cat_bitsets))
    ).any():
        raise Untrusted(
            "a decision tree points to a set of categories that it does not hold: the file was tampered with"
        )


def _check_children(children: IndexArray, parents: IndexArray, count: int) -> None:
    """A child stands after its parent in every tree that scikit-learn grows, so a walk from the root ends."""
    if count == 0 or (children <= parents).any() or (children >= count).any():
        raise Untrusted("a decision tree points to nodes that it does not hold: the file was tampered with")


def _check_features(features: IndexArray, width: int) -> None:
    if (features < 0).any() or (features >= width).any():
        raise Untrusted(
            f"a decision tree asks for a feature beyond the {width} of its rows: the file was tampered with"
        )
