"""scikit-learn estimator to ONNX graph, in the shape that `bundle.read` promises and with the same bytes every time.

`bundle.build` and `bundle.verify` call `convert`. skl2onnx does the converting; what it gets wrong is put right here:

- a binary LinearDiscriminantAnalysis comes out with a softmax where scikit-learn has a sigmoid (0.15 off on the rig's
  stable flag): it is converted as the logistic regression that it equals when it predicts;
- trees compare `float32(x)` with a double threshold in scikit-learn, x itself in a double graph: a cast goes before;
- ONNX's tree classifier answers float32 though it adds up in double, and skl2onnx declares double: a cast goes behind;
  trees and forests, as the last step, get the double graph of `bundle.forest` instead.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlflow_hydraulic.bundle.forest import ML_OPSET, forest_nodes, trees_of
from mlflow_hydraulic.bundle.read import Precision
from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.schema import Schema

if TYPE_CHECKING:
    import onnx
    import onnxruntime
    from sklearn.base import BaseEstimator

OPSETS = {"": 18, "ai.onnx.ml": 3}  # these and the next are understood by every onnxruntime that setup.cfg allows
IR_VERSION = 10
TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
SINGLE = (*TREES, "SVMClassifier", "LinearClassifier")  # operators of ONNX whose answers are float32 by definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """An ONNX graph: its bytes, the type of its input, and whether its probabilities carry no more than float32."""

    content: bytes
    precision: Precision
    single: bool


def convert(estimator: BaseEstimator, schema: Schema, precision: Precision) -> Graph:
    """The graph of a fitted classifier with `X` in double or float; it loads in onnxruntime.

    `Failed` gives the reason when the converter or onnxruntime cannot do it.
    """
    if not schema.labels or not hasattr(estimator, "predict_proba"):
        raise Failed(f"{type(estimator).__name__} has no class probabilities: only such classifiers are converted")
    if not _same_kind(schema.labels):
        raise Failed(f"labels {list(schema.labels)!r}: ONNX takes all integers or all strings")
    model = _to_onnx(_stand_in(estimator), len(schema.inputs), precision)
    if precision == "double":
        _put_trees_right(model, estimator)
    content = _normalise(model).SerializeToString(deterministic=True)
    open_session(content)
    return graph_from(content)


def graph_from(content: bytes) -> Graph:
    """A graph from its bytes; `Failed` when they are no ONNX model of the bundle's shape."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(content)
    except DecodeError as error:
        raise Failed(f"not an ONNX model: {error}") from error
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    precision: Precision = "double" if kinds.get("X") == onnx.TensorProto.DOUBLE else "float"
    single = precision == "float" or any(node.op_type in SINGLE for node in model.graph.node)
    return Graph(content=content, precision=precision, single=single)


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """A session on one thread, so that sums are always added in the same order; `Failed` when it does not load."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises one class per status, with no base but Exception
        raise Failed(f"onnxruntime does not load it: {_first_line(error)}") from error
    inputs, outputs = [x.name for x in session.get_inputs()], [x.name for x in session.get_outputs()]
    if inputs != ["X"] or outputs != ["label", "probabilities"]:
        raise Failed(f"the graph has inputs {inputs} and outputs {outputs}: must be X, and label and probabilities")
    return session


def _same_kind(labels: tuple[object, ...]) -> bool:
    return all(type(label) is int for label in labels) or all(type(label) is str for label in labels)


def _to_onnx(estimator: BaseEstimator, columns: int, precision: Precision) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = DoubleTensorType if precision == "double" else FloatTensorType
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the certificate, not the converter's warnings, says whether it is right
            return convert_sklearn(
                estimator,
                name="bundle",
                initial_types=[("X", kind([None, columns]))],
                options={id(estimator): {"zipmap": False}},
                target_opset=OPSETS,
            )
    except Exception as error:  # converters of many estimators raise anything; the reason is kept
        raise Failed(f"skl2onnx does not convert it: {type(error).__name__}: {_first_line(error)}") from error


def _stand_in(estimator: BaseEstimator) -> BaseEstimator:
    """`estimator` with its last step replaced where skl2onnx converts an equal one rightly."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        *first, (name, last) = estimator.steps
        pipeline = copy.copy(estimator)
        pipeline.steps = [*first, (name, _stand_in(last))]
        return pipeline
    if type(estimator) is not LinearDiscriminantAnalysis:
        return estimator
    logistic = LogisticRegression()
    for name in ("coef_", "intercept_", "classes_", "n_features_in_"):
        setattr(logistic, name, getattr(estimator, name))
    return logistic


def _put_trees_right(model: onnx.ModelProto, estimator: BaseEstimator) -> None:
    """A double forest in place of skl2onnx's where the last step is one; else casts around each tree ensemble."""
    from onnx import TensorProto

    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    trees = trees_of(last)
    ensembles = sum(node.op_type in TREES for node in model.graph.node)
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(model.graph.node):
        if node.op_type not in TREES:
            nodes.append(node)
        elif trees is not None and ensembles == 1:
            nodes += forest_nodes(trees, last.classes_, node.input[0], *node.output)
            _declare_opset(model, "ai.onnx.ml", ML_OPSET)
        else:
            nodes += _with_casts(node, number)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for output in model.graph.output:
        if output.name == "probabilities":
            output.type.tensor_type.elem_type = TensorProto.DOUBLE


def _with_casts(node: onnx.NodeProto, number: int) -> list[onnx.NodeProto]:
    from onnx import TensorProto, helper

    rounded, widened, scores = (f"tree_{number}_{part}" for part in ("rounded", "widened", "scores"))
    before = [
        helper.make_node("Cast", [node.input[0]], [rounded], to=TensorProto.FLOAT),
        helper.make_node("Cast", [rounded], [widened], to=TensorProto.DOUBLE),
    ]
    node.input[0] = widened
    answer = node.output[-1]
    node.output[len(node.output) - 1] = scores
    return [*before, node, helper.make_node("Cast", [scores], [answer], to=TensorProto.DOUBLE)]


def _declare_opset(model: onnx.ModelProto, domain: str, version: int) -> None:
    others = [(opset.domain, opset.version) for opset in model.opset_import if opset.domain != domain]
    del model.opset_import[:]
    for name, number in [*others, (domain, version)]:
        model.opset_import.add(domain=name, version=number)


def _normalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """No names, versions or remarks of the converter: the same estimator gives the same bytes."""
    model.producer_name, model.producer_version = "mlflow-hydraulic", ""
    model.ir_version = IR_VERSION
    model.domain, model.doc_string, model.model_version = "", "", 0
    model.graph.name, model.graph.doc_string = "bundle", ""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    for number, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"n{number}", ""
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = ""
    opsets = sorted((opset.domain, opset.version) for opset in model.opset_import)
    for opset, (domain, version) in zip(model.opset_import, opsets, strict=True):
        opset.domain, opset.version = domain, version
    return model


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "")
    return line if len(line) <= 160 else line[:160] + " ..."


def run(session: onnxruntime.InferenceSession, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) as objects and probabilities (n, c) as float64 of `rows`, float64 (n, k); `Failed` if it cannot."""
    kind = np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32
    try:
        labels, probabilities = session.run(["label", "probabilities"], {"X": np.ascontiguousarray(rows, dtype=kind)})
    except Exception as error:  # onnxruntime raises one class per status, with no base but Exception
        raise Failed(f"onnxruntime loads it, but does not run it: {_first_line(error)}") from error
    return np.asarray(labels, dtype=object).ravel(), np.asarray(probabilities, dtype=np.float64)
