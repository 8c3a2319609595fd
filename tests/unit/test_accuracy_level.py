"""Accuracy as findings: grey without truths, red only where it is surely worse, an estimate that is never red."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from mlflow_hydraulic.accuracy.estimate import estimate
from mlflow_hydraulic.accuracy.values import Coverage, Labelled
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.findings import Colour, Finding, Subject
from mlflow_hydraulic.monitor.levels.accuracy import Known, accuracy_findings
from mlflow_hydraulic.monitor.levels.accuracy_rule import AccuracyRule, read_rule
from mlflow_hydraulic.rig.measures import Interval
from mlflow_hydraulic.schema import Schema
from tests.unit.test_accuracy_measures import drawn, labelled

LEVELS = {"red": 0.0005, "orange": 0.01}


def known(rows: Labelled | None, predicted: int = 1000, trained: Interval | None = None, **more: object) -> Known:
    count = 0 if rows is None else len(rows)
    return Known(
        subject=Subject(environment="prod", deployment="cooler", predictor="v1"),
        rows=rows,
        coverage=Coverage(predicted=predicted, labelled=count, delay_s=(60.0, 3600.0), by_label={}),
        trained=trained,
        since=0.0,
        until=100.0,
        **(LEVELS | {"estimate": None} | more),  # type: ignore[arg-type]
    )


def found(known: Known, rule: AccuracyRule | None = None) -> Mapping[str, Finding]:
    return {one.rule: one for one in accuracy_findings(known, rule or AccuracyRule())}


def hits(share: float, rows: int = 2000, seed: int = 5) -> Labelled:
    right = np.random.default_rng(seed).random(rows) < share
    return labelled(np.zeros(rows), np.where(right, 0.0, 1.0))


def test_no_truths_are_grey_and_say_how_many_are_missing() -> None:
    for rows in (None, hits(1.0, 49)):
        seen = found(known(rows))
        assert {one.colour for one in seen.values()} == {"grey"}
        assert "of 1000 predicted rows have a true value; 50 are needed" in seen["accuracy"].cause


@pytest.mark.parametrize(
    ("share", "bar", "colour"),
    [(0.95, 0.95, "green"), (0.97, 0.95, "green"), (0.935, 0.95, "orange"), (0.9, 0.95, "red")],
)
def test_worse_than_the_bar(share: float, bar: float, colour: Colour) -> None:
    rows = hits(1.0)
    rows = replace(rows, predicted=np.where(np.arange(2000) % 1000 < 1000 * share, 0.0, 1.0))
    rows = replace(rows, predicted=np.random.default_rng(1).permutation(rows.predicted))
    one = found(known(rows), AccuracyRule(bar=bar))["accuracy"]
    assert one.colour == colour, one.cause
    assert one.numbers["threshold"] == bar and one.numbers["accuracy"] == pytest.approx(share)


def test_the_bar_is_what_training_measured_unless_one_is_set() -> None:
    trained = Interval(0.95, 0.94, 0.96)
    assert found(known(hits(0.9), trained=trained))["accuracy"].colour == "red"
    assert "what training measured, 0.95" in found(known(hits(0.9), trained=trained))["accuracy"].cause
    one = found(known(hits(0.9), trained=trained), AccuracyRule(bar=0.85))["accuracy"]
    assert one.colour == "green" and "is not surely worse than the bar 0.85" in one.cause
    assert found(known(hits(0.9)))["accuracy"].colour == "grey"


def test_a_model_that_is_as_good_as_its_bar_seldom_alarms() -> None:
    reds = [found(known(hits(0.95, 500, seed)), AccuracyRule(bar=0.95))["accuracy"].colour for seed in range(100)]
    assert reds.count("red") == 0 and reds.count("orange") <= 6


def test_errors_are_smaller_the_better() -> None:
    rng = np.random.default_rng(6)
    truth = rng.normal(size=400)
    rows = labelled(truth, truth + rng.normal(scale=0.5, size=400), schema=Schema(inputs=(), target="y"))
    assert found(known(rows), AccuracyRule(bar=0.2))["mae"].colour == "red"
    assert found(known(rows), AccuracyRule(bar=0.6))["mae"].colour == "green"
    assert found(known(rows), AccuracyRule(measure="accuracy", bar=0.6))["accuracy"].colour == "grey"


def test_errors_that_grow() -> None:
    rows = hits(1.0)
    rng = np.random.default_rng(7)
    wrong = rng.random(2000) < np.where(np.arange(2000) < 1500, 0.02, 0.2)
    one = found(known(replace(rows, predicted=wrong.astype(np.float64))))["residuals"]
    assert one.colour == "red" and "grew from 0.0" in one.cause and one.numbers["effect"] > 0.1
    assert found(known(hits(0.9)))["residuals"].colour == "green"


def test_an_estimate_is_orange_at_worst_and_says_what_it_is() -> None:
    rows = drawn(1000)
    assert rows.probabilities is not None
    made = estimate(rows.probabilities)
    one = found(known(None, estimate=made), AccuracyRule(bar=0.999))["estimate"]
    assert one.colour == "orange" and "an estimate, no measurement" in one.cause
    one = found(known(None, estimate=made), AccuracyRule(bar=0.1))["estimate"]
    assert one.colour == "green" and "not surely below 0.1" in one.cause
    assert found(known(None, estimate=made))["accuracy"].colour == "grey"


def test_the_table_in_hydraulic_toml() -> None:
    assert read_rule({}) == AccuracyRule()
    read = read_rule({"measure": "rmse", "bar": 2, "labels": 20, "window": "1d"})
    assert read == AccuracyRule(measure="rmse", bar=2.0, labels=20, window_s=86_400.0)
    for table, named in (
        ({"bars": 1}, "known are measure"),
        ({"measure": "f1"}, "f1.*known are"),
        ({"bar": True}, "must be a number"),
        ({"labels": 3}, "from 10"),
        ({"window": "soon"}, "window"),
    ):
        with pytest.raises(BadInput, match=named):
            read_rule(table)
