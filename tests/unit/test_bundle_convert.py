"""Every kind of estimator: the graph it gives, its contract, its bytes; and the bundle of one that gives none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlflow_hydraulic.bundle.build import build_bundle
from mlflow_hydraulic.bundle.certificate import certify
from mlflow_hydraulic.bundle.convert import convert, open_session, run
from mlflow_hydraulic.bundle.forest import trees_of
from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.rig.model import HydraulicModel
from tests.unit.bundle_models import LABELS, make_model, rows

Make = Callable[[], BaseEstimator]

EXACT: dict[str, Make] = {
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": lambda: RandomForestClassifier(12, random_state=0),
    "shallow forest": lambda: RandomForestClassifier(7, max_depth=2, random_state=0),
    "extra trees": lambda: ExtraTreesClassifier(9, min_samples_leaf=5, random_state=0),
    "scaled forest": lambda: make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
}
DOUBLE: dict[str, Make] = {
    "lda": LinearDiscriminantAnalysis,
    "scaled lda": lambda: make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()),
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "pca": lambda: make_pipeline(StandardScaler(), PCA(2), LogisticRegression()),
    "bayes": GaussianNB,
}
SINGLE: dict[str, Make] = {"boosting": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0)}
CONVERTED = {**EXACT, **DOUBLE, **SINGLE}


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", CONVERTED)
def test_each_kind_converts_in_double_and_keeps_the_contract(tmp_path: Path, kind: str, labels: str) -> None:
    model = make_model(CONVERTED[kind](), labels)
    bundle = build_bundle(model, tmp_path / "bundle")
    assert bundle.reason == ""
    assert bundle.precision == "double"
    assert bundle.certificate is not None
    assert bundle.certificate.passed
    session = open_session(bundle.read_graph())
    (given_x,), outputs = session.get_inputs(), session.get_outputs()
    assert (given_x.name, given_x.type, given_x.shape[1]) == ("X", "tensor(double)", 3)
    assert [x.name for x in outputs] == ["label", "probabilities"]
    assert outputs[0].type == ("tensor(string)" if labels == "strings" else "tensor(int64)")
    assert outputs[1].type == "tensor(double)"
    other = rows(50, seed=9)
    found, probabilities = run(session, other.to_numpy())
    assert found.tolist() == model.predict(other).tolist()
    np.testing.assert_allclose(probabilities, model.predict_proba(other), atol=1e-5 if kind in SINGLE else 1e-12)
    for count in (1, 2):
        assert session.run(None, {"X": other.to_numpy()[:count]})[1].shape == (count, len(model.schema.labels))


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(sorted(EXACT)), labels=st.sampled_from(sorted(LABELS)), seed=st.integers(0, 10_000))
def test_a_forest_has_the_bits_of_scikit_learn(kind: str, labels: str, seed: int) -> None:
    model = make_model(EXACT[kind](), labels, seed)
    graph = convert(model.estimator, model.schema, "double")
    certificate = certify(model.estimator, model.schema.names, graph, model.background.to_numpy(), seed=seed)
    assert certificate.passed
    assert certificate.summary.largest_difference == 0
    assert certificate.summary.flips == 0


@settings(deadline=None, max_examples=15)
@given(kind=st.sampled_from(sorted(DOUBLE)), labels=st.sampled_from(sorted(LABELS)), seed=st.integers(0, 10_000))
def test_a_linear_model_passes_its_certificate(kind: str, labels: str, seed: int) -> None:
    model = make_model(DOUBLE[kind](), labels, seed)
    graph = convert(model.estimator, model.schema, "double")
    certificate = certify(model.estimator, model.schema.names, graph, model.background.to_numpy(), seed=seed)
    assert certificate.problems == ()


def test_a_forest_whose_trees_are_single_leaves_converts() -> None:
    frame = rows()
    estimator = RandomForestClassifier(3, random_state=0, min_samples_leaf=150)
    model = make_model(estimator)
    assert [tree.node_count for tree in trees_of(estimator) or []] == [1, 1, 1]
    session = open_session(convert(model.estimator, model.schema, "double").content)
    np.testing.assert_array_equal(run(session, frame.to_numpy())[1], model.predict_proba(frame))


def test_a_value_between_two_float32_goes_where_scikit_learn_sends_it() -> None:
    model = make_model(DecisionTreeClassifier(max_depth=1, random_state=0))
    tree = model.estimator.tree_
    column, threshold = int(tree.feature[0]), float(tree.threshold[0])
    frame = rows(4)
    single = np.float32(threshold)
    up, down = np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))
    frame.iloc[:, column] = [threshold, np.nextafter(threshold, np.inf), (single + float(up)) / 2, (single + down) / 2]
    session = open_session(convert(model.estimator, model.schema, "double").content)
    np.testing.assert_array_equal(run(session, frame.to_numpy())[1], model.predict_proba(frame))


@pytest.mark.parametrize(
    ("estimator", "why"),
    [
        (HistGradientBoostingClassifier(max_iter=3, random_state=0), "in double: "),
        (CalibratedClassifierCV(make_pipeline(StandardScaler(), RidgeClassifier()), cv=2), "in double: "),
    ],
)
def test_what_does_not_convert_says_why_and_is_served_by_pyfunc(
    tmp_path: Path, estimator: BaseEstimator, why: str
) -> None:
    bundle = build_bundle(make_model(estimator), tmp_path / "bundle")
    if bundle.graph is not None:
        assert bundle.certificate is not None
        assert bundle.certificate.passed  # a later converter learnt it
        return
    assert bundle.reason.startswith("served by pyfunc, because")
    assert why in bundle.reason
    assert not (bundle.folder / "model.onnx").exists()


def test_a_model_without_probabilities_and_labels_of_two_kinds_are_refused() -> None:
    model = make_model(RidgeClassifier())
    with pytest.raises(Failed, match="no class probabilities"):
        convert(model.estimator, model.schema, "double")
    halves = make_model(GaussianNB(), "two")
    schema = type(halves.schema)(inputs=halves.schema.inputs, target="y", labels=(0.5, 1.5))
    with pytest.raises(Failed, match="all integers or all strings"):
        convert(halves.estimator, schema, "double")


PRINT_DIGESTS = """
import hashlib
from tests.unit.test_bundle_convert import CONVERTED, build_bundle, make_model
from pathlib import Path
import sys
for kind in ("lda", "pca", "forest", "boosting"):
    print(build_bundle(make_model(CONVERTED[kind]()), Path(sys.argv[1]) / kind).digest)
"""


def test_the_same_model_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    found = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        found.append(
            subprocess.run(
                [sys.executable, "-c", PRINT_DIGESTS, str(tmp_path / seed)],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            ).stdout
        )
    assert found[0] == found[1]
    assert len(found[0].split()) == 4


def test_boosting_is_compared_by_the_bounds_of_float32() -> None:
    model: HydraulicModel = make_model(SINGLE["boosting"]())
    assert convert(model.estimator, model.schema, "double").single
    forest = make_model(EXACT["forest"]())
    assert not convert(forest.estimator, forest.schema, "double").single
