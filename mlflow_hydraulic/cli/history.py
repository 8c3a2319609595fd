"""`hydraulic history`: what happened to one model, in words."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from mlflow_hydraulic.cli.table import printable
from mlflow_hydraulic.cli.times import shown_stamp
from mlflow_hydraulic.errors import NotFound


@click.command()
@click.argument("model")
@click.option("--env", "environment", default="", help="Only what touched this environment.")
@click.option("--last", type=click.IntRange(min=1), default=100, show_default=True, help="How many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def history(*, model: str, environment: str, last: int, as_json: bool) -> None:
    """Tell what happened to MODEL: who moved what and why, and what then ran. Newest last; times are UTC.

    Of MLFLOW_WORKSPACE, where workspaces are in use.

    \b
    Examples:
      hydraulic history hydraulic-cooler
      hydraulic history hydraulic-cooler --env prod --last 10
      hydraulic history hydraulic-cooler --json | jq -r '.[].what'
    """
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.evidence.queries import Asked, newest
    from mlflow_hydraulic.evidence.words import sentence, told

    with open_evidence().connect() as connection:
        rows = newest(connection, Asked(workspace=workspace(), model=model, environment=environment), last + 1)
    if not rows:
        where = f" in {environment}" if environment else ""
        raise NotFound(
            f'the ledger tells nothing of model {model!r}{where}: "hydraulic ledger show" lists what it knows'
        )
    if len(rows) > last:
        rows = rows[1:]
        click.echo(f"older rows are not shown: --last {last * 10} shows more", err=True)
    if as_json:
        click.echo(json.dumps([{**asdict(row), "what": sentence(row)} for row in rows], indent=1))
        return
    for row in rows:
        click.echo(f"{shown_stamp(row.at)}  {printable(told(row))}")
