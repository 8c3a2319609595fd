"""Decision trees and forests as ONNX's `TreeEnsemble` in double: the same bits as scikit-learn's.

`bundle.convert` puts these nodes where skl2onnx put a `TreeEnsembleClassifier`, whose scores are float32 by definition
(0.33 comes out as 0.33000001311302185). In `TreeEnsemble` (ai.onnx.ml 5) a leaf has one weight, so each tree is there
once a class; the sums are added in scikit-learn's order and divided by the number of trees afterwards, as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    from sklearn.base import BaseEstimator

ML_OPSET = 5
LARGEST = 20_000_000  # nodes times classes; above, skl2onnx's smaller graph is kept


def trees_of(estimator: BaseEstimator) -> list[Any] | None:  # Any: scikit-learn's Tree, written in Cython
    """The trees whose class shares are averaged, or None when the estimator is not such a forest or is too large."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

    if type(estimator) in (DecisionTreeClassifier, ExtraTreeClassifier):
        trees = [estimator.tree_]
    elif type(estimator) in (RandomForestClassifier, ExtraTreesClassifier):
        trees = [member.tree_ for member in estimator.estimators_]
    else:
        return None
    classes = len(estimator.classes_)
    return trees if sum(tree.node_count for tree in trees) * classes <= LARGEST else None


def forest_nodes(trees: list[Any], classes: np.ndarray, given: str, label: str, probabilities: str) -> list[Any]:
    """ONNX nodes from the double tensor `given` (n, k) to `label` (n,) and the double `probabilities` (n, classes).

    scikit-learn compares float32(x) with a double threshold: so x goes to float and back.
    """
    from onnx import TensorProto, helper, numpy_helper

    labels = classes.astype(object if classes.dtype.kind in "OU" else np.int64)
    ensemble = helper.make_node(
        "TreeEnsemble", ["forest_x"], ["forest_sum"], domain="ai.onnx.ml", **_attributes(trees, len(classes))
    )

    def constant(name: str, value: np.ndarray) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))

    return [
        helper.make_node("Cast", [given], ["forest_single"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["forest_single"], ["forest_x"], to=TensorProto.DOUBLE),
        ensemble,
        constant("forest_trees", np.array(float(len(trees)))),
        helper.make_node("Div", ["forest_sum", "forest_trees"], [probabilities]),
        helper.make_node("ArgMax", [probabilities], ["forest_class"], axis=1, keepdims=0),
        constant("forest_labels", labels),
        helper.make_node("Gather", ["forest_labels", "forest_class"], [label]),
    ]


def _attributes(trees: list[Any], classes: int) -> dict[str, Any]:
    from onnx import numpy_helper

    parts: dict[str, list[np.ndarray]] = {}
    nodes = leaves = 0
    for target in range(classes):
        for tree in trees:
            part = _tree(tree, target, nodes, leaves)
            nodes, leaves = nodes + len(part["nodes_featureids"]), leaves + len(part["leaf_weights"])
            for name, values in part.items():
                parts.setdefault(name, []).append(values)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    tensors = {"nodes_splits": np.float64, "leaf_weights": np.float64, "nodes_modes": np.uint8}
    attributes: dict[str, Any] = {
        name: numpy_helper.from_array(values.astype(tensors[name])) if name in tensors else values.tolist()
        for name, values in joined.items()
    }
    return {**attributes, "n_targets": classes, "aggregate_function": 1, "post_transform": 0}


def _tree(tree: Any, target: int, nodes: int, leaves: int) -> dict[str, np.ndarray]:
    """Attributes of one tree for one class; its inner nodes are counted from `nodes`, its leaves from `leaves`."""
    leaf = tree.children_left < 0
    inner = np.flatnonzero(~leaf)
    place = np.where(leaf, leaves + np.cumsum(leaf) - 1, nodes + np.cumsum(~leaf) - 1)
    if len(inner):
        left, right = tree.children_left[inner], tree.children_right[inner]
        feature, threshold = tree.feature[inner], tree.threshold[inner]
    else:  # a tree of one leaf: a node of which both sides are this leaf
        left = right = np.zeros(1, dtype=np.intp)
        feature, threshold = np.zeros(1, dtype=np.intp), np.zeros(1)
    weights = tree.value[leaf, 0, target]
    return {
        "tree_roots": np.array([nodes]),
        "nodes_featureids": feature,
        "nodes_splits": threshold,
        "nodes_modes": np.zeros(len(feature)),  # 0: x <= threshold goes left
        "nodes_truenodeids": place[left],
        "nodes_falsenodeids": place[right],
        "nodes_trueleafs": leaf[left].astype(np.int64),
        "nodes_falseleafs": leaf[right].astype(np.int64),
        "leaf_targetids": np.full(len(weights), target),
        "leaf_weights": weights,
    }
