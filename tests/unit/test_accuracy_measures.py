"""Measures with intervals, estimates without labels, and errors that grow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mlflow_hydraulic.accuracy.estimate import calibrate, estimate
from mlflow_hydraulic.accuracy.measures import blocks, confusion, losses, measures
from mlflow_hydraulic.accuracy.residuals import residual_drift
from mlflow_hydraulic.accuracy.values import Labelled
from mlflow_hydraulic.monitor.series.compare import better
from mlflow_hydraulic.record.values import Served
from mlflow_hydraulic.schema import Schema

SERVED = Served(model="m", version="1", digest="d")
CLASSES = Schema(inputs=(), target="y", labels=("a", "b", "c"))
NUMBER = Schema(inputs=(), target="y")
Values = NDArray[np.float64]


def labelled(
    truth: Values, predicted: Values, probabilities: Values | None = None, schema: Schema = CLASSES
) -> Labelled:
    at = np.arange(len(truth), dtype=np.float64)
    return Labelled(
        served=SERVED,
        schema=schema,
        at=at,
        arrived=at + 1,
        truth=truth,
        predicted=predicted,
        probabilities=probabilities,
    )


def drawn(rows: int, seed: int = 1, sharp: float = 3.0) -> Labelled:
    """Calibrated by construction: the truth is drawn from the probabilities."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([1 / sharp] * 3, size=rows)
    truth = (rng.random((rows, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2).astype(np.float64)
    return labelled(truth, probabilities.argmax(axis=1).astype(np.float64), probabilities)


def test_classes_with_probabilities() -> None:
    rows = drawn(2000)
    found = measures(rows)
    assert set(found) == {"accuracy", "balanced_accuracy", "log_loss", "brier", "ece"}
    share = float(np.mean(rows.truth == rows.predicted))
    assert found["accuracy"].value == pytest.approx(share)
    assert found["accuracy"].low < share < found["accuracy"].high
    assert found["ece"].value < 0.05


def test_classes_without_probabilities_and_with_an_unknown_class() -> None:
    truth = np.array([0.0, 0, 1, 1, 2, 2, 0, 1, -1, -1])
    predicted = np.array([0.0, 0, 1, 0, 2, 2, 0, 1, 0, 1])
    found = measures(labelled(truth, predicted))
    assert found["accuracy"].value == 0.7
    assert found["balanced_accuracy"].value == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert confusion(labelled(truth, predicted)).tolist() == [[3, 0, 0], [1, 2, 0], [0, 0, 2], [1, 1, 0]]


def test_no_error_seen_is_no_certainty() -> None:
    right = np.zeros(50)
    assert 0.3 < measures(labelled(right, right))["accuracy"].low < 0.9
    assert measures(labelled(right[:9], right[:9])) == {}


def test_a_regression() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=500)
    found = measures(labelled(truth, truth + 0.5 + rng.normal(scale=0.1, size=500), schema=NUMBER))
    assert found["bias"].low < 0.5 < found["bias"].high and found["bias"].low > 0.45
    assert found["rmse"].value == pytest.approx((0.25 + 0.01) ** 0.5, abs=0.02)
    assert found["r2"].value < found["r2"].high < 1
    constant = labelled(np.ones(20), np.ones(20), schema=NUMBER)
    assert "r2" not in measures(constant) and measures(constant)["mae"].value == 0


def test_intervals_hold_for_rows_that_hang_together() -> None:
    """A hit that lasts 50 rows: blocks cover the true 0.8 about as often as they say, single rows do not."""
    rng = np.random.default_rng(3)
    covered = {1: 0, 100: 0}
    for _ in range(100):
        hit = np.repeat(rng.random(50) < 0.8, 50).astype(np.float64)
        rows = labelled(np.ones(2500), hit)
        for length in covered:
            one = measures(rows, block_rows=length)["accuracy"]
            covered[length] += one.low <= 0.8 <= one.high
    assert covered[100] >= 85 and covered[1] < covered[100] - 10


def test_few_rows_that_hang_together_are_no_certainty() -> None:
    hit = np.ones(30)
    hit[:9] = 0
    for length in (20, 30, 1000):
        one = measures(labelled(np.ones(30), hit), block_rows=length)["accuracy"]
        assert one.low < one.value < one.high, (length, one)
        assert one.high - one.low > 0.3, (length, one)


def test_which_one_errs_less_is_said_where_enough_is_known_of_rows_that_are_alike() -> None:
    def verdict(truth: Values, first: Values, second: Values, block_rows: int) -> str:
        one, other = (labelled(truth, predicted) for predicted in (first, second))
        return better(one, other, block_rows)

    truth, right = np.zeros(400), np.zeros(400)
    wrong = np.zeros(400)
    wrong[100:130] = 1  # one stretch of errors: thirty independent ones, or one alone
    assert "the first is better" in verdict(truth, right, wrong, 1)
    assert "no difference is sure" in verdict(truth, right, wrong, 40)
    assert "the second is better" in verdict(truth, wrong, right, 1)
    assert "too few rows to be sure" in verdict(truth[:130], right[:130], wrong[:130], 40)


def test_blocks_are_never_short() -> None:
    assert np.bincount(blocks(1000, 30)).min() >= 30
    assert blocks(5, 100).tolist() == [0] * 5


def test_estimate_is_right_where_probabilities_are() -> None:
    rows = drawn(5000)
    assert rows.probabilities is not None
    made = estimate(rows.probabilities)
    assert made is not None and made.calibrated_on == 0
    assert made.accuracy.low - 0.02 < float(np.mean(rows.truth == rows.predicted)) < made.accuracy.high + 0.02
    assert made.confusion.sum() == pytest.approx(5000)
    assert made.confusion == pytest.approx(confusion(rows)[:3], abs=120)


def test_estimate_of_an_overconfident_model_is_calibrated_on_labels() -> None:
    rows = drawn(4000)
    assert rows.probabilities is not None
    sharper = rows.probabilities**3
    boastful = replace(rows, probabilities=sharper / sharper.sum(axis=1, keepdims=True))
    assert boastful.probabilities is not None
    truth = float(np.mean(rows.truth == rows.predicted))
    raw, mended = estimate(boastful.probabilities), estimate(boastful.probabilities, calibrate(boastful))
    assert raw is not None and mended is not None
    assert raw.accuracy.value - truth > 0.05 and abs(mended.accuracy.value - truth) < 0.02
    assert mended.confusion.sum() == pytest.approx(4000) and mended.calibrated_on == 4000


@pytest.mark.parametrize("spread", [0.0, 0.05], ids=["one confidence", "many"])
def test_labels_that_were_all_right_do_not_make_an_estimate_that_is_surely_worse(spread: float) -> None:
    """The rig's cooler: 351 true values, all right, were told as 0.9972 [0.9972, 0.9972], surely below 0.9977."""
    sure = 1 - np.linspace(0, spread, 351)
    truth = np.zeros(351)
    known = labelled(truth, truth, np.column_stack([sure, 1 - sure, 0 * sure]))
    assert known.probabilities is not None
    made = estimate(known.probabilities, calibrate(known))
    assert made is not None and made.accuracy.value > 0.99
    assert made.accuracy.low < 0.995 and made.accuracy.high > 0.9977


def test_estimate_of_nothing_is_none() -> None:
    assert estimate(np.full((5, 3), 1 / 3)) is None
    assert estimate(np.full((50, 3), np.nan)) is None
    assert calibrate(drawn(100)) is None


def test_losses() -> None:
    rows = labelled(np.array([0.0, 1, -1]), np.array([0.0, 0, 0]), np.array([[0.7, 0.2, 0.1]] * 3))
    assert losses(rows).tolist() == pytest.approx([0.3, 0.8, 1.0])
    assert losses(replace(rows, probabilities=None)).tolist() == [0, 1, 1]
    assert losses(labelled(np.array([1.0]), np.array([3.0]), schema=NUMBER)).tolist() == [2]


def test_errors_that_grow_are_found_and_steady_ones_are_not() -> None:
    rng = np.random.default_rng(4)
    alarms = sum((residual_drift(rng.exponential(size=400)) or pytest.fail()).p_value <= 0.05 for _ in range(100))
    assert alarms <= 11  # 5 % of 100 and what chance adds in 99 of 100 cases
    grown = residual_drift(np.concatenate([rng.exponential(size=300), 0.8 + rng.exponential(size=100)]))
    assert grown is not None and grown.p_value <= 0.01 and 250 < grown.change < 350 and grown.rise > 0.5
    fallen = residual_drift(np.concatenate([1 + rng.exponential(size=200), rng.exponential(size=200)]))
    assert fallen is not None and fallen.p_value > 0.5
    assert residual_drift(np.ones(20)) is None and residual_drift(np.zeros(0)) is None
    assert (residual_drift(np.ones(400)) or pytest.fail()).p_value == 1.0
