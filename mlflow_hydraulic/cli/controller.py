"""`hydraulic controller`: keeps deployments in step with the registry."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from types import FrameType

import click

from mlflow_hydraulic.cli.logs import log_to_stderr, settings_line
from mlflow_hydraulic.errors import Failed

AT_ONCE = 4  # models that are deployed side by side
PATIENCE_S = 1.0  # how long a pass waits for them before it looks at the others again


@click.command()
@click.option("--once", is_flag=True, help="Passes until nothing more can be done now, then end; exit 1 on a failure.")
@click.option("--dry-run", is_flag=True, help="Only show the plan of the first pass.")
@click.option("--interval", "interval_s", type=click.FloatRange(min=0.1), help="Seconds between passes of its own.")
@click.option("--json-logs", is_flag=True, help="Log lines as JSON.")
def controller(*, once: bool, dry_run: bool, interval_s: float | None, json_logs: bool) -> None:
    """Keep deployments in step with the registry: at once after a change, and at an interval besides.

    Several may run: one acts, the others wait for its lease. Ctrl-C ends it after the action under way; what it
    deployed goes on serving.

    \b
    Examples:
      hydraulic controller
      hydraulic controller --once
      hydraulic controller --dry-run
    """
    from mlflow_hydraulic.cli.plan import shown
    from mlflow_hydraulic.cli.world import open_sources, open_world
    from mlflow_hydraulic.controller import Controller, Pace
    from mlflow_hydraulic.crew import Crew
    from mlflow_hydraulic.reconcile import look
    from mlflow_hydraulic.settings import read_settings

    log_to_stderr(json_logs=json_logs)
    # A registry that is away must not hold a pass, and with it the end of this process, for MLflow's own minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    settings = read_settings()
    if dry_run:
        click.echo(shown(look(open_sources(settings))))
        return
    logging.getLogger("hydraulic.controller").info("%s", settings_line(settings))
    world = replace(open_world(settings), crew=Crew(AT_ONCE, patience_s=None if once else PATIENCE_S))
    acting = Controller(world, Pace(interval_s=interval_s or settings.interval_s, lease_s=settings.lease_s))

    def stop(_signal: int, _frame: FrameType | None) -> None:
        acting.stop()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it at once

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if not once:
        acting.run()
        return
    passes = acting.once()
    for error in passes[-1].sight.blind.values():
        raise error
    last = {(o.action.environment, o.action.model): o for done in passes for o in done.outcomes}
    failed = [outcome for outcome in last.values() if outcome.result != "done"]
    if failed:
        raise Failed(f"{len(failed)} actions failed: {failed[0].action.model}: {failed[0].cause}")
