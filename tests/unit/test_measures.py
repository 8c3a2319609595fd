"""Measures against scikit-learn's, and intervals that know of runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from mlflow_hydraulic.rig.measures import measure, reliability


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_values_are_scikit_learns(seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), random.integers(0, classes, 60)])
    probabilities = random.dirichlet(np.ones(classes), len(truth))
    found = measure(truth, probabilities, np.arange(len(truth)) // 4, seed=0)
    predicted = probabilities.argmax(axis=1)
    assert found["accuracy"].value == pytest.approx(accuracy_score(truth, predicted))
    assert found["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert found["log_loss"].value == pytest.approx(log_loss(truth, probabilities))
    brier = np.mean(np.sum((probabilities - np.eye(classes)[truth]) ** 2, axis=1))
    assert found["brier"].value == pytest.approx(brier)
    confidence, right, count = reliability(truth, probabilities)
    assert found["ece"].value == pytest.approx(np.sum(count * np.abs(confidence - right)) / count.sum())
    for interval in found.values():
        assert interval.low <= interval.high


def test_cycles_of_one_run_count_little_more_than_one() -> None:
    random = np.random.default_rng(0)
    truth = np.zeros(1000, dtype=np.int64)
    hit = np.repeat(random.random(20) < 0.8, 50)  # a run is right or wrong as a whole
    probabilities = (np.stack([hit, ~hit], axis=1) * 0.8 + 0.1).astype(np.float64)
    by_run = measure(truth, probabilities, np.repeat(np.arange(20), 50), seed=0)["accuracy"]
    by_cycle = measure(truth, probabilities, np.arange(1000), seed=0)["accuracy"]
    assert by_run.high - by_run.low > 4 * (by_cycle.high - by_cycle.low)


def test_no_error_is_no_proof_of_perfection() -> None:
    truth = np.arange(100) % 2
    found = measure(truth, np.eye(2)[truth], np.arange(100) // 5, seed=0)
    assert found["accuracy"].value == found["accuracy"].high == 1.0
    assert found["accuracy"].low == pytest.approx(0.05 ** (1 / 20))
    assert found["log_loss"].value == 0


def test_a_wrong_certainty_costs_much_but_not_infinity() -> None:
    truth = np.array([0, 1, 0, 1])
    found = measure(truth, np.eye(2)[1 - truth], np.arange(4), seed=0)
    assert 30 < found["log_loss"].value < 40
    assert found["ece"].value == 1.0
