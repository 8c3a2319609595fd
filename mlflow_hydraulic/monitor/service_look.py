"""One look at how one deployment serves: its counters are asked for, counted into the history, and judged.

Called by the monitor's pass (`watch.Watched.service`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.monitor.findings import Finding, Subject
from mlflow_hydraulic.monitor.levels.service import service_findings
from mlflow_hydraulic.monitor.service_history import GAP_S, read_history, record_counters
from mlflow_hydraulic.monitor.sla import ENOUGH_S, Sla, sla_of
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.service_level import Counters
from mlflow_hydraulic.world import Target

DOWN = ("unhealthy", "failed")  # states in which one whose counters nobody can tell counts as down
MISSED = 3  # looks in a row that may fail before nobody knows whether it was up meanwhile
log = logging.getLogger("hydraulic.monitor")


@dataclass(frozen=True, kw_only=True)
class ServiceLook:
    """targets: by environment. interval_s: from one look to the next."""

    targets: Mapping[str, Target]
    database: Engine
    workspace: str = "default"
    slas: Sequence[Sla] = ()
    interval_s: float = 60.0
    clock: Callable[[], datetime] = field(default=utc_now)

    def __call__(self, running: Running, now: datetime) -> Sequence[Finding]:
        """Findings at `now`; raises where the database does not answer."""
        subject = Subject(
            environment=running.environment,
            deployment=running.deployment.name,
            workspace=self.workspace,
            model=running.model,
        )
        counters, up = self._ask(running)
        shadow = running.deployment.shadow
        sla = sla_of(self.slas, subject)
        with self.database.begin() as connection:
            record_counters(
                connection,
                subject,
                counters,
                self.clock().timestamp(),
                up=up,
                shadows=(shadow.name,) if shadow else (),
                gap_s=max(GAP_S, MISSED * self.interval_s),
            )
            history = read_history(connection, subject, now.timestamp() - max(sla.window_s, ENOUGH_S))
        return service_findings(history, sla, max(now.timestamp(), history.at))

    def _ask(self, running: Running) -> tuple[Mapping[str, Counters] | None, bool | None]:
        """The counters, and whether it is up where they do not tell."""
        try:
            found = self.targets[running.environment].service(running.deployment.name)
        except HydraulicError as error:
            log.warning("%s: %s", running.deployment.name, error)
            return None, False if running.state in DOWN else None
        answering = {one.name for one in running.deployment.predictors}
        if not answering & found.keys():
            return None, False if running.state in DOWN else None
        return found, None
