"""The colours of many deployments at a glance: by deployment, model, environment, or whatever a caller groups by. Pure.

A deployment's level is as bad as its worst open alert; without one it is green if anything could be judged lately, else
grey. Findings alone make nothing red: what hysteresis does not believe yet is no alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.monitor.alert import Alert
from mlflow_hydraulic.monitor.findings import COLOURS, Colour, Level, Subject, worst
from mlflow_hydraulic.monitor.looks import Seen

By = Callable[[Subject], str]
GROUPS: Mapping[str, By] = {
    "deployment": lambda subject: f"{subject.environment}/{subject.deployment}",
    "model": lambda subject: subject.model or "(no model)",
    "environment": lambda subject: subject.environment,
    "workspace": lambda subject: subject.workspace,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """One group. counts: levels of deployments by colour. alerts: those that are open, the worst first."""

    group: str
    colour: Colour
    counts: Mapping[Colour, int]
    alerts: tuple[Alert, ...] = ()

    @property
    def unacknowledged(self) -> int:
        return sum(alert.state == "open" for alert in self.alerts)


def roll_up(seen: Iterable[Seen], alerts: Iterable[Alert], by: By, now: datetime, stale_s: float) -> list[Rolled]:
    """Every group, the worst first. seen: the newest finding of each key; what is older than `stale_s` says nothing.

    by: the name of a subject's group, such as one of `GROUPS`, or its project. "" leaves a subject out.
    """
    oldest = stamp(now - timedelta(seconds=stale_s))
    standing = [alert for alert in alerts if alert.is_open]
    cells: dict[str, dict[tuple[str, str, Level], list[Colour]]] = {}
    for one in seen:
        colour: Colour = "green" if one.looked >= oldest and one.finding.colour != "grey" else "grey"
        _put(cells, by, one.finding.subject, one.finding.level, colour)
    for alert in standing:
        _put(cells, by, alert.key.subject, alert.key.level, alert.colour)
    grouped: dict[str, list[Alert]] = {}
    for alert in sorted(standing, key=badness):
        grouped.setdefault(by(alert.key.subject), []).append(alert)
    rolled = []
    for group, levels in cells.items():
        colours = [worst(found) for found in levels.values()]
        counts: dict[Colour, int] = {colour: colours.count(colour) for colour in reversed(COLOURS)}
        rolled.append(Rolled(group=group, colour=worst(colours), counts=counts, alerts=tuple(grouped.get(group, []))))
    return sorted(rolled, key=lambda one: (-COLOURS.index(one.colour), one.group))


def badness(alert: Alert) -> tuple[int, str, str]:
    """To sort by: the worst first, then the one that has been open longest."""
    return -COLOURS.index(alert.colour), alert.opened, str(alert.key)


def _put(
    cells: dict[str, dict[tuple[str, str, Level], list[Colour]]], by: By, subject: Subject, level: Level, colour: Colour
) -> None:
    group = by(subject)
    if group:
        cells.setdefault(group, {}).setdefault((subject.environment, subject.deployment, level), []).append(colour)
