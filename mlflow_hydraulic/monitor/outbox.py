"""The outbox: notifications are put here in the transaction that decides on them, and sent from here at least once.

One channel is one queue: in order, by one sender at a time, and a channel that is away rests. Each notification has an
id that stays the same at every attempt. `Outbox.deliver` is called by the monitor's loop after each `judge`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import lease, ledger
from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.evidence.ledger import Event
from mlflow_hydraulic.evidence.tables import outbox as table
from mlflow_hydraulic.monitor import alertmanager
from mlflow_hydraulic.monitor.alert import MONITOR_ACTOR, to_json
from mlflow_hydraulic.monitor.channels import Alertmanager, Channel
from mlflow_hydraulic.monitor.mutes import active, that_fit
from mlflow_hydraulic.monitor.notification import notification, read_notification, write_notification
from mlflow_hydraulic.monitor.post import Later
from mlflow_hydraulic.monitor.rules import Rules
from mlflow_hydraulic.monitor.sending import send
from mlflow_hydraulic.monitor.standing import Change, current

log = logging.getLogger("hydraulic.monitor")
UNDELIVERED = "undelivered"
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 900.0
GIVE_UP = timedelta(hours=24)
REMEMBER = timedelta(days=30)
HOLD = timedelta(seconds=120)  # more than one attempt takes: a dead sender's channel waits so long
BUDGET = timedelta(seconds=30)  # of one channel in one call
MOST_AT_ONCE = 100
LONGEST_ANSWER = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """How many notifications were sent, wait for another try, and were given up."""

    sent: int = 0
    waiting: int = 0
    given_up: int = 0


def put(connection: Connection, changes: Sequence[Change], rules: Rules, now: datetime) -> int:
    """Queue what is to be told, in the caller's transaction: one notification a channel and deployment."""
    groups: dict[tuple[str, str, str], list[Change]] = {}
    for change in changes:
        subject = change.alert.key.subject
        for channel in rules.of(change.alert.key).channels:
            groups.setdefault((channel, subject.environment, subject.deployment), []).append(change)
    made = [(notification(channel, group, now), group) for (channel, _, _), group in groups.items()]
    rows = [
        {
            "id": one.id,
            "seq": max(change.alert.seq for change in group),
            "workspace": one.workspace,
            "channel": one.channel,
            "state": "pending",
            "made": one.at,
            "attempts": 0,
            "not_before": one.at,
            "done": "",
            "answer": "",
            "body": write_notification(one),
        }
        for one, group in made
    ]
    if rows:
        connection.execute(insert(table), rows)
    return len(rows)


