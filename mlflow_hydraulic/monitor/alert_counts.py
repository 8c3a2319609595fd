"""How many alerts are open, and the worst of them, by deployment or model: for the navigation and for summaries.

Called by every page. Alerts are rows of the ledger: while its head stays, they do, and one small query says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from mlflow_hydraulic.evidence import recorded
from mlflow_hydraulic.monitor import mutes, standing
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.findings import Colour, Subject, worst

Group = TypeVar("Group")
_kept: WeakKeyDictionary[Engine, dict[str, tuple[int, tuple[Alert, ...]]]] = WeakKeyDictionary()  # by workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Open alerts of one group. worst: of all that are open; None where none is.

    open: all of them. red, orange, grey: the same by colour. new: those that nobody acknowledged or muted.
    """

    worst: Colour | None = None
    open: int = 0
    red: int = 0
    orange: int = 0
    grey: int = 0
    new: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An open alert, and whether somebody muted it."""

    alert: Alert
    muted: bool


def place(subject: Subject) -> tuple[str, str]:
    """To count by (environment, deployment)."""
    return subject.environment, subject.deployment


def model(subject: Subject) -> str:
    """To count by registered model; "" are those of nobody knows which."""
    return subject.model


def open_alerts(connection: Connection, workspace: str, now: datetime) -> list[Open]:
    """Every alert that is open, in the order of their last change."""
    kept = _kept.setdefault(connection.engine, {})
    head = recorded.head(connection)  # before the alerts: what comes between is read again next time
    seen, standing_open = kept.get(workspace, (-1, ()))
    if seen != head:
        known = standing.current(connection, workspace, closed=False).values()
        standing_open = tuple(alert for alert in known if alert.is_open)
        kept[workspace] = (head, standing_open)
    muting = mutes.active(connection, workspace, now) if standing_open else []
    return [Open(alert=alert, muted=bool(mutes.that_fit(muting, alert))) for alert in standing_open]


def counted(alerts: Iterable[Open], by: Callable[[Subject], Group]) -> dict[Group, Counts]:
    """Counts of each group that has an open alert."""
    groups: dict[Group, list[Open]] = {}
    for one in alerts:
        groups.setdefault(by(one.alert.key.subject), []).append(one)
    return {group: _counts(found) for group, found in groups.items()}


def total(alerts: Iterable[Open], models: Collection[str] | None = None) -> Counts:
    """Counts of all, or of those of `models` alone: what the caller may see."""
    return _counts([one for one in alerts if models is None or one.alert.key.subject.model in models])


def _counts(found: list[Open]) -> Counts:
    colours = [one.alert.colour for one in found]
    return Counts(
        worst=worst(colours) if found else None,
        open=len(found),
        red=colours.count("red"),
        orange=colours.count("orange"),
        grey=colours.count("grey"),
        new=sum(one.alert.state == "open" and not one.muted for one in found),
    )
