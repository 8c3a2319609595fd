"""`hydraulic monitor status`: every deployment on each level, and why. Also how findings are printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.table import table
from mlflow_hydraulic.cli.times import shown_stamp

if TYPE_CHECKING:
    from mlflow_hydraulic.monitor.findings import Finding
    from mlflow_hydraulic.monitor.status import Standing

STYLE = {"red": "red", "orange": "yellow", "green": "green", "grey": "bright_black"}


@click.command()
@click.option("--env", "environment", help="Only this environment.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, environment: str | None, as_json: bool) -> None:
    """Show how every deployment is on each level, as the last look had it. Times are UTC.

    Red and orange are findings of the last look; what is believed and told of are alerts (`hydraulic alerts list`).

    \b
    Examples:
      hydraulic monitor status
      hydraulic monitor status --env prod --json | jq '.[] | select(.colour != "green")'
    """
    from mlflow_hydraulic.cli.world import open_evidence, open_monitoring, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.monitor import looks
    from mlflow_hydraulic.monitor.status import standings

    stale_s = open_monitoring().rules.stale_s
    with open_evidence().connect() as connection:
        seen = list(looks.newest(connection, workspace()))
    found = [one for one in standings(seen, utc_now(), stale_s) if environment in (None, one.environment)]
    if as_json:
        click.echo(json.dumps([standing_json(one) for one in found], indent=1))
    else:
        click.echo(standing_table(found) if found else 'nothing was looked at yet: run "hydraulic monitor --once"')


def standing_json(one: Standing) -> dict[str, object]:
    return {**asdict(one), "finding": finding_json(one.finding) if one.finding else None}


def standing_table(found: Sequence[Standing]) -> str:
    """Four lines a deployment, each in its colour."""
    rows, last = [], ""
    for one in found:
        name = f"{one.environment}/{one.deployment}"
        rows.append(("" if name == last else name, one.level, one.colour, shown_stamp(one.looked), one.why))
        last = name
    return coloured(
        table(("deployment", "level", "colour", "looked (UTC)", "why"), rows), [one.colour for one in found]
    )


def finding_json(finding: Finding) -> dict[str, object]:
    """Without its plot."""
    from mlflow_hydraulic.monitor.alert import plain_numbers

    said = {**asdict(finding), "numbers": plain_numbers(finding.numbers)}
    del said["plot"]
    return said


def found_table(found: Sequence[Finding]) -> str:
    """One line a finding, the worst first."""
    from mlflow_hydraulic.monitor.findings import COLOURS

    ordered = sorted(found, key=lambda one: (-COLOURS.index(one.colour), one.subject, one.level, one.rule))
    rows = [
        (
            "/".join(filter(None, (one.subject.environment, one.subject.deployment, one.subject.predictor))),
            one.level,
            one.rule,
            one.colour,
            one.cause,
        )
        for one in ordered
    ]
    return coloured(table(("deployment", "level", "rule", "colour", "cause"), rows), [one.colour for one in ordered])


def coloured(text: str, colours: Sequence[str]) -> str:
    """Each line but the first in its colour; click takes the colours out again where the output is no terminal."""
    heading, *lines = text.split("\n")
    return "\n".join([heading, *(click.style(line, fg=STYLE[c]) for line, c in zip(lines, colours, strict=True))])