class Outbox:
    """Sends what waits, for one workspace; several may run at once, in one process or many."""

    def __init__(
        self, engine: Engine, channels: Mapping[str, Channel], rules: Rules, *, holder: str, workspace: str = "default"
    ) -> None:
        self._engine, self._channels, self._rules = engine, channels, rules
        self._holder, self._workspace = holder[:256], workspace
        self._refreshed: dict[str, datetime] = {}
        self._forgot: datetime | None = None

    def deliver(self, now: datetime) -> Delivered:
        """Send what is due, each channel beside the others, for at most half a minute and one attempt each."""
        waiting = self._waiting()
        names = sorted({*waiting, *(name for name, one in self._channels.items() if isinstance(one, Alertmanager))})
        if not names:
            return Delivered()
        with ThreadPoolExecutor(len(names), thread_name_prefix="channel") as pool:
            done = list(pool.map(lambda name: self._channel(name, now), names))
        self._forget(now)
        left = sum(self._waiting().values())
        return Delivered(sent=sum(s for s, _ in done), given_up=sum(g for _, g in done), waiting=left)

    def _channel(self, name: str, now: datetime) -> tuple[int, int]:
        """(sent, given up) on one channel; nothing while another sender is at it."""
        lock = f"outbox:{self._workspace}:{name}"
        if lease.take(self._engine, name=lock, holder=self._holder, now=utc_now(), length=HOLD) is None:
            return 0, 0
        try:
            sent, given_up = self._queue(name, lock, now)
            self._refresh(name, now)
        finally:
            lease.give_back(self._engine, name=lock, holder=self._holder)
        return sent, given_up

    def _queue(self, name: str, lock: str, now: datetime) -> tuple[int, int]:
        sent = given_up = 0
        began = utc_now()
        for row in self._due(name, now):
            if utc_now() - began > BUDGET:
                break
            if lease.take(self._engine, name=lock, holder=self._holder, now=utc_now(), length=HOLD) is None:
                break
            state = self._attempt(row, now)
            sent, given_up = sent + (state == "sent"), given_up + (state == "dead")
            if state == "pending":
                break
        return sent, given_up

    def _due(self, name: str, now: datetime) -> list[Row[Any]]:
        """The oldest that wait; none while the first of them has to wait: one that fails rests the channel."""
        query = (
            select(table)
            .where(table.c.state == "pending", table.c.workspace == self._workspace, table.c.channel == name)
            .order_by(table.c.seq, table.c.id)
            .limit(MOST_AT_ONCE)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return list(rows) if rows and rows[0].not_before <= stamp(now) else []

    def _attempt(self, row: Row[Any], now: datetime) -> str:
        """Send one; gives the state that it is in then."""
        try:
            said = read_notification(row.body)
        except (ValueError, TypeError, KeyError) as error:
            return self._settle(row, now, "dead", f"it cannot be read: {error!r}")
        channel = self._channels.get(row.channel)
        try:
            if channel is None:
                raise Later(f"hydraulic.toml has no channel {row.channel!r}")
            answer = send(channel, said, now)
        except HydraulicError as error:
            late = now - datetime.fromisoformat(row.made) > GIVE_UP
            dead = late or not error.retryable
            after_s = error.after_s if isinstance(error, Later) else 0.0
            return self._settle(row, now, "dead" if dead else "pending", str(error), after_s)
        return self._settle(row, now, "sent", answer)

    def _settle(self, row: Row[Any], now: datetime, state: str, answer: str, after_s: float = 0.0) -> str:
        """Write down how an attempt ended; what is given up is a row of the ledger."""
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(row.attempts, 20)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        values = {
            "state": state,
            "attempts": row.attempts + 1,
            "answer": answer[:LONGEST_ANSWER],
            "done": "" if state == "pending" else stamp(now),
            "not_before": stamp(now + timedelta(seconds=max(after_s, wait_s)))
            if state == "pending"
            else row.not_before,
        }
        with self._engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == row.id).values(**values))
            if state == "dead":
                ledger.append(connection, [_given_up(row, answer)], now)
        if state != "sent":
            log.warning("channel %s, attempt %d, %s: %s", row.channel, row.attempts + 1, state, answer)
        return state

    def _refresh(self, name: str, now: datetime) -> None:
        """Tell an Alertmanager what is still open, in time before it takes it for over."""
        channel = self._channels.get(name)
        last = self._refreshed.get(name)
        if not isinstance(channel, Alertmanager) or self._waiting().get(name):
            return
        if last is not None and now - last < timedelta(seconds=min(60.0, channel.hold_s / 4)):
            return
        with self._engine.connect() as connection:
            muting = active(connection, self._workspace, now)
            standing = [
                to_json(alert)
                for alert in current(connection, self._workspace).values()
                if alert.is_open and alert.told and not that_fit(muting, alert)
                if name in (rule := self._rules.of(alert.key)).channels and alert.colour in rule.notify
            ]
        try:
            alertmanager.refresh(channel, standing, now)
            self._refreshed[name] = now
        except HydraulicError as error:
            log.warning("channel %s could not be told that %d alerts are still open: %s", name, len(standing), error)

    def _waiting(self) -> dict[str, int]:
        """How many wait, by channel."""
        query = (
            select(table.c.channel, func.count())
            .where(table.c.state == "pending", table.c.workspace == self._workspace)
            .group_by(table.c.channel)
        )
        with self._engine.connect() as connection:
            return {str(channel): int(count) for channel, count in connection.execute(query)}

    def _forget(self, now: datetime) -> None:
        if self._forgot is not None and now - self._forgot < timedelta(hours=1):
            return
        old = (table.c.state != "pending", table.c.workspace == self._workspace, table.c.done < stamp(now - REMEMBER))
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(*old))
        self._forgot = now


def history(connection: Connection, workspace: str, since: str) -> list[Row[Any]]:
    """The notifications made since `since` (ISO), oldest first."""
    query = select(table).where(table.c.workspace == workspace, table.c.made >= since)
    return list(connection.execute(query.order_by(table.c.seq, table.c.id)).all())


def _given_up(row: Row[Any], why: str) -> Event:
    return Event(
        verb=UNDELIVERED,
        subject=f"{row.channel} {row.id}",
        actor=MONITOR_ACTOR,
        after={"channel": row.channel, "notification": row.id, "attempts": row.attempts + 1, "made": row.made},
        reason=why[:LONGEST_ANSWER],
        workspace=row.workspace,
    )
