"""What a deployment's accuracy is held against: the table [monitor.accuracy] as a value. Pure.

Read by `monitor.looking` in every process that checks hydraulic.toml: so it imports no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_hydraulic import typed
from mlflow_hydraulic.errors import BadInput

LEAST_LABELS = 10  # fewer say nothing (`accuracy.measures`)
KEYS = ("measure", "bar", "labels", "window")
HIGHER_IS_BETTER = {"accuracy": True, "balanced_accuracy": True, "r2": True, "mae": False, "rmse": False}
HIGHER_IS_BETTER |= {"log_loss": False, "brier": False, "ece": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRule:
    """What a deployment's accuracy is held against.

    measure: "accuracy", "balanced_accuracy", "log_loss", "brier", "ece"; of a regression "mae", "rmse", "r2"; "" is
    accuracy or mae. bar: what it must reach (or stay under); None takes what training measured on unseen runs.
    labels: labelled rows that a judgement needs. window_s: how far back it looks.
    """

    measure: str = ""
    bar: float | None = None
    labels: int = 50
    window_s: float = 7 * 86_400.0


def read_rule(table: Mapping[str, Any]) -> AccuracyRule:
    """From the table [monitor.accuracy] of hydraulic.toml; `BadInput` names the key that is wrong."""
    where = "monitor.accuracy"
    given = typed.known(where, table, KEYS)
    measure = typed.text(f"{where}.measure", given.get("measure", ""))
    if measure and measure not in HIGHER_IS_BETTER:
        raise BadInput(f"{where}.measure={measure!r}: known are {', '.join(HIGHER_IS_BETTER)}")
    bar = given.get("bar")
    if bar is not None and (isinstance(bar, bool) or not isinstance(bar, int | float)):
        raise BadInput(f"{where}.bar={bar!r}: must be a number")
    base = AccuracyRule()
    return AccuracyRule(
        measure=measure,
        bar=None if bar is None else float(bar),
        labels=typed.whole(f"{where}.labels", given.get("labels", base.labels), LEAST_LABELS, 10_000_000),
        window_s=typed.seconds(f"{where}.window", given.get("window", base.window_s)),
    )
