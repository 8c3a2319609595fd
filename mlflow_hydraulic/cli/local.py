"""`hydraulic local`: look after the deployments of seldon-local: list, start, stop, logs."""

from __future__ import annotations

import dataclasses
import json

import click

from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Observed
from mlflow_hydraulic.settings import read_settings

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
in_namespace = click.option(
    "--namespace", "-n", default="default", show_default=True, help="Where the deployment lives."
)
patience = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0.001), help="How long to wait, in seconds."
)


@click.group()
def local() -> None:
    """Look after deployments on this machine; `mlflow deployments -t seldon-local` makes them.

    \b
    Examples:
      hydraulic local list
      hydraulic local start cooler          after the machine restarted
      hydraulic local logs cooler --lines 20
    """


@local.command("list")
@click.option("--namespace", "-n", default=None, help="Only the deployments there.  [default: everywhere]")
@as_json
def list_(*, namespace: str | None, as_json: bool) -> None:
    """List every deployment, how it is and where it answers.

    \b
    Example:
      hydraulic local list --namespace prod --json
    """
    found = _target().observe(namespace)
    if as_json:
        click.echo(json.dumps([_value(observed) for observed in found], indent=1))
        return
    if not found:
        click.echo('no deployments here; "mlflow deployments create -t seldon-local" makes one')
    for observed in found:
        click.echo(_line(observed))


@local.command()
@click.argument("name")
@in_namespace
@patience
@as_json
def start(*, name: str, namespace: str, timeout_s: float | None, as_json: bool) -> None:
    """Bring NAME back as it was: after stop, a kill or a restart of the machine.

    \b
    Example:
      hydraulic local start cooler --timeout 60
    """
    _show(_target().start(namespace, name, timeout_s=timeout_s), as_json=as_json)


@local.command()
@click.argument("name")
@in_namespace
@patience
@as_json
def stop(*, name: str, namespace: str, timeout_s: float | None, as_json: bool) -> None:
    """End NAME's processes after they answered what they had accepted; `start` brings it back.

    \b
    Example:
      hydraulic local stop cooler --namespace dev
    """
    _show(_target().stop(namespace, name, timeout_s=timeout_s), as_json=as_json)


@local.command()
@click.argument("name")
@in_namespace
@click.option("--lines", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many of each log.")
@as_json
def logs(*, name: str, namespace: str, lines: int, as_json: bool) -> None:
    """Show the last lines of NAME's logs: its supervisor's and its scorers'.

    \b
    Example:
      hydraulic local logs cooler --lines 20
    """
    found = _target().logs(namespace, name, lines)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for log, text in found.items():
        click.echo(f"==> {log} <==")
        for line in text:
            click.echo(line)


def _target() -> LocalTarget:
    return LocalTarget(read_settings())


def _show(observed: Observed, *, as_json: bool) -> None:
    click.echo(json.dumps(_value(observed), indent=1) if as_json else _line(observed))


def _line(observed: Observed) -> str:
    shares = ", ".join(
        f"{p.name} = {p.model.name}/{p.model.version} {p.traffic} % x{p.replicas}"
        for p in (observed.deployment.all if observed.deployment else ())
    )
    cause = f"\n    {observed.cause}" if observed.cause else ""
    return f"{observed.namespace}/{observed.name}  {observed.state}  {observed.url}  {shares}{cause}"


def _value(observed: Observed) -> dict[str, object]:
    return dataclasses.asdict(observed)
