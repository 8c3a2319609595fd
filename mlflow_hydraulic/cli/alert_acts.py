"""`hydraulic alerts ack|close|mute|unmute|test`: what people do. Each change is a ledger row with who and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from mlflow_hydraulic.cli.table import printable, table
from mlflow_hydraulic.cli.times import shown_stamp, time_of
from mlflow_hydraulic.errors import BadInput, HydraulicError, Unavailable

if TYPE_CHECKING:
    from mlflow_hydraulic.monitor.acts import Desk
    from mlflow_hydraulic.monitor.alert import Alert
    from mlflow_hydraulic.monitor.rules import Pattern

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
reason_option = click.option("--reason", required=True, help="Why; it goes into the ledger with your name.")
PATTERNS = {
    "rule": "Only this check, such as inputs.",
    "level": "Only this level: service, drift, accuracy, anomaly.",
    "model": "Only this registered model.",
    "predictor": "Only this predictor.",
    "deployment": "Only this deployment.",
}


def pattern_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--env, --deployment, --predictor, --model, --level, --rule: shell patterns."""
    for name, text in PATTERNS.items():
        command = click.option(f"--{name}", default="*", metavar="PATTERN", help=text)(command)
    return click.option("--env", "environment", default="*", metavar="PATTERN", help="Only this environment.")(command)


def pattern_of(options: Mapping[str, str]) -> Pattern:
    from mlflow_hydraulic.monitor.rules import Pattern

    return Pattern(**options)


@click.command()
@click.argument("alert")
@reason_option
@json_option
def ack(*, alert: str, reason: str, as_json: bool) -> None:
    """Acknowledge an ALERT: you look after it. No reminders, until it gets worse.

    \b
    Example:
      hydraulic alerts ack 3f09c21e4b --reason "new pump since Monday; ds1 retrains"
    """
    _echo(_desk().acknowledge(alert, reason, _now()), as_json=as_json)


@click.command()
@click.argument("alert")
@reason_option
@json_option
def close(*, alert: str, reason: str, as_json: bool) -> None:
    """Close an ALERT. What was found up to now does not open it again; what is found from now on may.

    \b
    Example:
      hydraulic alerts close 3f09c21e4b --reason "sensor was replaced"
    """
    from mlflow_hydraulic.cli.world import open_monitoring

    _echo(_desk().close(alert, reason, open_monitoring().rules, _now()), as_json=as_json)


@click.command()
@click.argument("alert", default="")
@pattern_options
@click.option("--for", "length", help="How long, such as 30m, 2h, 3d.")
@click.option("--until", "moment", callback=time_of, help="Until when: ISO (UTC without a zone) or a date.")
@reason_option
@json_option
def mute(
    *, alert: str, length: str | None, moment: datetime | None, reason: str, as_json: bool, **pattern: str
) -> None:
    """Tell nobody of an ALERT, or of all that the options fit, until a time. It is still listed and recorded.

    \b
    Examples:
      hydraulic alerts mute 3f09c21e4b --for 3d --reason "pump is on order"
      hydraulic alerts mute --env prod --deployment cooler --for 2h --reason "filter change"
      hydraulic alerts mute --env dev --until 2030-01-31T06:00 --reason "rig is rebuilt"
    """
    from mlflow_hydraulic.cli.alert_table import mute_json
    from mlflow_hydraulic.monitor.rules import Pattern

    now, wanted = _now(), pattern_of(pattern)
    if bool(alert) == (wanted != Pattern()):
        raise click.UsageError("give an ALERT, or options that say what is muted (--env, --deployment, --level, ...)")
    until, desk = _until(length, moment, now), _desk()
    made = desk.mute_alert(alert, until, reason, now) if alert else desk.mute(wanted, until, reason, now)
    if as_json:
        click.echo(json.dumps(mute_json(made), indent=1))
    else:
        click.echo(printable(f"mute {made.id}: {made.pattern}; until {shown_stamp(made.until)} UTC"))


def _until(length: str | None, moment: datetime | None, now: datetime) -> datetime:
    from mlflow_hydraulic import typed

    if length is not None and moment is None:
        return now + timedelta(seconds=typed.seconds("--for", length))
    if moment is not None and length is None:
        return moment
    raise click.UsageError("say until when: give one of --for and --until")


@click.command()
@click.argument("alert")
@reason_option
@json_option
def unmute(*, alert: str, reason: str, as_json: bool) -> None:
    """End a mute: by its own id, or by that of the ALERT that it is about. What is open is told of at the next look.

    \b
    Example:
      hydraulic alerts unmute 3f09c21e4b --reason "pump has come"
    """
    from mlflow_hydraulic.cli.alert_table import mute_json

    ended = _desk().unmute(alert, reason, _now())
    if as_json:
        click.echo(json.dumps([mute_json(one) for one in ended], indent=1))
    else:
        click.echo("\n".join(printable(f"mute {one.id} ended: {one.pattern}") for one in ended))


@click.command()
@click.option("--channel", "names", multiple=True, help="Only this channel; may be repeated.  [default: all]")
@json_option
def test(*, names: tuple[str, ...], as_json: bool) -> None:
    """Send a test alert to every channel and say what each answered. Exit code 8 if one did not take it.

    \b
    Examples:
      hydraulic alerts test
      hydraulic alerts test --channel team --channel on-call
    """
    from mlflow_hydraulic.cli.world import open_monitoring

    channels = open_monitoring().channels
    for name in names:
        if name not in channels:
            raise BadInput(f"--channel {name}: there is none of that name; known are {', '.join(sorted(channels))}")
    tried = [_tried(channels[name], name) for name in dict.fromkeys(names or channels)]
    if as_json:
        click.echo(json.dumps(tried, indent=1))
    else:
        rows = [(one["channel"], one["to"], "ok" if one["accepted"] else "FAILED", one["answer"]) for one in tried]
        click.echo(table(("channel", "sends to", "result", "answer"), rows))
        click.echo(f"\nchannels: {file_words()}")
    failed = [one["channel"] for one in tried if not one["accepted"]]
    if failed:
        raise Unavailable(f"not taken by {', '.join(failed)}: see the answers")


def file_words() -> str:
    """Which hydraulic.toml rules and channels come from, or that there is none."""
    from mlflow_hydraulic.settings import config_file

    path = config_file().absolute()
    return str(path) if path.exists() else f"defaults, for there is no {path}"


def _tried(channel: Any, name: str) -> dict[str, Any]:
    from mlflow_hydraulic.cli.world import workspace
    from mlflow_hydraulic.monitor.notification import trial
    from mlflow_hydraulic.monitor.sending import address, send

    now = _now()
    try:
        answer, accepted = send(channel, trial(name, workspace(), _actor(), now), now), True
    except HydraulicError as error:
        answer, accepted = str(error), False
    return {"channel": name, "to": address(channel), "accepted": accepted, "answer": answer}


def _desk() -> Desk:
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.monitor.acts import Desk

    return Desk(open_evidence(), workspace(), _actor())


def _actor() -> str:
    """Who runs this process, as the ledger names them."""
    from mlflow_hydraulic.plugin.caller import caller

    return caller().name


def _now() -> datetime:
    from mlflow_hydraulic.clock import utc_now

    return utc_now()


def _echo(alert: Alert, *, as_json: bool) -> None:
    from mlflow_hydraulic.cli.alert_table import alert_json, step

    click.echo(json.dumps(alert_json(alert, ()), indent=1) if as_json else printable(f"{alert.key}: {step(alert)}"))
