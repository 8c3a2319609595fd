"""One predictor inspected: its rows of the record and their true values, against what its version knew at training.

Each level stands alone: what one cannot judge is grey with the reason, and the others go on. Called by `watch`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mlflow_hydraulic.accuracy.coverage import coverage
from mlflow_hydraulic.accuracy.estimate import Estimate, calibrate, estimate
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.accuracy.values import Labelled
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.errors import HydraulicError, NotFound
from mlflow_hydraulic.monitor.findings import Finding, Level, Subject
from mlflow_hydraulic.monitor.levels.accuracy import Known, accuracy_findings
from mlflow_hydraulic.monitor.levels.anomaly import Expected, anomaly_finding
from mlflow_hydraulic.monitor.levels.drift import drift_findings
from mlflow_hydraulic.monitor.looking import Looking
from mlflow_hydraulic.monitor.past import Past, completed, unjudged
from mlflow_hydraulic.monitor.served import length
from mlflow_hydraulic.monitor.versions import Training, Versions
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.record.values import Window

log = logging.getLogger("hydraulic.monitor")
MOST_LABELLED = 100_000  # rows of one predictor that accuracy is measured on at most, the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A predictor in its place. target: as the record names it. siblings: how many predictors share the budget."""

    subject: Subject
    target: str
    namespace: str
    model: ModelVersion
    siblings: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What one look at a predictor gave. again: findings that hold on, for there was nothing new."""

    found: tuple[Finding, ...] = ()
    again: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a pass looks at. record, actuals: None where nothing was ever recorded, or no true value arrived."""

    record: Store | None
    actuals: ActualStore | None
    versions: Versions
    looking: Looking
    now: float
    until: float | None = None  # of a period that is over; None: all that there is
    marks: dict[tuple[Subject, Level], tuple[float, float]] = field(default_factory=dict)  # of this process


