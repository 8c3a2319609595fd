"""Mutes: until when nobody is told of what a pattern fits, by whom and why. Ledger rows; their newest says what holds.

What is muted still opens, worsens and closes: it is only silent. Made by `hydraulic alerts mute`, asked by `alerts`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from glob import escape

from sqlalchemy import Connection

from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.evidence.ledger import Event, Row
from mlflow_hydraulic.evidence.recorded import newest_rows
from mlflow_hydraulic.monitor.alert import Alert, Key
from mlflow_hydraulic.monitor.rules import Pattern

log = logging.getLogger("hydraulic.monitor")
VERB = "mute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """until: ISO, UTC. by, reason, at: who muted it, why, when."""

    pattern: Pattern
    until: str
    by: str = ""
    reason: str = ""
    at: str = ""

    @property
    def id(self) -> str:
        """Ten hexadecimal digits, of the pattern: muting the same again changes until when."""
        return hashlib.sha256(json.dumps(asdict(self.pattern)).encode()).hexdigest()[:10]

    def holds(self, now: datetime) -> bool:
        return stamp(now) < self.until


def exactly(key: Key) -> Pattern:
    """The pattern that fits this key and no other, whatever the model is that runs there."""
    subject = key.subject
    return Pattern(
        environment=escape(subject.environment),
        deployment=escape(subject.deployment),
        predictor=escape(subject.predictor),
        level=escape(key.level),
        rule=escape(key.rule),
    )


def active(connection: Connection, workspace: str, now: datetime) -> list[Mute]:
    """The mutes that hold now, in the order of their making."""
    found = (_read(row) for row in newest_rows(connection, VERB, workspace))
    return [mute for mute in found if mute and mute.holds(now)]


def that_fit(mutes: Iterable[Mute], alert: Alert) -> list[Mute]:
    return [mute for mute in mutes if mute.pattern.fits(alert.key)]


def mute(connection: Connection, workspace: str, made: Mute, now: datetime) -> None:
    """Record `made`; it takes the place of an earlier one of the same pattern."""
    said = {"until": made.until, "pattern": asdict(made.pattern)}
    ledger.append(connection, [_event(workspace, made, said, made.by, made.reason)], now)


def unmute(connection: Connection, workspace: str, was: Mute, now: datetime, *, by: str, reason: str) -> None:
    """Record that `was` holds no more."""
    ledger.append(connection, [_event(workspace, was, None, by, reason)], now)


def _event(workspace: str, mute: Mute, after: object, by: str, reason: str) -> Event:
    pattern = mute.pattern
    one_environment = not set(pattern.environment) & set("*?[")
    return Event(
        verb=VERB,
        subject=f"{mute.id} {pattern}"[:640],
        actor=by,
        environment=pattern.environment if one_environment else "",
        before=None if after else {"until": mute.until},
        after=after,
        reason=reason,
        workspace=workspace,
    )


def _read(row: Row) -> Mute | None:
    """The mute that a row speaks of; None where it ends one."""
    try:
        said = json.loads(row.after)
        if said is None:
            return None
        pattern = Pattern(**{str(name): str(value) for name, value in said["pattern"].items()})
        return Mute(pattern=pattern, until=str(said["until"]), by=row.actor, reason=row.reason, at=row.at)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning('ledger row %d is no mute (%r) and mutes nothing: run "hydraulic ledger verify"', row.seq, error)
        return None
