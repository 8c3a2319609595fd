"""Training on small made-up cycles: what the result holds, the same bits, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.rig.candidates import ALL, candidates_for
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.figures import figures
from mlflow_hydraulic.rig.folds import SCHEMES, Table, folds_of
from mlflow_hydraulic.rig.sensors import CONDITIONS
from mlflow_hydraulic.rig.train import TrainingResult, train
from tests.labelled import labelled_cycles


def some(cycles: Cycles, keep: slice) -> Cycles:
    assert cycles.seconds is not None
    assert cycles.conditions is not None
    assert cycles.run is not None
    return dataclasses.replace(
        cycles,
        means=cycles.means[keep],
        seconds=cycles.seconds[keep],
        conditions=cycles.conditions[keep],
        run=cycles.run[keep],
    )


@pytest.fixture(scope="module")
def result() -> TrainingResult:
    steps: list[tuple[int, int]] = []
    found = train(labelled_cycles(), target="cool_cond_y", progress=lambda *step: steps.append(step))
    total = steps[-1][1]
    assert steps == [(done, total) for done in range(1, total + 1)]
    return found


def test_the_result_holds_model_and_evidence(result: TrainingResult) -> None:
    model = result.model
    assert model.schema.labels == (3, 20, 100)
    assert model.schema.inputs[0].unit == "bar"
    assert (model.features, model.origin, result.chosen) == ("means", "simulated", result.candidates["candidate"][0])
    np.testing.assert_array_equal(model.estimator.classes_, model.schema.labels)
    assert list(model.background.columns) == list(model.schema.names)
    probabilities = model.predict_proba(result.features)
    assert (np.array(model.schema.labels)[probabilities.argmax(axis=1)] == model.predict(result.features)).all()
    assert set(result.evaluations) == set(SCHEMES)
    for found in result.evaluations.values():
        assert np.isfinite(found.probabilities).all()
        assert sorted(set(found.fold)) == [0, 1, 2, 3, 4]
        for interval in found.measures.values():
            assert interval.low <= interval.value <= interval.high
    assert result.confusion().sum() == len(result.truth) == len(result.predictions())
    assert result.evaluations["unseen_runs"].measures["accuracy"].value > 0.9
    assert set(result.nested) == {"unseen_runs", "contiguous_time"}


def test_an_example_is_a_row_of_the_middle_and_never_an_odd_one(result: TrainingResult) -> None:
    rows = result.model.background
    odd = pd.concat([rows.head(1) * 100, rows.head(1).assign(**{str(rows.columns[0]): np.nan}), rows])
    found = dataclasses.replace(result.model, background=odd.reset_index(drop=True)).usual(3)
    assert len(found) == 3 and found.notna().all(axis=None)
    near = (found >= rows.quantile(0.05)) & (found <= rows.quantile(0.95))
    assert near.all(axis=None), found[~near].dropna(how="all")


def test_the_importance_finds_what_was_put_in(result: TrainingResult) -> None:
    assert set(result.importance["feature"][:2]) <= {"psa_bar", "psb_bar", "psc_bar"}


def test_figures_draw_without_a_display(result: TrainingResult) -> None:
    drawn = figures(result)
    assert set(drawn) == {"confusion_matrix.png", "calibration.png", "feature_importance.png"}
    for figure in drawn.values():
        assert "SIMULATED data" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("target", [condition.column for condition in CONDITIONS])
def test_every_target_trains_on_its_default_features(target: str) -> None:
    names = ("logistic", "extra-trees") if target == "stable_y" else ("lda-shrunk-auto", "extra-trees")
    found = train(labelled_cycles(), target=target, candidates=names, nested_choice=False)
    assert found.model.features == ("means" if target == "cool_cond_y" else "statistics")
    assert found.nested == {}


def test_no_run_is_on_both_sides_and_time_is_contiguous() -> None:
    cycles = labelled_cycles()
    assert cycles.run is not None
    table = Table(x=cycles.means.to_numpy(), y=np.arange(len(cycles)) % 3, run=cycles.run, classes=3)
    for train_rows, held_out in folds_of("unseen_runs", table, seed=0):
        assert not set(cycles.run[train_rows]) & set(cycles.run[held_out])
    for _, held_out in folds_of("contiguous_time", table, seed=0):
        assert held_out.max() - held_out.min() == len(held_out) - 1


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_candidate_converts_to_onnx(name: str) -> None:
    classes = 2 if name.startswith("logistic") else 3
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 4))
    estimator = ALL[name].make(0).fit(x, np.arange(60) % classes)
    assert to_onnx(estimator, initial_types=[("X", DoubleTensorType([None, 4]))]).ByteSize() > 0


SAME_BITS = """
import hashlib, sys
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from mlflow_hydraulic.rig.train import train
from tests.labelled import labelled_cycles
cycles = labelled_cycles(runs=10, length=4)
for asked in sys.argv[1:]:
    candidate, _, seed = asked.partition(":")
    model = train(cycles, target="hyd_accum_bar_y", candidates=(candidate,), seed=int(seed)).model
    graph = to_onnx(model.estimator, initial_types=[("X", DoubleTensorType([None, len(model.schema.inputs)]))])
    nodes = graph.graph.SerializeToString(deterministic=True)
    rows = model.predict_proba(model.background).tobytes()
    print(hashlib.sha256(nodes).hexdigest(), hashlib.sha256(rows).hexdigest())
