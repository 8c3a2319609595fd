"""`hydraulic controller`: keeps deployments in step with the registry."""

from __future__ import annotations

import json
import logging
import signal
import sys
from types import FrameType

import click

from mlflow_hydraulic.errors import Failed


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
    from mlflow_hydraulic.cli.world import open_world
    from mlflow_hydraulic.controller import Controller, Pace
    from mlflow_hydraulic.reconcile import look
    from mlflow_hydraulic.settings import read_settings

    log_to_stderr(json_logs=json_logs)
    settings = read_settings()
    world = open_world(settings)
    if dry_run:
        click.echo(shown(look(world)))
        return
    acting = Controller(world, Pace(interval_s=interval_s or settings.interval_s, lease_s=settings.lease_s))

    def stop(_signal: int, _frame: FrameType | None) -> None:
        acting.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C ends it at once

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if not once:
        acting.run()
        return
    failed = [o for done in acting.once() for o in done.outcomes if o.result != "done"]
    if failed:
        raise Failed(f"{len(failed)} actions failed: {failed[0].action.model}: {failed[0].cause}")


def log_to_stderr(*, json_logs: bool = False) -> None:
    """Log lines of the controller: time, level, what; or the same as JSON, one object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if json_logs else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("hydraulic")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        return json.dumps(said, ensure_ascii=False)
