"""The table [monitor] of hydraulic.toml: defaults, what is read, and each key and bound that is refused."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_hydraulic.drift.budget import Budget
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.configured import read_monitoring
from mlflow_hydraulic.monitor.looking import Looking, read_looking


def test_defaults() -> None:
    assert read_looking({}) == Looking()
    assert (Looking().interval_s, Looking().window_s, Looking().rows) == (60, 86_400, 500)
    assert (Looking().budget.false_reds, Looking().budget.period_days, Looking().budget.oranges) == (1, 90, 20)


def test_what_is_given_is_read() -> None:
    table = {
        "interval": "30s",
        "window": "2h",
        "rows": 50,
        "drift": {"false_reds": 0.5, "period": "1w", "oranges": 1},
    }
    looking = read_looking(table)
    assert (looking.interval_s, looking.window_s, looking.rows) == (30, 7200, 50)
    assert looking.budget == Budget(false_reds=0.5, period_days=7, oranges=1, look_every_s=30)


@pytest.mark.parametrize(
    "table", [{"interval": 1}, {"rows": 10}, {"rows": 100_000}, {"window": "1s"}, {"drift": {"oranges": 1}}]
)
def test_bounds_themselves_are_taken(table: dict[str, Any]) -> None:
    read_looking(table)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"interval": 0.9}, "monitor.interval=0.9: must be 1 s or more"),
        ({"interval": "soon"}, "monitor.interval='soon': write how long"),
        ({"interval": True}, "monitor.interval=True: write how long"),
        ({"interval": "3700d"}, "monitor.interval='3700d': must be from 0 to 10 years"),
        ({"interval": float("nan")}, "monitor.interval=nan: must be from 0 to 10 years"),
        ({"window": 0}, "monitor.window=0: must be more than 0 s"),
        ({"window": -1}, "monitor.window=-1: must be from 0"),
        ({"window": []}, "monitor.window=[]: write how long"),
        ({"rows": 9}, "monitor.rows=9: must be a whole number from 10 to 100000"),
        ({"rows": 100_001}, "monitor.rows=100001: must be a whole number from 10 to 100000"),
        ({"rows": 50.0}, "monitor.rows=50.0: must be a whole number"),
        ({"rows": True}, "monitor.rows=True: must be a whole number"),
        ({"drift": 1}, "monitor.drift=1: must be a table"),
        ({"drift": {"false_red": 1}}, "monitor.drift.false_red: no such key; known are false_reds, period, oranges"),
        ({"drift": {"false_reds": 0}}, "monitor.drift.false_reds=0: must be a number, 0 or more, and not 0"),
        ({"drift": {"false_reds": -1}}, "monitor.drift.false_reds=-1: must be a number"),
        ({"drift": {"false_reds": "1"}}, "monitor.drift.false_reds='1': must be a number"),
        ({"drift": {"false_reds": True}}, "monitor.drift.false_reds=True: must be a number"),
        ({"drift": {"false_reds": float("inf")}}, "monitor.drift.false_reds=inf: must be a number"),
        ({"drift": {"false_reds": float("nan")}}, "monitor.drift.false_reds=nan: must be a number"),
        ({"drift": {"oranges": 0.5}}, "monitor.drift.oranges=0.5: must be a number, 1 or more"),
        ({"drift": {"period": 0}}, "monitor.drift.period=0: must be more than 0 s"),
        ({"drift": {"period": "90"}}, "monitor.drift.period='90': write how long"),
        ({"accuracy": 1}, "monitor.accuracy=1: must be a table"),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_looking(table)
    assert str(caught.value).startswith(told)


def test_a_key_that_nobody_knows_is_named_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"monitor\.intervall: no such key; known are .*interval"):
        read_monitoring({"monitor": {"intervall": 3}})


@pytest.mark.parametrize("predictors", [1, 3])
def test_shares_of_all_levels_and_tests_are_the_whole_budget(predictors: int) -> None:
    looking = Looking(budget=Budget(false_reds=2.0))
    spent = {level: looking.share(level, predictors).false_reds for level in ("drift", "anomaly", "accuracy")}
    assert predictors * (spent["drift"] + spent["anomaly"] + 2 * spent["accuracy"]) == pytest.approx(2.0)
