"""How alerts stand: read from the ledger each time anew, and written there as changes. For `alerts` and `acts`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from mlflow_hydraulic.errors import Conflict, NotFound, Untrusted
from mlflow_hydraulic.evidence import lease, ledger, recorded
from mlflow_hydraulic.monitor.alert import VERB, Alert, event, read_alert

log = logging.getLogger("hydraulic.monitor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of one alert, as the ledger has it."""

    alert: Alert
    before: Alert | None

    @property
    def news(self) -> str:
        """What it is to whoever is told: "opened" also where they were not told of it before."""
        if self.alert.state == "closed":
            return "closed"
        if self.before is None or self.before.episode != self.alert.episode or not self.before.told:
            return "opened"
        return self.alert.what


@contextmanager
def alone(engine: Engine, workspace: str) -> Iterator[Connection]:
    """A transaction in which nobody else changes an alert of `workspace`: monitors and people wait for each other."""
    name = "alerts" if workspace == "default" else f"alerts:{workspace}"
    with lease.queue(engine, name) as connection:
        yield connection


def current(connection: Connection, workspace: str, *, closed: bool = True) -> dict[str, Alert]:
    """Every alert that the ledger knows in `workspace`, closed ones too unless told otherwise, by its key's digest.

    A row that is no alert is told of and left out: nobody ends the monitoring of all by writing one.
    """
    found: dict[str, Alert] = {}
    for row in recorded.newest_rows(connection, VERB, workspace, None if closed else {"state": "closed"}):
        try:
            alert = read_alert(row)
        except Untrusted as error:
            log.warning("%s; it counts as none", error)
            continue
        found[alert.key.digest] = alert
    return found


def story(connection: Connection, alert: Alert) -> list[Alert]:
    """Everything that the ledger tells of one alert, oldest first, in all its episodes."""
    told = recorded.rows_about(connection, VERB, alert.key.subject.workspace, str(alert.key))
    return [read_alert(row) for row in told]


def find(known: Iterable[Alert], text: str) -> Alert:
    """The alert whose id begins with `text`, or whose name it is; `NotFound` or `Conflict` says how to go on."""
    fitting = [alert for alert in known if (text and alert.id.startswith(text.lower())) or str(alert.key) == text]
    if not fitting:
        raise NotFound(f'there is no alert {text!r}: "hydraulic alerts list --all" names those that there are')
    if len(fitting) > 1:
        names = ", ".join(f"{alert.id} ({alert.key})" for alert in fitting[:5])
        raise Conflict(f"{text!r} may be any of {len(fitting)} alerts: {names}; write more of the id")
    return fitting[0]


def write(
    connection: Connection, before: Mapping[str, Alert], moved: Mapping[str, Sequence[Alert]], now: datetime
) -> dict[str, list[Change]]:
    """Put steps into the ledger, in the caller's transaction; gives them back by digest with their rows' numbers."""
    steps = []
    for digest, chain in moved.items():
        was = before.get(digest)
        for alert in chain:
            steps.append((digest, alert, was))
            was = alert
    rows = ledger.append(connection, [event(alert, was) for _, alert, was in steps], now)
    changes: dict[str, list[Change]] = {}
    for (digest, alert, was), row in zip(steps, rows, strict=True):
        written = replace(alert, at=row.at, seq=row.seq)
        changes.setdefault(digest, []).append(Change(alert=written, before=was))
    return changes