"""


def _digests(*asked: str, threads: int) -> list[str]:
    """One of each "candidate:seed", all trained in one process of their own."""
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", SAME_BITS, *asked]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=True).stdout.splitlines()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_in_another_process_with_other_threads() -> None:
    lda, trees, other_trees = _digests("lda:0", "extra-trees:0", "extra-trees:1", threads=1)
    assert _digests("extra-trees:0", "lda:0", threads=4) == [trees, lda]
    assert trees != other_trees


def test_the_same_seed_gives_the_same_evidence(result: TrainingResult) -> None:
    again = train(labelled_cycles(), target="cool_cond_y")
    for scheme, found in result.evaluations.items():
        assert again.evaluations[scheme].probabilities.tobytes() == found.probabilities.tobytes()
        assert again.evaluations[scheme].measures == found.measures
    assert hashlib.sha256(again.importance.to_csv().encode()).digest() == (
        hashlib.sha256(result.importance.to_csv().encode()).digest()
    )
    assert again.model.background.equals(result.model.background)


def test_what_cannot_be_learned_from_is_refused() -> None:
    cycles = labelled_cycles()
    with pytest.raises(BadInput, match="target='cooler': the rig has no such condition"):
        train(cycles, target="cooler")
    with pytest.raises(BadInput, match="made up has no labels"):
        train(dataclasses.replace(cycles, conditions=None, run=None), target="cool_cond_y")
    with pytest.raises(BadInput, match="--features means"):
        train(dataclasses.replace(cycles, seconds=None), target="pump_leak_y")
    with pytest.raises(BadInput, match="two classes at least"):
        train(some(cycles, slice(0, 5)), target="cool_cond_y")
    with pytest.raises(BadInput, match="come from 4 runs: cross-validation by run needs at least 5"):
        train(some(cycles, slice(0, 20)), target="cool_cond_y")
    with pytest.raises(BadInput, match=r"candidates=\['perceptron'\]: choose some of"):
        train(cycles, target="cool_cond_y", candidates=("perceptron",))
    cycles.means.iloc[3, 0] = np.nan
    with pytest.raises(BadInput, match="cycle 3, sensor psa_bar: nan"):
        train(cycles, target="cool_cond_y")


def test_a_fold_with_one_class_left_is_refused() -> None:
    cycles = labelled_cycles(runs=6)
    assert cycles.conditions is not None
    cycles.conditions["stable_y"] = [1] * 5 + [0] * 25
    with pytest.raises(BadInput, match="leaves a single class to train on"):
        train(cycles, target="stable_y")


def test_two_classes_have_no_discriminant_analysis() -> None:
    assert not [candidate.name for candidate in candidates_for(2) if candidate.name.startswith("lda")]
