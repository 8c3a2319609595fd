"""One pass of the monitor: what runs, how it is on each level, what becomes of alerts, who is told. Level-triggered.

Every pass starts from targets, record and evidence database; so monitors may be killed, and two at once do no harm.
Called by `loop` and by `hydraulic monitor`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Engine

from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import HydraulicError, NotFound
from mlflow_hydraulic.monitor import looks, standing
from mlflow_hydraulic.monitor.alerts import Judged, judge
from mlflow_hydraulic.monitor.configured import Monitoring
from mlflow_hydraulic.monitor.findings import Finding, Level, Subject
from mlflow_hydraulic.monitor.inspection import Evidence, Inspected, Inspection, Seat
from mlflow_hydraulic.monitor.outbox import Delivered, Outbox
from mlflow_hydraulic.monitor.past import Past, pasts, unjudged
from mlflow_hydraulic.monitor.points import Points
from mlflow_hydraulic.monitor.versions import Versions
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.reconcile import observe
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.world import Sight, Sources

log = logging.getLogger("hydraulic.monitor")
Pasts = Mapping[tuple[Subject, Level], Past]
ServiceLevel = Callable[[Running, datetime], Sequence[Finding]]


def no_service(_running: Running, _now: datetime) -> Sequence[Finding]:
    """Where nobody counts how deployments serve."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a pass looks at and with. record, actuals: open what is there; `NotFound` where nothing ever was.

    service: findings of the service level of one deployment. stopping: whether to begin no further deployment.
    points: sends what was found on to InfluxDB, where one is set.
    """

    sources: Sources
    database: Engine
    record: Callable[[], Store]
    actuals: Callable[[], ActualStore]
    versions: Versions
    monitoring: Monitoring
    service: ServiceLevel = no_service
    points: Points | None = None
    workspace: str = "default"
    clock: Callable[[], datetime] = utc_now
    stopping: Callable[[], bool] = lambda: False


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What one pass found and did. again: findings that hold on. blind: why an environment was not seen."""

    found: tuple[Finding, ...] = ()
    again: int = 0
    judged: Judged = field(default_factory=Judged)
    delivered: Delivered = field(default_factory=Delivered)
    blind: Mapping[str, str] = field(default_factory=dict)
    deployments: int = 0


