"""Alerts: what is wrong, since when and why, and what people do about it, as `hydraulic alerts` does.

The reason of what somebody does is the header X-Hydraulic-Reason, percent-encoded; it goes into the ledger.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated

from msgspec import Meta, Struct

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.monitoring import alert_list
from mlflow_hydraulic.web.monitoring.alert_list import AlertDetail, AlertFilter, AlertPage
from mlflow_hydraulic.web.route import route

AREA = "alerts"
LONGEST_H = 366 * 24


class NewMute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Until when nobody is told: for so many hours from now, or until a time (ISO, UTC where it names no zone)."""

    hours: Annotated[float, Meta(gt=0, le=LONGEST_H)] | None = None
    until: Annotated[str, Meta(max_length=40)] = ""

    def end(self, now: datetime) -> datetime:
        if (self.hours is None) == (not self.until):
            raise BadInput("say until when: give one of hours and until")
        if self.hours is not None:
            return now + timedelta(hours=self.hours)
        try:
            found = datetime.fromisoformat(self.until.replace("Z", "+00:00"))
            moment = (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
        except (ValueError, OverflowError) as error:
            raise BadInput(f"until={self.until!r}: write a time such as 2026-11-24T06:00, in UTC") from error
        if moment > now + timedelta(hours=LONGEST_H):
            raise BadInput(f"until={self.until!r}: a mute may last a year; renew it then")
        return moment


@route("GET", "/alerts", right=None, area=AREA)
def alerts(ask: Ask, query: AlertFilter) -> AlertPage:
    """Alerts of deployments that one may see: open ones, the worst first."""
    return alert_list.listed(ask, query)


@route("GET", "/alerts/{alert}", right=None, area=AREA)
def alert_detail(ask: Ask, alert: str) -> AlertDetail:
    """One alert: why, its numbers, its whole story, and who was told."""
    return alert_list.detail(ask, alert)


@route("GET", "/alerts/{alert}/plot", right=None, area=AREA, media="image/svg+xml")
def alert_plot(ask: Ask, alert: str) -> bytes:
    """The plot of what was found, as SVG."""
    return alert_list.plot(ask, alert)


@route("POST", "/alerts/{alert}/acknowledge", right=None, area=AREA)
def acknowledge_alert(ask: Ask, alert: str) -> AlertDetail:
    """Say that one looks after it: no reminders until it gets worse. It takes operator or owner of its project."""
    return alert_list.act(ask, alert, lambda desk, key: desk.acknowledge(key, ask.reason, ask.now))


@route("POST", "/alerts/{alert}/mute", right=None, area=AREA)
def mute_alert(ask: Ask, alert: str, body: NewMute) -> AlertDetail:
    """Tell nobody of it until a time. It is still listed and recorded. It takes operator or owner of its project."""
    until = body.end(ask.now)
    return alert_list.act(ask, alert, lambda desk, key: desk.mute_alert(key, until, ask.reason, ask.now))


@route("POST", "/alerts/{alert}/unmute", right=None, area=AREA)
def unmute_alert(ask: Ask, alert: str) -> AlertDetail:
    """End its mute: what is open is told of at the next look. It takes operator or owner of its project."""
    return alert_list.act(ask, alert, lambda desk, key: desk.unmute(key, ask.reason, ask.now))


@route("POST", "/alerts/{alert}/close", right=None, area=AREA)
def close_alert(ask: Ask, alert: str) -> AlertDetail:
    """Say that it is over; what is found from now on may open it again. It takes operator or owner of its project."""
    rules = ask.house.monitoring.rules
    return alert_list.act(ask, alert, lambda desk, key: desk.close(key, ask.reason, rules, ask.now))
