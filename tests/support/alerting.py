"""Findings for tests of alerts: one look a minute, by the colours' first letters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.monitor.findings import Colour, Finding, Level, Subject

COOLER = Subject(environment="prod", deployment="cooler", model="hydraulic-cooler")
NAMES: dict[str, Colour] = {"x": "grey", "g": "green", "o": "orange", "r": "red"}


def finding(
    colour: str,
    minute: float,
    now: datetime,
    *,
    level: Level = "drift",
    rule: str = "inputs",
    subject: Subject = COOLER,
) -> Finding:
    """A finding of the window that ended `minute` minutes after `now`; colour: x (grey), g, o or r."""
    until = (now + timedelta(minutes=minute)).timestamp()
    return Finding(
        subject=subject,
        level=level,
        rule=rule,
        colour=NAMES[colour],
        cause=f"{NAMES[colour]} at minute {minute:g}: PS1 is 4.2 bar higher",
        since=until - 60,
        until=until,
        numbers={"p_value": 0.001, "threshold": 0.01},
        features=("PS1",),
        plot="<svg/>",
    )


def series(colours: str, now: datetime, **more: object) -> list[Finding]:
    """One finding a minute, the last one at `now`."""
    first = 1 - len(colours)
    return [finding(colour, first + i, now, **more) for i, colour in enumerate(colours)]  # type: ignore[arg-type]


def of_rule(found: Iterable[Finding], rule: str) -> list[Finding]:
    return [replace(one, rule=rule) for one in found]


def a_while_ago() -> datetime:
    return utc_now() - timedelta(days=2)
