"""`hydraulic monitor`: looks at every deployment on each level, keeps alerts, tells people; status and report."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.grafana import grafana
from mlflow_hydraulic.cli.health import Health
from mlflow_hydraulic.cli.logs import log_to_stderr, settings_line
from mlflow_hydraulic.cli.monitor_report import report
from mlflow_hydraulic.cli.monitor_status import status
from mlflow_hydraulic.cli.service_files import prometheus
from mlflow_hydraulic.cli.signals import Asked, stop_on_signals
from mlflow_hydraulic.cli.sla import sla
from mlflow_hydraulic.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow_hydraulic.monitor.loop import Monitor
    from mlflow_hydraulic.monitor.watch import Looked
    from mlflow_hydraulic.settings import Settings


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="One look, then end.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=1.0),
    help="Seconds between looks.  [default: interval in hydraulic.toml]",
)
@click.option("--json", "as_json", is_flag=True, help="With --once: print what was found as JSON.")
@click.option("--health-port", type=click.IntRange(1, 65535), help="Answer /livez, /readyz and /metrics on this port.")
@click.option("--json-logs", is_flag=True, help="Log lines as JSON.")
@click.pass_context
def monitor(
    context: click.Context,
    *,
    once: bool,
    interval_s: float | None,
    as_json: bool,
    health_port: int | None,
    json_logs: bool,
) -> None:
    """Look at every deployment, at an interval: how it serves, drift, odd rows, accuracy; and tell the right people.

    What it looks at, how often and within which false-alarm budget is in hydraulic.toml, table [monitor]. Several may
    run: one looks, the others wait. Ctrl-C ends it; alerts and what was seen are in the evidence database.

    \b
    Examples:
      hydraulic monitor
      hydraulic monitor --once --json | jq '.found[] | select(.colour == "red")'
      hydraulic monitor status
      hydraulic monitor report hydraulic-cooler --env prod -o report.html
    """
    if context.invoked_subcommand:
        if once or as_json or health_port or json_logs or interval_s:
            raise BadInput(f'options of the loop stand without a command: leave out "{context.invoked_subcommand}"')
        return
    if as_json and not once:
        raise BadInput("--json prints what one look found: give --once too")
    if once and health_port:
        raise BadInput("--health-port is for a monitor that goes on: leave out --once")
    from mlflow_hydraulic.settings import read_settings

    log_to_stderr(json_logs=json_logs)
    # A registry that is away must not hold a pass, and with it the end of this process, for MLflow's own minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    settings = read_settings()
    if once:
        _once(settings, as_json=as_json)
    else:
        _until_stopped(settings, interval_s, health_port)


monitor.add_command(prometheus)
monitor.add_command(sla)
monitor.add_command(report)
monitor.add_command(status)
monitor.add_command(grafana)


def _once(settings: Settings, *, as_json: bool) -> None:
    from mlflow_hydraulic.cli.monitor_status import finding_json, found_table
    from mlflow_hydraulic.cli.watching import open_watched
    from mlflow_hydraulic.monitor.loop import new_holder
    from mlflow_hydraulic.monitor.watch import Watch

    looked = Watch(open_watched(settings), new_holder()).look()
    if as_json:
        told = {
            "deployments": looked.deployments,
            "found": [finding_json(one) for one in looked.found],
            "unchanged": looked.again,
            "changes": [f"{c.alert.key} {c.alert.what} {c.alert.colour}" for c in looked.judged.changes],
            "blind": dict(looked.blind),
        }
        click.echo(json.dumps(told, indent=1))
    else:
        click.echo(_told(looked))
        if looked.found:
            click.echo(found_table(looked.found))
    for name, why in looked.blind.items():
        raise Unavailable(f"{name} does not answer: {why}")


def _told(looked: Looked) -> str:
    changes = [f"alert {c.alert.key} {c.alert.what} {c.alert.colour}" for c in looked.judged.changes]
    head = f"{looked.deployments} deployments: {len(looked.found)} findings"
    head += f", {looked.again} as before (nothing new was asked)" if looked.again else ""
    return "\n".join([head, *changes])


def _until_stopped(settings: Settings, interval_s: float | None, health_port: int | None) -> None:
    import logging

    asked = Asked()
    stop_on_signals(asked)  # first: opening takes seconds, and whoever ends it then wants an orderly end too

    from mlflow_hydraulic.cli.watching import open_watched
    from mlflow_hydraulic.monitor.loop import Monitor, new_holder
    from mlflow_hydraulic.monitor.watch import Watch

    logging.getLogger("hydraulic.monitor").info("%s", settings_line(settings))
    watched = open_watched(settings, asked.is_set)
    if interval_s:
        looking = watched.monitoring.looking
        looking = replace(looking, interval_s=interval_s, budget=replace(looking.budget, look_every_s=interval_s))
        watched = replace(watched, monitoring=replace(watched.monitoring, looking=looking))
    holder = new_holder()
    looking = watched.monitoring.looking
    loop = Monitor(Watch(watched, holder), watched.database, looking.interval_s, holder, watched.workspace, asked=asked)
    with ExitStack() as stack:
        if health_port:
            stack.enter_context(Health(loop, health_port, _metrics(loop), component="monitor"))
        loop.run()


def _metrics(loop: Monitor) -> dict[str, tuple[str, Callable[[], float]]]:
    def coloured(colour: str) -> Callable[[], float]:
        return lambda: float(sum(one.colour == colour for one in loop.last.found)) if loop.last else 0.0

    found = {
        f"hydraulic_monitor_findings_{colour}": (f"Findings of the last look that are {colour}.", coloured(colour))
        for colour in ("red", "orange", "green", "grey")
    }
    return {
        **found,
        "hydraulic_monitor_looks_total": ("Looks at all deployments.", lambda: float(loop.looks)),
        "hydraulic_monitor_failures_total": ("Looks that ended early.", lambda: float(loop.failures)),
        "hydraulic_monitor_deployments": (
            "Deployments in the last look.",
            lambda: float(loop.last.deployments) if loop.last else 0.0,
        ),
        "hydraulic_monitor_notifications_waiting": (
            "Notifications that are not sent yet.",
            lambda: float(loop.last.delivered.waiting) if loop.last else 0.0,
        ),
    }
