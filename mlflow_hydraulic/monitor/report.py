"""What a report of one deployment tells, as values: gathered from record, true values, versions, evidence.

Called by `hydraulic monitor report`; `report_page` makes a page of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from mlflow_hydraulic.accuracy.coverage import coverage
from mlflow_hydraulic.accuracy.values import Coverage
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.drift.inputs import InputDrift, each_input
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor import looks, standing
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.findings import Finding, Subject
from mlflow_hydraulic.monitor.inspection import Evidence, Inspection, Seat
from mlflow_hydraulic.monitor.judged import judged_words
from mlflow_hydraulic.monitor.looking import Looking
from mlflow_hydraulic.monitor.service_history import read_history
from mlflow_hydraulic.monitor.status import Standing, standings
from mlflow_hydraulic.record.values import Window

SLICES = 48  # columns of the charts over time
MOST_ROWS = 20_000  # of the period that are read, the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Predictions over the period in slices of equal length. by_label: rows, shape (slices, labels); odd: rows."""

    labels: tuple[str, ...]
    by_label: tuple[tuple[float, ...], ...]
    rows: tuple[float, ...]
    odd: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorReport:
    """One predictor: what was asked in the period, and how its last window is; why: what could not be judged.

    findings: of drift, odd rows and accuracy, judged now over the period. window: (first, last) of the rows, s.
    judged: how many rows drift was judged on, in words.
    """

    name: str
    model: ModelVersion
    shadow: bool
    findings: tuple[Finding, ...]
    inputs: tuple[InputDrift, ...] = ()
    course: Course | None = None
    coverage: Coverage | None = None
    rows: int = 0
    odd: int = 0
    window: tuple[float, float] = (0.0, 0.0)
    judged: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A deployment in [since, until). standing: its levels as the monitor last saw them. story: steps of its alerts."""

    environment: str
    deployment: str
    model: str
    since: datetime
    until: datetime
    made: datetime
    looking: Looking
    standing: tuple[Standing, ...]
    service: dict[str, float | None]
    service_findings: tuple[Finding, ...]
    predictors: tuple[PredictorReport, ...]
    story: tuple[Alert, ...]


def predictor_report(seat: Seat, evidence: Evidence, since: float, *, shadow: bool) -> PredictorReport:
    """Of the period from `since` to `evidence.now`; whatever cannot be judged is a grey finding with the reason."""
    inspection = Inspection(seat, evidence, {})
    findings = inspection.levels().found
    bare = PredictorReport(name=seat.subject.predictor, model=seat.model, shadow=shadow, findings=findings)
    try:
        whole = replace(evidence, looking=replace(evidence.looking, rows=MOST_ROWS))
        window = Inspection(seat, whole, {}).rows()
    except HydraulicError as error:
        return PredictorReport(name=bare.name, model=bare.model, shadow=shadow, findings=findings, why=str(error))
    inputs: Sequence[InputDrift] = ()
    why = judged = ""
    try:
        training = evidence.versions.training(seat.model)
        last = slice(-evidence.looking.rows, None)
        probabilities = None if window.probabilities is None else window.probabilities[last]
        inputs = each_input(training.baseline, window.inputs[last], probabilities)
        rows = len(window.inputs[last])
        judged = judged_words(rows, training.baseline.judged(rows), training.baseline.most)
    except HydraulicError as error:
        why = str(error)
    odd = window.anomalous
    known = inspection.labelled(window, since)
    return PredictorReport(
        name=seat.subject.predictor,
        model=seat.model,
        shadow=shadow,
        findings=findings,
        inputs=tuple(inputs),
        course=course(window, since, evidence.now),
        coverage=coverage(evidence.record, known, since=since, until=evidence.now) if evidence.record else None,
        rows=len(window),
        odd=0 if odd is None else int(odd.sum()),
        window=(float(window.at[0]), float(window.at[-1])),
        judged=judged,
        why=why,
    )


def course(window: Window, since: float, until: float) -> Course:
    """The rows of a window by slice and predicted label; a regression has one "label"."""
    begin = max(since, float(window.at[0]))
    place = np.clip(((window.at - begin) / max(until - begin, 1e-9) * SLICES).astype(int), 0, SLICES - 1)
    labels = tuple(str(label) for label in window.schema.labels) or ("rows",)
    predicted = np.array([str(one) for one in window.labels]) if window.schema.labels else np.full(len(window), "rows")
    odd = window.anomalous if window.anomalous is not None else np.zeros(len(window), dtype=bool)

    def counted(chosen: np.ndarray) -> tuple[float, ...]:
        return tuple(np.bincount(place[chosen], minlength=SLICES).astype(float).tolist())

    parts = [counted(predicted == label) for label in labels]
    return Course(
        labels=labels,
        by_label=tuple(zip(*parts, strict=True)),
        rows=counted(np.ones(len(window), dtype=bool)),
        odd=counted(odd),
    )


def told(
    connection: Connection, subject: Subject, since: datetime, now: datetime, stale_s: float
) -> tuple[tuple[Standing, ...], tuple[Finding, ...], tuple[Alert, ...], dict[str, float | None]]:
    """What evidence holds of a deployment: its levels, service findings, steps of alerts since, how it served."""

    def mine(one: Subject) -> bool:
        return (one.environment, one.deployment) == (subject.environment, subject.deployment)

    seen = [one for one in looks.newest(connection, subject.workspace) if mine(one.finding.subject)]
    alerts = [one for one in standing.current(connection, subject.workspace).values() if mine(one.key.subject)]
    steps = [step for one in alerts for step in standing.story(connection, one) if step.at >= stamp(since)]
    served = read_history(connection, subject, since.timestamp()).served(since.timestamp(), now.timestamp())
    return (
        tuple(standings(seen, now, stale_s)),
        tuple(one.finding for one in seen if one.finding.level == "service"),
        tuple(sorted(steps, key=lambda step: step.seq)),
        served.to_json(),
    )
