"""The certificate finds wrong graphs, tells ties from errors, and is the same each time."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from mlflow_hydraulic.bundle.build import background_rows, graph_of
from mlflow_hydraulic.bundle.certificate import Certificate, certify, no_progress
from mlflow_hydraulic.bundle.convert import Graph, convert, graph_from
from mlflow_hydraulic.bundle.fingerprint import estimator_digest
from mlflow_hydraulic.bundle.rows import BORDER_PAIRS, border_rows, threshold_rows
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.rig.model import HydraulicModel
from tests.unit.bundle_models import LABELS, as_model, classes_of, make_model, rows


def certificate_of(model: HydraulicModel, graph: Graph, seed: int = 0) -> Certificate:
    return certify(model.estimator, model.schema.names, graph, background_rows(model), seed=seed)


def test_swapped_classes_fail() -> None:
    model = make_model(RandomForestClassifier(5, random_state=0))
    graph = onnx.load_from_string(convert(model.estimator, model.schema, "double").content)
    for node in graph.graph.node:
        if node.op_type == "Constant" and node.output[0] == "forest_labels":
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([20, 3, 100])))
    certificate = certificate_of(model, graph_from(graph.SerializeToString()))
    assert not certificate.passed
    assert any("labels differ and are no ties" in problem for problem in certificate.problems)
    assert certificate.summary.flips > certificate.summary.ties


def test_a_label_that_the_model_does_not_know_fails() -> None:
    model = make_model(RandomForestClassifier(5, random_state=0))
    graph = onnx.load_from_string(convert(model.estimator, model.schema, "double").content)
    for node in graph.graph.node:
        if node.op_type == "Constant" and node.output[0] == "forest_labels":
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([3, 20, 101])))
    assert not certificate_of(model, graph_from(graph.SerializeToString())).passed


def test_swapped_columns_of_probabilities_fail() -> None:
    model = make_model(LinearDiscriminantAnalysis())
    other = LinearDiscriminantAnalysis().fit(model.background, model.predict(model.background))
    other.coef_, other.intercept_ = other.coef_[::-1], other.intercept_[::-1]
    certificate = certificate_of(model, convert(other, model.schema, "double"))
    assert any("a probability differs by" in problem for problem in certificate.problems)


def test_a_float_graph_fails_where_double_is_needed_and_double_is_chosen() -> None:
    frame = rows(scale=1e-3, offset=1e4)
    estimator = LinearDiscriminantAnalysis().fit(frame, classes_of(frame, LABELS["three"]))
    model = as_model(estimator, frame)
    assert not certificate_of(model, convert(estimator, model.schema, "float")).passed
    assert certificate_of(model, convert(estimator, model.schema, "float")).precision == "float"
    graph, certificate, reason = graph_of(model, background_rows(model), seed=0, progress=no_progress)
    assert graph is not None
    assert certificate is not None
    assert (graph.precision, certificate.passed, reason) == ("double", True, "")


def test_the_binary_discriminant_that_skl2onnx_gets_wrong_is_put_right() -> None:
    model = make_model(LinearDiscriminantAnalysis(), "two")
    assert certificate_of(model, convert(model.estimator, model.schema, "double")).passed


def test_flips_at_a_decision_border_are_counted_and_are_ties() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=["a", "b", "c"])
    estimator = LogisticRegression(C=1e6).fit(frame, (frame.sum(axis=1) > 0).astype(int))
    model = as_model(estimator, frame)
    certificate = certificate_of(model, convert(estimator, model.schema, "double"))
    borders = next(group for group in certificate.groups if group.name == "borders")
    assert borders.rows == 2 * BORDER_PAIRS
    assert borders.flips == borders.ties
    assert borders.exact_ties <= borders.ties
    assert certificate.passed


def test_border_rows_are_neighbours_of_different_labels() -> None:
    def labels(x: np.ndarray) -> np.ndarray:
        return np.where(x[:, 0] > 1 / 3, "up", "down").astype(object)

    found = border_rows(labels, np.random.default_rng(0).normal(size=(100, 2)), np.random.default_rng(1))
    a, b = np.split(found, 2)
    assert len(a) == BORDER_PAIRS
    assert (labels(a) != labels(b)).all()
    assert (np.abs(a[:, 0] - b[:, 0]) <= np.spacing(1 / 3)).all()


def test_without_a_border_or_trees_these_groups_are_empty() -> None:
    frame = rows()
    assert len(border_rows(lambda x: np.full(len(x), 3, object), frame.to_numpy(), np.random.default_rng(0))) == 0
    assert len(threshold_rows(LogisticRegression(), frame.to_numpy(), np.random.default_rng(0))) == 0


@pytest.mark.parametrize("kind", [RandomForestClassifier, GradientBoostingClassifier])
def test_threshold_rows_stand_on_and_beside_the_thresholds(kind: type[RandomForestClassifier]) -> None:
    model = make_model(kind(n_estimators=3, random_state=0))
    background = background_rows(model)
    found = threshold_rows(model.estimator, background, np.random.default_rng(0))
    assert len(found) % 6 == 0
    at, below, above = np.split(found, 6)[:3]
    moved = np.flatnonzero((at != below).any(axis=0))
    assert len(moved) >= 1
    assert (below <= at).all()
    assert (at <= above).all()


def test_the_same_seed_gives_the_same_certificate_and_another_other_rows() -> None:
    model = make_model(RandomForestClassifier(5, random_state=0, n_jobs=2))
    graph = convert(model.estimator, model.schema, "double")
    first, again, other = (certificate_of(model, graph, seed) for seed in (0, 0, 1))
    assert first.to_dict() == again.to_dict()
    assert first.groups[0] == other.groups[0]
    assert first.groups[1].rows_sha256 != other.groups[1].rows_sha256
    assert model.estimator.n_jobs == 2


def test_the_estimators_digest_tells_models_apart_but_not_copies() -> None:
    one, same, other = (
        make_model(RandomForestClassifier(3, random_state=state, n_jobs=jobs)).estimator
        for state, jobs in ((0, None), (0, 2), (1, None))
    )
    assert estimator_digest(one) == estimator_digest(same)
    assert estimator_digest(one) != estimator_digest(other)
    nudged = make_model(LinearDiscriminantAnalysis()).estimator
    before = estimator_digest(nudged)
    nudged.coef_[0, 0] = np.nextafter(nudged.coef_[0, 0], np.inf)
    assert estimator_digest(nudged) != before


def test_rows_or_labels_that_do_not_fit_are_refused() -> None:
    model = make_model(RandomForestClassifier(2, random_state=0))
    for background, words in (
        (model.background.iloc[:0], "0 rows"),
        (model.background.drop(columns="ps"), "lacks columns"),
        (model.background.assign(ps=np.nan), "NaN"),
    ):
        with pytest.raises(BadInput, match=words):
            background_rows(HydraulicModel(**{**vars(model), "background": background}))
    schema = type(model.schema)(inputs=model.schema.inputs, target="y", labels=(20, 3, 100))
    with pytest.raises(BadInput, match="classes_ in order"):
        background_rows(HydraulicModel(**{**vars(model), "schema": schema}))