class Watch:
    """Passes of one monitor. What it keeps is only to be quick: another goes on where it ended."""

    def __init__(self, watched: Watched, holder: str) -> None:
        self._watched = watched
        self._marks: dict[tuple[Subject, Level], tuple[float, float]] = {}
        self._outbox = Outbox(
            watched.database,
            watched.monitoring.channels,
            watched.monitoring.rules,
            holder=holder,
            workspace=watched.workspace,
        )

    def look(self) -> Looked:
        """One pass; raises where the evidence database does not answer, for nothing else."""
        watched, now = self._watched, self._watched.clock()
        sight = observe(watched.sources)
        mine = [one for one in sight.running if one.workspace == watched.workspace]
        with watched.database.connect() as connection:
            seen = list(looks.newest(connection, watched.workspace))
            known = pasts(seen, looks.tested(connection, watched.workspace))
        looked = Inspected(found=tuple(_unseen(known, sight, now)))
        marks = dict(self._marks)
        with ExitStack() as stack:
            evidence = self._evidence(stack, now, marks)
            for running in mine:
                if watched.stopping():
                    break
                looked = _joined(looked, self._deployment(running, evidence, known, now))
        judged = judge(
            watched.database,
            looked.found,
            watched.monitoring.rules,
            now,
            workspace=watched.workspace,
            present=None if watched.stopping() else _present(mine, sight, watched.sources),
        )
        with watched.database.begin() as connection:
            looks.touch(connection, looked.again, now)
        self._marks = marks  # only now: what a pass found that ends before is found again
        if watched.points is not None:
            self._send_on(watched.points, mine, looked, judged, now)
        return Looked(
            found=looked.found,
            again=len(looked.again),
            judged=judged,
            delivered=self._outbox.deliver(now),
            blind={name: str(error) for name, error in sight.blind.items()},
            deployments=len(mine),
        )

    def deliver(self) -> Delivered:
        """Send what waits in the outbox and is due."""
        return self._outbox.deliver(self._watched.clock())

    def _send_on(
        self, points: Points, mine: Sequence[Running], looked: Inspected, judged: Judged, now: datetime
    ) -> None:
        with self._watched.database.connect() as connection:
            alerts = standing.current(connection, self._watched.workspace)
        points.send(
            [*looked.found, *looked.again],
            [alert for alert in alerts.values() if alert.is_open],
            [change.alert for change in judged.changes],
            {(one.environment, one.deployment.name): one.deployment.namespace for one in mine},
            now,
        )

    def _evidence(
        self, stack: ExitStack, now: datetime, marks: dict[tuple[Subject, Level], tuple[float, float]]
    ) -> Evidence:
        record = opened(stack, self._watched.record)
        actuals = opened(stack, self._watched.actuals)
        if record is not None and actuals is not None:
            try:
                actuals.join(record)
            except HydraulicError as error:
                log.warning("true values that came last are not joined: %s", error)
        return Evidence(
            record=record,
            actuals=actuals,
            versions=self._watched.versions,
            looking=self._watched.monitoring.looking,
            now=now.timestamp(),
            marks=marks,
        )

    def _deployment(self, running: Running, evidence: Evidence, known: Pasts, now: datetime) -> Inspected:
        looked = Inspected(found=tuple(self._service(running, known, now)))
        for seat in seats(running, self._watched.sources, self._watched.workspace):
            looked = _joined(looked, Inspection(seat, evidence, known).levels())
        return looked

    def _service(self, running: Running, known: Pasts, now: datetime) -> Sequence[Finding]:
        try:
            return self._watched.service(running, now)
        except HydraulicError as error:
            cause = str(error)
        except Exception as error:  # the boundary: one deployment's trouble is a finding, and the others go on
            log.exception("%s: its service level cannot be told", running.deployment.name)
            cause = f"this look failed: {error!r}"
        subject = Subject(
            environment=running.environment,
            deployment=running.deployment.name,
            workspace=self._watched.workspace,
            model=running.model,
        )
        past = known.get((replace(subject, model=""), "service"), Past())
        return unjudged(subject, "service", cause, past, now.timestamp())


def seats(running: Running, sources: Sources, workspace: str) -> Iterator[Seat]:
    """Every predictor of a deployment, its shadow included."""
    targets = {one.name: one.target.partition(":")[0] for one in sources.environments}
    deployment = running.deployment
    for predictor in deployment.all:
        yield Seat(
            subject=Subject(
                environment=running.environment,
                deployment=deployment.name,
                predictor=predictor.name,
                workspace=workspace,
                model=running.model,
            ),
            target=targets[running.environment],
            namespace=deployment.namespace,
            model=predictor.model,
            siblings=len(deployment.all),
        )


def _unseen(known: Pasts, sight: Sight, now: datetime) -> Iterator[Finding]:
    """Grey for all that was looked at in an environment that does not answer: away is not gone."""
    for (subject, level), past in known.items():
        error = sight.blind.get(subject.environment)
        if error is not None:
            model = next((one.subject.model for one in past.newest), "")
            cause = f"{subject.environment} does not answer, so nobody knows what runs there: {error}"
            yield from unjudged(replace(subject, model=model), level, cause, past, now.timestamp())


def _present(running: Sequence[Running], sight: Sight, sources: Sources) -> dict[str, dict[str, set[str]]]:
    there: dict[str, dict[str, set[str]]] = {name: {} for name in sources.targets if name not in sight.blind}
    for one in running:
        there[one.environment][one.deployment.name] = {predictor.name for predictor in one.deployment.all}
    return there


def _joined(one: Inspected, other: Inspected) -> Inspected:
    return Inspected(found=(*one.found, *other.found), again=(*one.again, *other.again))


Opened = TypeVar("Opened", Store, ActualStore)


def opened(stack: ExitStack, opener: Callable[[], Opened]) -> Opened | None:
    """What is there; None, and why in the log, where it cannot be opened: then deployments are grey."""
    try:
        found = opener()
    except NotFound:
        return None
    except HydraulicError as error:
        log.warning("%s", error)
        return None
    stack.callback(found.close)
    return found
