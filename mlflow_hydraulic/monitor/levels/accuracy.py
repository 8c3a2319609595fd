"""Accuracy as findings: measured where truths are known, against a bar; errors that grow; an estimate without truths.

No truths means grey, never green. Called by the monitor for each predictor of a deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import ndtr, ndtri

from mlflow_hydraulic.accuracy.estimate import Estimate
from mlflow_hydraulic.accuracy.measures import FEWEST, losses, measures
from mlflow_hydraulic.accuracy.residuals import residual_drift
from mlflow_hydraulic.accuracy.values import Coverage, Labelled
from mlflow_hydraulic.monitor.findings import Colour, Finding, Subject
from mlflow_hydraulic.monitor.levels.accuracy_rule import HIGHER_IS_BETTER, AccuracyRule
from mlflow_hydraulic.rig.measures import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one predictor in a window. trained: the measure as training estimated it, if it did.

    red, orange: levels of one look, from the false-alarm budget.
    """

    subject: Subject
    rows: Labelled | None
    coverage: Coverage
    estimate: Estimate | None
    trained: Interval | None
    since: float
    until: float
    red: float
    orange: float
    block_rows: int = 1


def accuracy_findings(known: Known, rule: AccuracyRule) -> list[Finding]:
    """The measured accuracy, whether errors grow, and the estimate; each grey where there is nothing to judge by."""
    found = [_measured(known, rule), _growing(known, rule)]
    return found if known.estimate is None else [*found, _estimated(known, rule, known.estimate)]


def _measured(known: Known, rule: AccuracyRule) -> Finding:
    rows = known.rows
    name = rule.measure or ("mae" if rows is not None and not rows.schema.labels else "accuracy")
    if rows is None or len(rows) < max(rule.labels, FEWEST):
        told = f"{0 if rows is None else len(rows)} of {known.coverage.predicted} predicted rows have a true value"
        return _finding(known, name, "grey", f"{told}; {rule.labels} are needed to judge", _reach(known))
    seen = measures(rows, block_rows=known.block_rows)
    if name not in seen:
        return _finding(known, name, "grey", f"{name} is no measure of this model: {', '.join(seen)}", _reach(known))
    value = seen[name]
    bar = rule.bar if rule.bar is not None else known.trained.value if known.trained else None
    numbers = {**_reach(known), **{one: interval.value for one, interval in seen.items()}}
    numbers |= {"low": value.low, "high": value.high}
    told = f"{name} {value} on {len(rows)} rows with a true value ({known.coverage.share:.0%} of those predicted)"
    if bar is None:
        cause = f"{told}; there is nothing to hold it against: set monitor.accuracy.bar"
        return _finding(known, name, "grey", cause, numbers)
    colour, p_value = _below(value, bar, known, higher_is_better=HIGHER_IS_BETTER[name])
    whose = "the bar" if rule.bar is not None else "what training measured,"
    says = "is not surely worse than" if colour == "green" else "is worse than"
    cause = f"{told} {says} {whose} {bar:.4g}"
    return _finding(known, name, colour, cause, {**numbers, "threshold": bar, "p_value": p_value})


def _below(value: Interval, bar: float, known: Known, *, higher_is_better: bool) -> tuple[Colour, float]:
    """The colour, and the chance of so bad a value where the bar is reached (the bootstrap's spread as normal)."""
    spread = max((value.high - value.low) / (2 * ndtri(0.975)), 1e-12)
    short = bar - value.value if higher_is_better else value.value - bar
    p_value = float(ndtr(-short / spread))
    if short <= 0 or p_value > known.orange:
        return "green", p_value
    return ("red" if p_value <= known.red else "orange"), p_value


def _growing(known: Known, rule: AccuracyRule) -> Finding:
    rows = known.rows
    drift = None
    if rows is not None and len(rows) >= max(rule.labels, FEWEST):
        drift = residual_drift(losses(rows), block_rows=known.block_rows)
    if drift is None or rows is None:
        return _finding(known, "residuals", "grey", "too few true values to tell whether errors grow", _reach(known))
    colour: Colour = "green"
    if drift.p_value <= known.orange:
        colour = "red" if drift.p_value <= known.red else "orange"
    numbers = {"p_value": drift.p_value, "effect": drift.rise, "before": drift.before, "after": drift.after}
    says = f"grew from {drift.before:.3g} to {drift.after:.3g} at row {drift.change} of {len(rows)}"
    if colour == "green":
        says = f"does not grow: {drift.before:.3g}, then {drift.after:.3g}"
    cause = f"the mean loss {says}, p = {drift.p_value:.2g}"
    return _finding(known, "residuals", colour, cause, {**_reach(known), **numbers})


def _estimated(known: Known, rule: AccuracyRule, made: Estimate) -> Finding:
    """An estimate is never red: it rests on probabilities that nobody has checked since."""
    bar = rule.bar if rule.measure in ("", "accuracy") else None
    if bar is None and known.trained is not None and rule.measure in ("", "accuracy"):
        bar = known.trained.value
    how = f"calibrated on {made.calibrated_on} true values" if made.calibrated_on else "as the model gives them"
    told = f"accuracy is estimated at {made.accuracy} from the probabilities of {made.rows} rows, {how}"
    numbers = {"value": made.accuracy.value, "low": made.accuracy.low, "high": made.accuracy.high, "rows": made.rows}
    if bar is None:
        return _finding(known, "estimate", "green", f"{told}; an estimate, no measurement", numbers)
    colour, p_value = _below(made.accuracy, bar, known, higher_is_better=True)
    says = "not surely below" if colour == "green" else "below"
    cause = f"{told}: {says} {bar:.4g}; an estimate, no measurement"
    mild: Colour = "orange" if colour == "red" else colour
    return _finding(known, "estimate", mild, cause, {**numbers, "threshold": bar, "p_value": p_value})


def _reach(known: Known) -> dict[str, float]:
    median_s, late_s = known.coverage.delay_s
    return {
        "rows": known.coverage.labelled,
        "coverage": known.coverage.share,
        "delay_median_s": median_s,
        "delay_95_s": late_s,
    }


def _finding(known: Known, rule: str, colour: Colour, cause: str, numbers: Mapping[str, float]) -> Finding:
    return Finding(
        subject=known.subject,
        level="accuracy",
        rule=rule,
        colour=colour,
        cause=cause,
        since=known.since,
        until=known.until,
        numbers=dict(numbers),
    )
