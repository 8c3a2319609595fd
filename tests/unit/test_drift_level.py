"""Drift and odd rows as findings: colours, causes, numbers, and plots that are safe to show."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.drift.budget import Budget
from mlflow_hydraulic.drift.picture import Picture
from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.monitor.findings import Colour, Subject
from mlflow_hydraulic.monitor.levels.anomaly import Expected, anomaly_finding
from mlflow_hydraulic.monitor.levels.drift import drift_findings
from mlflow_hydraulic.monitor.plots import drift_plot
from mlflow_hydraulic.record.values import Served, Window
from mlflow_hydraulic.schema import Field, Schema

SUBJECT = Subject(environment="prod", deployment="cooler")
NAMES = ("psa_bar", "tsa_temp", "<script>$x$")
SCHEMA = Schema(inputs=tuple(Field(name=name, unit="bar") for name in NAMES), target="y", labels=(3, 20))
Values = NDArray[np.float64]


def window(rows: Values, anomalous: NDArray[np.bool_] | None = None) -> Window:
    at = np.arange(len(rows), dtype=np.float64)
    return Window(
        schema=SCHEMA,
        served=Served(model="m", version="1", digest="d"),
        since=0.0,
        until=float(len(rows)),
        ids=np.array([str(n) for n in range(len(rows))], dtype=object),
        rows=np.zeros(len(rows), dtype=np.int64),
        at=at,
        inputs=rows,
        labels=np.zeros(len(rows)),
        anomalous=anomalous,
    )


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    rows = np.random.default_rng(1).normal(size=(2000, 3))
    return Baseline(make_reference(rows, NAMES))


def test_what_is_as_in_training_is_green(baseline: Baseline) -> None:
    found = drift_findings(SUBJECT, window(np.random.default_rng(2).normal(size=(300, 3))), baseline, Budget())
    assert {one.colour for one in found} == {"green"} and all(one.level == "drift" for one in found)
    assert len({one.rule for one in found}) == len(found) and all(one.cause and not one.plot for one in found)


def test_a_shift_is_red_with_its_input_effect_and_plot(baseline: Baseline) -> None:
    rows = np.random.default_rng(3).normal((0.0, 1.5, 0.0), size=(300, 3))
    worst = drift_findings(SUBJECT, window(rows), baseline, Budget())[0]
    assert worst.colour == "red" and worst.features[0] == "tsa_temp"
    assert worst.numbers["p_value"] < 0.001 and abs(worst.numbers["effect"]) > 0.5
    assert worst.numbers["deviation"] > worst.numbers["threshold"] > worst.numbers["orange_from"]
    assert "tsa_temp [bar]" in "".join(ElementTree.fromstring(worst.plot).itertext())  # noqa: S314 - our own
    assert worst.until == 300.0 and worst.since == 300 - worst.numbers["rows"]


def test_nothing_to_judge_by_is_grey_and_says_why(baseline: Baseline) -> None:
    few = np.zeros((5, 3))
    for one, named in (
        (drift_findings(SUBJECT, window(few), None, Budget()), "save it anew"),
        (drift_findings(SUBJECT, window(few[:0]), baseline, Budget()), "nothing was asked"),
        (drift_findings(SUBJECT, window(few), baseline, Budget()), "rows"),
    ):
        assert [finding.colour for finding in one] == ["grey"] and named in one[0].cause


def test_a_plot_is_one_safe_element_and_always_the_same() -> None:
    picture = Picture(
        feature="<script>$x$",
        edges=tuple(np.linspace(0, 1, 31)),
        training=(1 / 30,) * 30,
        window=(1 / 30,) * 30,
        values=tuple(np.linspace(0, 1, 50_000)),
        low=0.05,
        high=0.95,
    )
    made = drift_plot(picture, "bar")
    assert made == drift_plot(picture, "bar")
    assert made.startswith("<svg") and "<script" not in made and len(made) < 200_000
    assert "<script>$x$ [bar]" in "".join(ElementTree.fromstring(made).itertext())  # noqa: S314 - our own
    hollow = replace(picture, values=(float("nan"),) * 10)
    assert drift_plot(hollow).startswith("<svg")


@pytest.mark.parametrize(
    ("flagged", "block_rows", "colour"),
    [(1, 1, "green"), (20, 1, "red"), (6, 1, "orange"), (20, 50, "green"), (150, 50, "red")],
)
def test_a_rate_of_odd_rows(flagged: int, block_rows: int, colour: Colour) -> None:
    flags = np.arange(400) < flagged
    seen = window(np.zeros((400, 3)), flags)
    one = anomaly_finding(SUBJECT, seen, Expected(rate=0.003, block_rows=block_rows), red=0.0005, orange=0.02)
    assert one.colour == colour, one.cause
    assert one.numbers["count"] == flagged and f"{flagged} of 400 rows" in one.cause


def test_odd_rows_that_nobody_flagged_are_grey() -> None:
    for seen, expected in (
        (window(np.zeros((400, 3))), Expected(rate=0.0)),
        (window(np.zeros((4, 3)), np.zeros(4, dtype=bool)), Expected(rate=0.0)),
        (window(np.zeros((400, 3)), np.zeros(400, dtype=bool)), None),
    ):
        assert anomaly_finding(SUBJECT, seen, expected, 0.001, 0.01).colour == "grey"
