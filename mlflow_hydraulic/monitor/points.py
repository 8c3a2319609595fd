"""Findings and alerts as points of InfluxDB, for Grafana. Sent by each pass of the monitor where InfluxDB is set.

The evidence database has them all; so what cannot be sent is told once and lost, and a pass never waits long for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.findings import COLOURS, Finding, Level, Subject
from mlflow_hydraulic.record.lines import Fields, line
from mlflow_hydraulic.record.sinks import LINES_AT_ONCE, LONGEST_WAIT_S, Influx, open_influx
from mlflow_hydraulic.settings import Settings

FINDING, ALERT = "hydraulic_finding", "hydraulic_alert"
Namespaces = Mapping[tuple[str, str], str]  # of environment and deployment
log = logging.getLogger("hydraulic.monitor")


class Points:
    """Sends to one InfluxDB. After a failure nothing is sent for a minute: it must not slow down every pass."""

    def __init__(self, influx: Influx) -> None:
        self._influx = influx
        self._next_try = 0.0
        self._away = False
        self._namespaces: dict[tuple[str, str], str] = {}  # of those whose environment does not answer now, too

    def send(
        self,
        found: Sequence[Finding],
        opened: Sequence[Alert],
        changed: Sequence[Alert],
        namespaces: Namespaces,
        now: datetime,
    ) -> bool:
        """Send what a pass saw: findings, the alerts that are open after it, those it changed. Whether it could.

        The points' time is that of the look: findings that hold on are seen in every time range.
        """
        self._namespaces |= namespaces
        if time.monotonic() < self._next_try:
            return False
        ns = round(now.timestamp() * 1e6) * 1000
        lines = [finding_line(one, self._namespaces, ns) for one in found]
        alerts = {one.key: (one, False) for one in opened} | {one.key: (one, True) for one in changed}
        lines += [alert_line(one, self._namespaces, ns, changed=new) for one, new in alerts.values()]
        try:
            for start in range(0, len(lines), LINES_AT_ONCE):
                self._influx.write(lines[start : start + LINES_AT_ONCE])
        except Unavailable as error:
            if not self._away:
                log.warning("findings are not sent on, which only Grafana will miss: %s", error)
            self._next_try, self._away = time.monotonic() + LONGEST_WAIT_S, True
            return False
        self._away = False
        return True

    def close(self) -> None:
        self._influx.close()


def open_points(settings: Settings) -> Points | None:
    """To the InfluxDB that the settings name, or None."""
    influx = open_influx(settings)
    return None if influx is None else Points(influx)


def finding_line(finding: Finding, namespaces: Namespaces, ns: int) -> str:
    """One finding. colour: 0 grey to 3 red. n_...: its numbers."""
    fields: Fields = {
        "colour": float(COLOURS.index(finding.colour)),
        "colour_text": finding.colour,
        "cause_text": finding.cause,
        "features_text": ", ".join(finding.features),
        "since_s": finding.since,
        "until_s": finding.until,
        **{f"n_{name}": float(number) for name, number in finding.numbers.items()},
    }
    return line(FINDING, _tags(finding.subject, finding.level, finding.rule, namespaces), fields, ns)


def alert_line(alert: Alert, namespaces: Namespaces, ns: int, *, changed: bool) -> str:
    """One alert as it stands. open: 1 or 0. changed: 1 in the look that opened, moved or closed it."""
    fields: Fields = {
        "open": float(alert.is_open),
        "changed": float(changed),
        "colour": float(COLOURS.index(alert.colour)),
        "colour_text": alert.colour,
        "worst_text": alert.worst,
        "state_text": alert.state,
        "what_text": alert.what,
        "opened_text": alert.opened,
        "cause_text": alert.cause,
    }
    return line(ALERT, _tags(alert.key.subject, alert.key.level, alert.key.rule, namespaces), fields, ns)


def _tags(subject: Subject, level: Level, rule: str, namespaces: Namespaces) -> dict[str, str]:
    return {
        "workspace": subject.workspace,
        "environment": subject.environment,
        "namespace": namespaces.get((subject.environment, subject.deployment), ""),
        "deployment": subject.deployment,
        "predictor": subject.predictor,
        "model": subject.model,
        "level": level,
        "rule": rule,
    }
