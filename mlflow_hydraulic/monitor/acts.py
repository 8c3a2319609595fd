"""What people do about alerts: acknowledge, close, mute, unmute. Each is a ledger row with who and why.

Called by `hydraulic alerts`, later by the pages. They wait for a monitor that judges at this moment, and it for them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from mlflow_hydraulic.errors import BadInput, Conflict, NotFound
from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor import decide, looks, mutes, outbox
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.mutes import Mute
from mlflow_hydraulic.monitor.rules import Pattern, Rules
from mlflow_hydraulic.monitor.standing import Change, alone, current, find, write


class Desk:
    """One workspace's alerts, for one person: by is the ledger's actor."""

    def __init__(self, engine: Engine, workspace: str, by: str) -> None:
        self._engine, self._workspace, self._by = engine, workspace, by

    def acknowledge(self, text: str, reason: str, now: datetime) -> Alert:
        """Somebody looks after it: no reminders until it gets worse. `Conflict` where it is over."""
        _require(reason)
        with alone(self._engine, self._workspace) as connection:
            alert = self._open(connection, text)
            noted = replace(alert, acknowledged_by=self._by, acknowledged_because=reason)
            step = replace(noted, state="acknowledged", what="acknowledged", by=self._by, reason=reason)
            return self._write(connection, alert, step, now).alert

    def close(self, text: str, reason: str, rules: Rules, now: datetime) -> Alert:
        """It is over, whatever the findings said up to now; new bad ones open it again. Who was told is told."""
        _require(reason)
        with alone(self._engine, self._workspace) as connection:
            alert = self._open(connection, text)
            mark = max(looks.newest_until(connection, alert.key), round(alert.until * 1e6))
            change = self._write(connection, alert, decide.closed(alert, mark, reason, self._by), now)
            muted = mutes.that_fit(mutes.active(connection, self._workspace, now), alert)
            if alert.told and not muted:
                outbox.put(connection, [change], rules, now)
            return change.alert

    def mute(self, pattern: Pattern, until: datetime, reason: str, now: datetime) -> Mute:
        """Nobody is told of what `pattern` fits until then."""
        _require(reason)
        if until <= now:
            raise BadInput(f"until {stamp(until)}: that is over; name a time to come")
        made = Mute(pattern=pattern, until=stamp(until), by=self._by, reason=reason, at=stamp(now))
        with alone(self._engine, self._workspace) as connection:
            mutes.mute(connection, self._workspace, made, now)
        return made

    def mute_alert(self, text: str, until: datetime, reason: str, now: datetime) -> Mute:
        """The same for one alert, open or not."""
        with self._engine.connect() as connection:
            alert = find(current(connection, self._workspace).values(), text)
        return self.mute(mutes.exactly(alert.key), until, reason, now)

    def unmute(self, text: str, reason: str, now: datetime) -> list[Mute]:
        """End the mute of this id, or the mute of exactly this alert. What is open and was silent is told of next."""
        _require(reason)
        with alone(self._engine, self._workspace) as connection:
            holding = mutes.active(connection, self._workspace, now)
            ending = [mute for mute in holding if text and mute.id.startswith(text.lower())]
            if len(ending) > 1:
                raise Conflict(f"{text!r} may be any of {len(ending)} mutes: write more of the id")
            if not ending:
                ending = self._of_alert(connection, text, holding)
            for mute in ending:
                mutes.unmute(connection, self._workspace, mute, now, by=self._by, reason=reason)
        return ending

    def _of_alert(self, connection: Connection, text: str, holding: list[Mute]) -> list[Mute]:
        alert = find(current(connection, self._workspace).values(), text)
        fitting = mutes.that_fit(holding, alert)
        own = [mute for mute in fitting if mute.pattern == mutes.exactly(alert.key)]
        if own:
            return own
        if fitting:
            named = "; ".join(f"{mute.id} ({mute.pattern})" for mute in fitting)
            raise Conflict(f"{alert.key} is muted with others, by {named}: name that mute to end it for all of them")
        raise NotFound(f'{alert.key} is not muted: "hydraulic alerts rules" lists the mutes that hold')

    def _open(self, connection: Connection, text: str) -> Alert:
        alert = find(current(connection, self._workspace).values(), text)
        if not alert.is_open:
            raise Conflict(f"{alert.key} was closed at {alert.at} by {alert.by}: {alert.reason}")
        return alert

    def _write(self, connection: Connection, before: Alert, after: Alert, now: datetime) -> Change:
        digest = before.key.digest
        return write(connection, {digest: before}, {digest: [after]}, now)[digest][0]


def _require(reason: str) -> None:
    if not reason.strip():
        raise BadInput("the reason is empty: say why, it goes into the ledger")
