"""`hydraulic controller`: keeps deployments in step with the registry."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Protocol

import click

from mlflow_hydraulic.cli.health import Health
from mlflow_hydraulic.cli.logs import log_to_stderr, settings_line
from mlflow_hydraulic.cli.signals import stop_on_signals
from mlflow_hydraulic.errors import BadInput, Failed

if TYPE_CHECKING:
    from mlflow_hydraulic.deploy_targets.kubernetes.leader import Elector
    from mlflow_hydraulic.settings import Settings

AT_ONCE = 4  # models that are deployed side by side
PATIENCE_S = 1.0  # how long a pass waits for them before it looks at the others again


class Loop(Protocol):
    """What runs until it is stopped: the controller, or its rehearsal."""

    @property
    def beat(self) -> float: ...

    def run(self) -> None: ...

    def stop(self) -> None: ...


@click.command()
@click.option("--once", is_flag=True, help="Passes until nothing more can be done now, then end; exit 1 on a failure.")
@click.option("--dry-run", is_flag=True, help="Only show the plan of the first pass.")
@click.option("--watch", is_flag=True, help="With --dry-run: go on, and tell each plan that differs. Nothing is done.")
@click.option("--interval", "interval_s", type=click.FloatRange(min=0.1), help="Seconds between passes of its own.")
@click.option("--elect", metavar="[NAMESPACE/]LEASE", help="On Kubernetes: act only while this Lease is ours.")
@click.option("--health-port", type=click.IntRange(1, 65535), help="Answer /livez, /readyz and /metrics on this port.")
@click.option("--json-logs", is_flag=True, help="Log lines as JSON.")
def controller(
    *,
    once: bool,
    dry_run: bool,
    watch: bool,
    interval_s: float | None,
    elect: str | None,
    health_port: int | None,
    json_logs: bool,
) -> None:
    """Keep deployments in step with the registry: at once after a change, and at an interval besides.

    Several may run: one acts, the others wait for its lease. Ctrl-C ends it after the action under way; what it
    deployed goes on serving.

    \b
    Examples:
      hydraulic controller
      hydraulic controller --once
      hydraulic controller --dry-run
      hydraulic controller --dry-run --watch --elect hydraulic-controller --health-port 8081
    """
    from mlflow_hydraulic.cli.plan import shown
    from mlflow_hydraulic.cli.world import open_evidence, open_sources
    from mlflow_hydraulic.reconcile import look
    from mlflow_hydraulic.settings import read_settings

    _refuse(once=once, dry_run=dry_run, watch=watch, lasting=bool(elect or health_port))
    log_to_stderr(json_logs=json_logs)
    # A registry that is away must not hold a pass, and with it the end of this process, for MLflow's own minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    settings = read_settings()
    settings = replace(settings, interval_s=interval_s or settings.interval_s)
    if dry_run and not watch:
        click.echo(shown(look(open_sources(settings), open_evidence)))
        return
    logging.getLogger("hydraulic.controller").info("%s", settings_line(settings))
    if once:
        _once(settings)
    else:
        _until_stopped(settings, elect, health_port, dry_run=dry_run)


def _refuse(*, once: bool, dry_run: bool, watch: bool, lasting: bool) -> None:
    if watch and not dry_run:
        raise BadInput("--watch tells plans that are not applied: give --dry-run too")
    if (once or (dry_run and not watch)) and lasting:
        raise BadInput("--elect and --health-port are for a controller that goes on: leave out --once, or add --watch")


def _until_stopped(settings: Settings, elect: str | None, health_port: int | None, *, dry_run: bool) -> None:
    from mlflow_hydraulic.controller import new_holder

    holder = new_holder()
    with ExitStack() as stack:
        elector = _elector(elect, holder) if elect else None
        loop = _loop(settings, elector, holder, dry_run=dry_run)
        stop_on_signals(loop)
        if health_port:
            awake = elector.is_leader if elector else _always
            gauges = {"hydraulic_controller_leader": ("Whether this controller may act: 1 or 0.", awake)}
            stack.enter_context(Health(loop, health_port, gauges))
        if elector is not None:
            elector.start()
            stack.callback(elector.stop)  # after the loop has ended, and with it what it did
        loop.run()


def _loop(settings: Settings, elector: Elector | None, holder: str, *, dry_run: bool) -> Loop:
    from mlflow_hydraulic.cli.rehearsal import Rehearsal
    from mlflow_hydraulic.cli.world import open_evidence, open_sources, open_world
    from mlflow_hydraulic.controller import Controller, Pace
    from mlflow_hydraulic.crew import Crew
    from mlflow_hydraulic.reconcile import look

    awake = elector.is_leader if elector else _always
    if dry_run:
        sources, evidence = open_sources(settings), cache(open_evidence)
        return Rehearsal(lambda: look(sources, evidence), settings.interval_s, awake=awake)
    world = replace(open_world(settings), crew=Crew(AT_ONCE, patience_s=PATIENCE_S))
    pace = Pace(interval_s=settings.interval_s, lease_s=settings.lease_s)
    return Controller(world, pace, awake=awake, holder=holder)


def _always() -> bool:
    return True


def _elector(lease: str, holder: str) -> Elector:
    from mlflow_hydraulic.deploy_targets.kubernetes.leader import open_elector

    return open_elector(lease, holder)


def _once(settings: Settings) -> None:
    from mlflow_hydraulic.cli.world import open_world
    from mlflow_hydraulic.controller import Controller, Pace
    from mlflow_hydraulic.crew import Crew

    world = replace(open_world(settings), crew=Crew(AT_ONCE))
    acting = Controller(world, Pace(interval_s=settings.interval_s, lease_s=settings.lease_s))
    stop_on_signals(acting)
    passes = acting.once()
    for error in passes[-1].sight.blind.values():
        raise error
    last = {(o.action.environment, o.action.model): o for done in passes for o in done.outcomes}
    failed = [outcome for outcome in last.values() if outcome.result != "done"]
    if failed:
        raise Failed(f"{len(failed)} actions failed: {failed[0].action.model}: {failed[0].cause}")
