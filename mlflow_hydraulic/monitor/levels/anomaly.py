"""Single rows that are unlike the training data, as a rate. The scorer flags them in each answer (`drift.rows`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from mlflow_hydraulic.monitor.findings import Colour, Finding, Subject
from mlflow_hydraulic.record.values import Window

FLOOR = 0.005  # a rate that nobody need hear of, however surely it differs from training's
FEWEST = 10  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """rate: of training rows that are flagged themselves. block_rows: rows that hang together in training."""

    rate: float
    block_rows: int = 1


def anomaly_finding(subject: Subject, window: Window, expected: Expected | None, red: float, orange: float) -> Finding:
    """Whether more rows are flagged than in training. red, orange: levels of one look.

    One broken sensor flags a hundred rows in a row: what counts is how many blocks of rows have a flag of their own
    accord, so that n rows are n / block_rows trials of a binomial test (an effective sample size).
    """
    flags = window.anomalous
    if expected is None or flags is None or len(window) < FEWEST:
        why = f"{len(window)} rows: {FEWEST} are needed" if expected else "this version has nothing to know odd rows by"
        return _finding(subject, window, "grey", why, {"rows": float(len(window))})
    count, rows = int(np.sum(flags)), len(flags)
    rate, normal = count / rows, max(expected.rate, FLOOR)
    trials = max(rows // max(expected.block_rows, 1), 1)
    p_value = float(bdtrc(np.ceil(rate * trials) - 1, trials, normal)) if count else 1.0
    colour: Colour = "green"
    if rate > normal and p_value <= orange:
        colour = "red" if p_value <= red else "orange"
    numbers = {"rows": float(rows), "count": float(count), "effect": rate, "p_value": p_value, "threshold": normal}
    cause = (
        f"{count} of {rows} rows ({rate:.1%}) are unlike the training data, where {expected.rate:.1%} are; "
        f"p = {p_value:.2g}"
    )
    return _finding(subject, window, colour, cause, numbers)


def _finding(subject: Subject, window: Window, colour: Colour, cause: str, numbers: dict[str, float]) -> Finding:
    return Finding(
        subject=subject,
        level="anomaly",
        rule="odd rows",
        colour=colour,
        cause=cause,
        since=window.since,
        until=window.until,
        numbers=numbers,
    )
