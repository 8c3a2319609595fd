"""How many alerts are open, and the worst of them, by deployment or model: for the navigation and for summaries.

Two SQL statements for all there are. Called by the pages, often.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from mlflow_hydraulic.monitor import mutes, standing
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.findings import Colour, Subject, worst

Group = TypeVar("Group")


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
    standing_open = [alert for alert in standing.current(connection, workspace).values() if alert.is_open]
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
