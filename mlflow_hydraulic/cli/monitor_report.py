"""`hydraulic monitor report`: one deployment's service, drift, odd rows, accuracy and alerts as one HTML file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.times import time_of
from mlflow_hydraulic.errors import BadInput, Failed, NotFound

if TYPE_CHECKING:
    from mlflow_hydraulic.monitor.report import Report
    from mlflow_hydraulic.monitor.watch import Watched
    from mlflow_hydraulic.plan import Running


@click.command()
@click.argument("model")
@click.option("--env", "environment", required=True, help="The environment, such as prod.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"), show_default=True
)
@click.option("--since", callback=time_of, help="From when on: a time, or how long ago, such as 7d.  [default: 7d]")
@click.option("--until", callback=time_of, help="Until when.  [default: now]")
def report(*, model: str, environment: str, output: Path, since: datetime | None, until: datetime | None) -> None:
    """Write a report of MODEL, a registered model or a deployment: one HTML file without scripts or network.

    \b
    Examples:
      hydraulic monitor report hydraulic-cooler --env prod -o report.html
      hydraulic monitor report hydraulic-cooler --env prod --since 2d -o last-two-days.html
    """
    from mlflow_hydraulic.cli.watching import open_watched
    from mlflow_hydraulic.monitor.report_page import page
    from mlflow_hydraulic.settings import read_settings

    watched = open_watched(read_settings())
    now = watched.clock()
    end = until or now
    begin = since or end - timedelta(days=7)
    if begin >= end:
        raise BadInput(f"--since {begin:%Y-%m-%d %H:%M} is not before --until {end:%Y-%m-%d %H:%M}")
    text = page(made(watched, _running(watched, model, environment), begin, min(end, now)))
    part = output.with_name(f".{output.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(output)
    except OSError as error:
        raise Failed(f"{output}: cannot be written: {error}") from error
    click.echo(f"{output}: {len(text) / 1e3:.0f} kB")


def _running(watched: Watched, model: str, environment: str) -> Running:
    target = watched.sources.targets.get(environment)
    if target is None:
        raise NotFound(f"--env {environment}: there are {', '.join(watched.sources.targets)}")
    there = [one for one in target.observe() if one.workspace == watched.workspace]
    found = [one for one in there if model in (one.deployment.name, one.model)]
    if not found:
        names = ", ".join(sorted(f"{one.deployment.name} ({one.model})" for one in there)) or "nothing"
        raise NotFound(f"{model!r} does not run in {environment}; what runs there: {names}")
    return found[0]


def made(watched: Watched, running: Running, since: datetime, until: datetime) -> Report:
    """The report's values."""
    from mlflow_hydraulic.monitor.findings import Subject
    from mlflow_hydraulic.monitor.inspection import Evidence
    from mlflow_hydraulic.monitor.report import Report, predictor_report, told
    from mlflow_hydraulic.monitor.watch import opened, seats

    name, environment = running.deployment.name, running.environment
    subject = Subject(environment=environment, deployment=name, workspace=watched.workspace, model=running.model)
    looking = watched.monitoring.looking
    length_s = (until - since).total_seconds()
    with ExitStack() as stack:
        evidence = Evidence(
            record=opened(stack, watched.record),
            actuals=opened(stack, watched.actuals),
            versions=watched.versions,
            looking=replace(looking, window_s=length_s, accuracy=replace(looking.accuracy, window_s=length_s)),
            now=until.timestamp(),
            until=until.timestamp(),
        )
        if evidence.record is not None and evidence.actuals is not None:
            evidence.actuals.join(evidence.record)
        shadow = running.deployment.shadow
        predictors = tuple(
            predictor_report(
                seat,
                evidence,
                since.timestamp(),
                shadow=shadow is not None and seat.subject.predictor == shadow.name,
            )
            for seat in seats(running, watched.sources, watched.workspace)
        )
    with watched.database.connect() as connection:
        standing, service_findings, story, service = told(
            connection, subject, since, watched.clock(), watched.monitoring.rules.stale_s
        )
    return Report(
        environment=environment,
        deployment=name,
        model=running.model,
        since=since,
        until=until,
        made=watched.clock(),
        looking=looking,
        standing=standing,
        service=service,
        service_findings=service_findings,
        predictors=predictors,
        story=story,
    )
