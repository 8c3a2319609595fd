"""Alerts, mutes and rules for people and as JSON: what `hydraulic alerts` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from mlflow_hydraulic.cli.table import printable, table
from mlflow_hydraulic.cli.times import shown_stamp
from mlflow_hydraulic.monitor.alert import Alert, to_json
from mlflow_hydraulic.monitor.mutes import Mute
from mlflow_hydraulic.monitor.rollup import Rolled
from mlflow_hydraulic.monitor.rules import Rule

STYLE = {"red": "red", "orange": "yellow", "green": "green", "grey": "bright_black"}
ORDER = ("red", "orange", "green", "grey")
Silent = Sequence[Mute]


def alert_json(alert: Alert, silent: Silent) -> dict[str, object]:
    return {**to_json(alert), "muted": [mute_json(one) for one in silent]}


def mute_json(mute: Mute) -> dict[str, object]:
    return {"id": mute.id, **asdict(mute)}


def rolled_json(one: Rolled) -> dict[str, object]:
    return {
        "group": one.group,
        "colour": one.colour,
        "counts": dict(one.counts),
        "open": [alert.id for alert in one.alerts],
        "unacknowledged": one.unacknowledged,
    }


def alert_table(alerts: Sequence[tuple[Alert, Silent]]) -> str:
    """One line an alert, in its colour."""
    rows = [
        (
            alert.id,
            alert.colour if alert.is_open else "over",
            str(alert.key),
            state(alert, silent),
            since(alert),
            why(alert),
        )
        for alert, silent in alerts
    ]
    colours = [alert.colour if alert.is_open else "green" for alert, _ in alerts]
    return _coloured(table(("id", "colour", "alert", "state", "since (UTC)", "cause"), rows), colours)


def rolled_table(rolled: Sequence[Rolled]) -> str:
    """One line a group; the numbers count levels of deployments."""
    rows = [
        (one.group, one.colour, *(str(one.counts.get(c, 0)) for c in ORDER), str(len(one.alerts)))  # type: ignore[call-overload]
        for one in rolled
    ]
    return _coloured(table(("what", "worst", *ORDER, "open alerts"), rows), [one.colour for one in rolled])


def details(alert: Alert, silent: Silent, story: Sequence[Alert]) -> str:
    """Everything about one alert, and what happened to it, oldest first."""
    said = {
        "alert": f"{alert.id}  {alert.key}",
        "state": state(alert, silent),
        "colour": f"{alert.colour}, at worst {alert.worst}" if alert.is_open else f"was {alert.worst} at worst",
        "since": f"{shown_stamp(alert.opened)} UTC; opened {times(alert.episode)}",
        "cause": alert.cause,
        "features": ", ".join(alert.features),
        "numbers": ", ".join(f"{name} {number:.6g}" for name, number in alert.numbers.items()),
        "model": alert.key.subject.model,
        "last told": f"{shown_stamp(alert.told_at)} UTC, {alert.told_colour}" if alert.told_at else "nobody yet",
    }
    said |= {f"mute {one.id}": f"until {shown_stamp(one.until)} UTC by {one.by}: {one.reason}" for one in silent}
    width = max(map(len, said))
    lines = [f"{name.ljust(width)}  {text}" for name, text in said.items() if text]
    return "\n".join(printable(line) for line in (*lines, "", *map(step, story)))


def times(count: int) -> str:
    """ "once", "3 times"."""
    return "once" if count == 1 else f"{count} times"


def step(alert: Alert) -> str:
    """One row of the ledger about an alert."""
    colour = f" {alert.colour}" if alert.is_open else ""
    return f"{shown_stamp(alert.at)}  {alert.what}{colour} by {alert.by}: {alert.reason or alert.cause}"


def state(alert: Alert, silent: Silent) -> str:
    """ "open", "acknowledged by ds1", "open, muted until ..."."""
    by = f" by {alert.acknowledged_by}" if alert.state == "acknowledged" else ""
    muted = f", muted until {shown_stamp(max(one.until for one in silent))}" if silent and alert.is_open else ""
    return f"{alert.state}{by}{muted}"


def since(alert: Alert) -> str:
    return shown_stamp(alert.opened if alert.is_open else alert.at)


def why(alert: Alert) -> str:
    return alert.cause if alert.is_open else alert.reason


def rule_json(number: int, level: str, rule: Rule) -> dict[str, object]:
    return {"number": number, **asdict(rule), "level": level}


def rule_table(rules: Sequence[tuple[int, str, Rule]]) -> str:
    rows = [
        (
            str(number) if number else "default",
            str(rule.pattern),
            level,
            f"{rule.raise_after} of {rule.of}",
            f"{rule.clear_after} good",
            ", ".join(reversed(rule.notify)) or "nothing",
            ", ".join(rule.channels) or "nobody",
            *(length(seconds) for seconds in (rule.again_s, rule.quiet_s, rule.grey_after_s)),
        )
        for number, level, rule in rules
    ]
    headings = ("rule", "fits", "level", "raise", "clear", "tells of", "channels", "again", "quiet", "grey after")
    return table(headings, rows)


def mute_table(mutes: Silent) -> str:
    rows = [(one.id, str(one.pattern), shown_stamp(one.until), one.by, one.reason) for one in mutes]
    return table(("mute", "fits", "until (UTC)", "by", "reason"), rows)


def length(seconds: float) -> str:
    """ "2h", "90s"; "never" for 0."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s" if seconds else "never"


def _coloured(text: str, colours: Sequence[str]) -> str:
    """Click takes the colours out again where the output is no terminal."""
    heading, *lines = text.split("\n")
    return "\n".join([heading, *(click.style(line, fg=STYLE[c]) for line, c in zip(lines, colours, strict=True))])
