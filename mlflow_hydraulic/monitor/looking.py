"""How the monitor looks: how often, at how much of the record, within which false-alarm budget. Pure.

[monitor]
interval = "1m"                    # from one look to the next
window = "1d"                      # rows older than this are not judged; without a younger one a deployment is grey
rows = 500                         # of those the last so many are judged
[monitor.drift]
false_reds = 1                     # of one deployment in which nothing is wrong, at most, ...
period = "90d"                     # ... in so long
oranges = 20                       # as many times more false oranges
[monitor.accuracy]                 # `levels.accuracy`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlflow_hydraulic import typed
from mlflow_hydraulic.drift.budget import DAY_S, Budget
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.monitor.findings import Level
from mlflow_hydraulic.monitor.levels.accuracy_rule import AccuracyRule, read_rule

KEYS = ("interval", "window", "rows", "drift", "accuracy")
BUDGET_KEYS = ("false_reds", "period", "oranges")
LEAST_INTERVAL_S = 1.0
MOST_ROWS = 100_000
# Who may spend how much of a deployment's budget. Accuracy's share is for two tests that can be red: the measure, and
# whether errors grow.
SHARES: Mapping[Level, float] = {"drift": 0.5, "anomaly": 0.25, "accuracy": 0.25}
ACCURACY_TESTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """interval_s, window_s: seconds. budget: of one deployment, over all its predictors and levels."""

    interval_s: float = 60.0
    window_s: float = DAY_S
    rows: int = 500
    budget: Budget = field(default_factory=lambda: Budget(look_every_s=60.0))
    accuracy: AccuracyRule = field(default_factory=AccuracyRule)

    def share(self, level: Level, predictors: int) -> Budget:
        """What one of so many predictors may spend on one test of `level`; drift divides its own among its tests."""
        tests = ACCURACY_TESTS if level == "accuracy" else 1
        return replace(self.budget, false_reds=self.budget.false_reds * SHARES[level] / (max(predictors, 1) * tests))


def read_looking(table: Mapping[str, Any]) -> Looking:
    """From the table [monitor] of hydraulic.toml; `BadInput` names the key that is wrong."""
    base = Looking()
    interval_s = typed.seconds("monitor.interval", table.get("interval", base.interval_s))
    if interval_s < LEAST_INTERVAL_S:
        raise BadInput(f"monitor.interval={table['interval']!r}: must be {LEAST_INTERVAL_S:g} s or more")
    window_s = typed.seconds("monitor.window", table.get("window", base.window_s))
    if window_s <= 0:
        raise BadInput(f"monitor.window={table['window']!r}: must be more than 0 s")
    return Looking(
        interval_s=interval_s,
        window_s=window_s,
        rows=typed.whole("monitor.rows", table.get("rows", base.rows), 10, MOST_ROWS),
        budget=_budget(typed.table("monitor.drift", table.get("drift", {})), interval_s),
        accuracy=read_rule(typed.table("monitor.accuracy", table.get("accuracy", {}))),
    )


def _budget(table: Mapping[str, Any], interval_s: float) -> Budget:
    given = typed.known("monitor.drift", table, BUDGET_KEYS)
    base = Budget()
    return Budget(
        false_reds=_number("monitor.drift.false_reds", given.get("false_reds", base.false_reds), 0.0),
        period_days=_days(given.get("period", base.period_days * DAY_S)),
        oranges=_number("monitor.drift.oranges", given.get("oranges", base.oranges), 1.0),
        look_every_s=interval_s,
    )


def _days(value: Any) -> float:
    period_s = typed.seconds("monitor.drift.period", value)
    if period_s <= 0:
        raise BadInput(f"monitor.drift.period={value!r}: must be more than 0 s")
    return period_s / DAY_S


def _number(where: str, value: Any, least: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value < float("inf") or value < least or value == 0:
        raise BadInput(f"{where}={value!r}: must be a number, {least:g} or more" + ("" if least else ", and not 0"))
    return float(value)
