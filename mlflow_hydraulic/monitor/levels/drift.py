"""Drift as findings: one for each test of the inputs and predictions, with effect, p-value, window and plot.

Called by the monitor for each deployment with the baseline of the version that answers.
"""

from __future__ import annotations

from dataclasses import replace

from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.drift.budget import Budget
from mlflow_hydraulic.drift.check import DriftResult, check_window
from mlflow_hydraulic.monitor.findings import Finding, Subject
from mlflow_hydraulic.monitor.plots import drift_plot
from mlflow_hydraulic.record.values import Window

NO_BASELINE = "this version has no training rows to judge drift by: save it anew with this release"


def drift_findings(
    subject: Subject, window: Window, baseline: Baseline | None, budget: Budget, elapsed_s: float | None = None
) -> list[Finding]:
    """Findings of every test; one grey where there is nothing to judge by, or too few rows.

    elapsed_s: since the look before; None for the first, which then counts as a look of the budget's own interval.
    """
    grey = Finding(
        subject=subject,
        level="drift",
        rule="rows",
        colour="grey",
        cause=NO_BASELINE,
        since=window.since,
        until=window.until,
        numbers={"rows": len(window)},
    )
    if baseline is None:
        return [grey]
    if not len(window):
        return [replace(grey, cause="nothing was asked in this window")]
    results = check_window(
        baseline,
        window.inputs,
        probabilities=window.probabilities,
        labels=window.schema.labels,
        budget=budget,
        elapsed_s=elapsed_s,
    )
    units = {field.name: field.unit for field in window.schema.inputs}
    return [_finding(grey, one, units, window) for one in results]


def _finding(base: Finding, result: DriftResult, units: dict[str, str | None], window: Window) -> Finding:
    numbers = {
        "effect": result.effect,
        "p_value": result.p_value,
        "deviation": result.deviation,
        "orange_from": result.orange_from,
        "threshold": result.red_from,
        "rows": float(result.rows),
    }
    first = window.at[-result.rows] if result.rows else base.since
    picture = result.picture
    return replace(
        base,
        rule=result.test,
        colour=result.colour,
        cause=result.cause,
        numbers=numbers,
        features=result.features,
        since=float(first),
        plot=drift_plot(picture, units.get(picture.feature)) if picture else "",
    )
