"""Estimators as bytes: the same numbers back, the same bytes each time, and nothing hostile gets in."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlflow_hydraulic.errors import BadInput, Untrusted
from mlflow_hydraulic.plugin.estimator import dump_estimator, load_estimator

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])
MAKERS: list[Callable[[], Any]] = [
    lambda: RandomForestClassifier(4, random_state=0),
    lambda: ExtraTreesClassifier(4, random_state=0),
    lambda: RandomForestRegressor(4, random_state=0),
    lambda: GradientBoostingClassifier(n_estimators=3, random_state=0),
    lambda: HistGradientBoostingClassifier(max_iter=3, random_state=0),
    lambda: AdaBoostClassifier(n_estimators=3, random_state=0),
    lambda: BaggingClassifier(n_estimators=3, max_features=0.5, random_state=0),
    lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    LinearDiscriminantAnalysis,
]


def fitted(make: Callable[[], Any] = MAKERS[0]) -> Any:
    return make().fit(X, Y)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: type(make()).__name__)
def test_it_comes_back_with_the_same_numbers_and_bytes(make: Callable[[], Any]) -> None:
    estimator = fitted(make)
    data = dump_estimator(estimator)
    again = load_estimator(data)
    assert np.array_equal(again.predict(X), estimator.predict(X))
    assert dump_estimator(again) == data
    assert dump_estimator(fitted(make)) == data  # trained again with the same seed


def test_another_process_writes_the_same_bytes() -> None:
    script = (
        "import sys, numpy as np; from sklearn.ensemble import RandomForestClassifier;"
        "from mlflow_hydraulic.plugin.estimator import dump_estimator;"
        "X = np.arange(60.0).reshape(30, 2) % 7; y = np.arange(30) % 3;"
        "sys.stdout.buffer.write(dump_estimator(RandomForestClassifier(3, random_state=0).fit(X, y)))"
    )
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    x, y = np.arange(60.0).reshape(30, 2) % 7, np.arange(30) % 3
    assert len(there) > 1000
    assert there == dump_estimator(RandomForestClassifier(3, random_state=0).fit(x, y))


def test_a_type_off_the_list_is_refused_on_save() -> None:
    estimator = make_pipeline(FunctionTransformer(np.testing.assert_allclose), StandardScaler())
    with pytest.raises(BadInput, match=r"Pipeline holds numpy\.testing\S*assert_allclose: not on the list"):
        dump_estimator(estimator)


def test_what_skops_cannot_write_is_refused_on_save() -> None:
    estimator = StandardScaler().fit(X)
    estimator.lost = (number for number in range(3))
    with pytest.raises(BadInput, match="StandardScaler"):
        dump_estimator(estimator)


def test_a_type_off_the_list_is_refused_by_name_and_not_run() -> None:
    data = skops.io.dumps(make_pipeline(FunctionTransformer(exec), StandardScaler()))
    with pytest.raises(Untrusted, match=r"holds builtins\.exec: not on the list .* nothing was loaded"):
        load_estimator(data)


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(Untrusted, match="dict, which is no scikit-learn estimator"):
        load_estimator(skops.io.dumps({"predict": 1}))


def edited_arrays(data: bytes, edit: Callable[[Any], None], fields: set[str]) -> bytes:
    """`data` with `edit` applied to each structured array that has `fields`."""
    target = io.BytesIO()
    touched = 0
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            array = np.load(io.BytesIO(content)) if name.endswith(".npy") else np.empty(0)
            if fields <= set(array.dtype.names or ()):
                edit(array)
                touched += 1
                buffer = io.BytesIO()
                np.save(buffer, array)
                content = buffer.getvalue()
            archive.writestr(name, content)
    assert touched
    return target.getvalue()


def setting(field: str, value: int) -> Callable[[Any], None]:
    def edit(nodes: Any) -> None:
        nodes[field][0] = value

    return edit


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("left_child", 10**6, "nodes that it does not hold"),
        ("right_child", -7, "nodes that it does not hold"),
        ("left_child", 0, "nodes that it does not hold"),  # a walk that never ends
        ("feature", 4, "a feature beyond the 4"),
        ("feature", -1, "a feature beyond the 4"),
    ],
)
def test_a_tree_that_points_outside_is_refused(field: str, value: int, problem: str) -> None:
    data = edited_arrays(dump_estimator(fitted()), setting(field, value), {"left_child", "feature"})
    with pytest.raises(Untrusted, match=problem):
        load_estimator(data)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [("left", 10**6, "nodes that"), ("right", 0, "nodes that"), ("feature_idx", 4, "a feature beyond the 4")],
)
def test_a_boosted_tree_that_points_outside_is_refused(field: str, value: int, problem: str) -> None:
    estimator = fitted(lambda: HistGradientBoostingClassifier(max_iter=3, random_state=0))
    data = edited_arrays(dump_estimator(estimator), setting(field, value), {"left", "feature_idx"})
    with pytest.raises(Untrusted, match=problem):
        load_estimator(data)


def test_a_set_of_categories_that_is_not_there_is_refused() -> None:
    def edit(nodes: Any) -> None:
        nodes["is_categorical"][0], nodes["bitset_idx"][0] = 1, 99

    data = dump_estimator(fitted(lambda: HistGradientBoostingClassifier(max_iter=3, random_state=0)))
    with pytest.raises(Untrusted, match="a set of categories"):
        load_estimator(edited_arrays(data, edit, {"bitset_idx"}))


def test_a_member_that_promises_wider_rows_than_its_ensemble_is_refused() -> None:
    estimator = fitted()
    wider = np.column_stack([np.zeros_like(X), X])  # the first four columns tell nothing, so no tree asks for them
    estimator.estimators_[0] = RandomForestClassifier(1, random_state=0).fit(wider, Y).estimators_[0]
    with pytest.raises(Untrusted, match="a feature beyond the 4"):
        load_estimator(dump_estimator(estimator))


@given(st.binary(max_size=40))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(Untrusted, match="not a skops file"):
        load_estimator(data)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), st.lists, max_leaves=4), st.data())
def test_a_strange_index_is_refused(junk: object, data: st.DataObject) -> None:
    index = data.draw(st.sampled_from([junk, {"__loader__": junk}, {"protocol": junk}, {"__loader__": "TreeNode"}]))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("schema.json", json.dumps(index))
    with pytest.raises(Untrusted):
        load_estimator(target.getvalue())