class Inspection:
    """One look at one predictor."""

    def __init__(self, seat: Seat, evidence: Evidence, pasts: Mapping[tuple[Subject, Level], Past]) -> None:
        self._seat, self._evidence = seat, evidence
        self._plain = replace(seat.subject, model="")
        self._pasts = pasts
        self._window: Window | None = None

    def levels(self) -> Inspected:
        """Drift, odd rows and accuracy."""
        judges: Mapping[Level, Callable[[Past], Inspected]] = {
            "drift": self._drift,
            "anomaly": self._anomaly,
            "accuracy": self._accuracy,
        }
        parts = [self._safely(level, judge) for level, judge in judges.items()]
        return Inspected(
            found=tuple(one for part in parts for one in part.found),
            again=tuple(one for part in parts for one in part.again),
        )

    def _safely(self, level: Level, judge: Callable[[Past], Inspected]) -> Inspected:
        past = self._pasts.get((self._plain, level), Past())
        try:
            return judge(past)
        except HydraulicError as error:
            cause = str(error)
        except Exception as error:  # the boundary: no level of no deployment may end the look at the others
            log.exception("%s, %s: this look failed", self._seat.subject.deployment, level)
            cause = f"this look failed: {error!r}"
        return Inspected(found=tuple(unjudged(self._seat.subject, level, cause, past, self._evidence.now)))

    def _drift(self, past: Past) -> Inspected:
        window = self.rows()

        def judge(elapsed_s: float) -> list[Finding]:
            baseline = self._training().baseline
            budget = self._evidence.looking.share("drift", self._seat.siblings)
            return drift_findings(self._seat.subject, window, baseline, budget, elapsed_s)

        return self._judged("drift", past, window.until, 0.0, judge)

    def _anomaly(self, past: Past) -> Inspected:
        window = self.rows()

        def judge(elapsed_s: float) -> list[Finding]:
            training = self._training()
            flagged = window
            if window.anomalous is None and len(window):  # whoever recorded it did not look: Seldon's request logger
                flagged = replace(window, anomalous=training.odd.flags(window.inputs))
            expected = Expected(rate=training.odd.rate, block_rows=training.block_rows)
            budget = self._evidence.looking.share("anomaly", self._seat.siblings)
            red, orange = budget.level(elapsed_s), budget.orange_level(elapsed_s)
            return [anomaly_finding(self._seat.subject, flagged, expected, red, orange)]

        return self._judged("anomaly", past, window.until, 0.0, judge)

    def _accuracy(self, past: Past) -> Inspected:
        window, rule = self.rows(), self._evidence.looking.accuracy
        since = self._evidence.now - rule.window_s
        rows = self.labelled(window, since)
        arrived = float(rows.arrived.max()) if len(rows) else 0.0
        until = min(max(window.until, arrived), self._evidence.now)

        def judge(elapsed_s: float) -> list[Finding]:
            if self._evidence.record is None:
                raise self._nothing()
            block_rows = self._block_rows()
            budget = self._evidence.looking.share("accuracy", self._seat.siblings)
            known = Known(
                subject=self._seat.subject,
                rows=rows,
                coverage=coverage(self._evidence.record, rows, since=since, until=self._evidence.now),
                estimate=_estimate(window, rows, block_rows),
                trained=self._evidence.versions.measures(self._seat.model).get(rule.measure or "accuracy"),
                since=since,
                until=max(until, since),
                red=budget.level(elapsed_s),
                orange=budget.orange_level(elapsed_s),
                block_rows=block_rows,
            )
            return accuracy_findings(known, rule)

        return self._judged("accuracy", past, until, float(len(rows)), judge)

    def _judged(
        self, level: Level, past: Past, until: float, more: float, judge: Callable[[float], list[Finding]]
    ) -> Inspected:
        """Judge where rows or true values came since the last look; else what was found holds on.

        until: the end of the newest row or value; more: what else tells that there is something new.
        """
        looking, key = self._evidence.looking, (self._plain, level)
        mark = self._evidence.marks.get(key)
        tested = round(until * 1e6) <= round(past.tested * 1e6) and (mark is None or mark[1] == more)
        if past.newest and not past.unjudged and (tested or mark == (until, more)):
            return self._nothing_new(past)
        found = judge(past.elapsed_s(until, looking.window_s, looking.interval_s))
        # Greys of looks that could not judge ended later: what is judged now comes after them.
        end = until if until >= past.until else self._evidence.now
        self._evidence.marks[key] = (until, more)
        return Inspected(found=tuple(replace(one, until=max(end, one.since)) for one in completed(found, past)))

    def _nothing_new(self, past: Past) -> Inspected:
        """Colours hold on; greys are told anew: how long there was no data counts."""
        until = max(self._evidence.now, past.until)
        return Inspected(
            found=tuple(replace(one, until=until) for one in past.newest if one.colour == "grey"),
            again=tuple(one for one in past.newest if one.colour != "grey"),
        )

    def rows(self) -> Window:
        """The last rows of this predictor and version; `NotFound` where there is none within the window."""
        if self._window is None:
            self._window = self._read()
        return self._window

    def _read(self) -> Window:
        looking, seat = self._evidence.looking, self._seat
        window: Window | None = None
        if self._evidence.record is not None:
            for version in (seat.model.version, ""):  # Seldon's request logger does not always tell the version
                try:
                    window = self._evidence.record.window(
                        target=seat.target,
                        namespace=seat.namespace,
                        deployment=seat.subject.deployment,
                        predictor=seat.subject.predictor,
                        version=version,
                        since=self._evidence.now - looking.window_s,
                        until=self._evidence.until,
                        last_rows=looking.rows,
                    )
                    break
                except NotFound:
                    continue
        if window is None:
            raise self._nothing()
        if not len(window):
            raise NotFound(f"nothing was asked of it for {length(looking.window_s)}")
        return replace(window, until=min(float(window.at[-1]), self._evidence.now), since=float(window.at[0]))

    def _nothing(self) -> NotFound:
        return NotFound(
            f"nothing that was asked of version {self._seat.model.version} is recorded: no request came yet, or the "
            f"prediction record is off (HYDRAULIC_RECORD)"
        )

    def _training(self) -> Training:
        return self._evidence.versions.training(self._seat.model)

    def _block_rows(self) -> int:
        try:
            return self._training().block_rows
        except HydraulicError:  # drift says why; accuracy needs no baseline
            return 1

    def labelled(self, window: Window, since: float) -> Labelled:
        seat, found = self._seat, []
        if self._evidence.actuals is not None:
            found = [
                one
                for one in self._evidence.actuals.labelled(
                    target=seat.target,
                    namespace=seat.namespace,
                    deployment=seat.subject.deployment,
                    predictor=seat.subject.predictor,
                    since=since,
                    last_rows=MOST_LABELLED,
                )
                if one.served == window.served
            ]
        if found:
            return found[-1]
        empty = np.empty(0)
        return Labelled(
            served=window.served, schema=window.schema, at=empty, arrived=empty, truth=empty, predicted=empty
        )


def _estimate(window: Window, rows: Labelled, block_rows: int) -> Estimate | None:
    """Of the window's own probabilities, calibrated on true values where there are enough."""
    if window.probabilities is None:
        return None
    return estimate(window.probabilities, calibrate(rows), block_rows=block_rows)
