"""`hydraulic monitor prometheus`: recording and alert rules as files, and what there is to scrape on this machine."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from mlflow_hydraulic.errors import BadInput, Failed

if TYPE_CHECKING:
    from mlflow_hydraulic.deployment import Observed

SHIPPED = ("recording.yml", "alerts.yml", "prometheus.yml")
TARGETS = "targets.json"
JOB = "hydraulic-{}"


@click.command()
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Write the files in this folder."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=HOST:PORT",
    help="Scrape this too, as job hydraulic-NAME: a --health-port, an intake, a scorer. May be given several times.",
)
def prometheus(*, output: Path | None, targets: tuple[str, ...]) -> None:
    """Write Prometheus' rules and the list of what to scrape here; without -o, print that list.

    In DIR are then recording.yml, alerts.yml, targets.json and, where there is none yet, prometheus.yml to begin with.
    Written anew after deployments came or went, the list is read by a running Prometheus within seconds.

    \b
    Examples:
      hydraulic monitor prometheus -o /etc/prometheus/hydraulic
      hydraulic monitor prometheus -o rules --target controller=localhost:8081 --target monitor=localhost:8082
      prometheus --config.file=rules/prometheus.yml
    """
    from mlflow_hydraulic.deploy_targets.local.folder import write_atomically
    from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
    from mlflow_hydraulic.settings import read_settings

    groups = [_group(*_named(target)) for target in targets]
    groups += [_group("router", place) for place in _routers(LocalTarget(read_settings()).observe())]
    if output is None:
        click.echo(json.dumps(groups, indent=1))
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in SHIPPED:
            if name != "prometheus.yml" or not (output / name).exists():
                text = (files("mlflow_hydraulic.monitor.prometheus") / name).read_text(encoding="utf-8")
                (output / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{output}: cannot be written: {error}") from error
    write_atomically(output / TARGETS, groups)
    (output / TARGETS).chmod(0o644)  # Prometheus is another user, and no secret is in it
    click.echo(f"{output}: {', '.join((*SHIPPED, TARGETS))}; {len(groups)} targets")


def _routers(found: list[Observed]) -> list[str]:
    return [urlsplit(one.url).netloc for one in found if one.url and one.pid is not None]


def _named(target: str) -> tuple[str, str]:
    name, _, place = target.partition("=")
    host, _, port = place.rpartition(":")
    if not name or not host or not port.isdigit():
        raise BadInput(f"--target {target!r}: write it as NAME=HOST:PORT, such as controller=localhost:8081")
    return name, place


def _group(name: str, place: str) -> dict[str, Any]:  # Any: the value is JSON
    return {"targets": [place], "labels": {"job": JOB.format(name)}}
