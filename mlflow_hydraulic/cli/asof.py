"""`hydraulic as-of`: what ran, and what the registry said, at any time in the past."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.table import table
from mlflow_hydraulic.cli.times import TakesAgo, read_past, shown, shown_stamp
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence, Set
    from datetime import datetime

    from mlflow_hydraulic.evidence.asof import Then


@click.command("as-of", cls=TakesAgo)
@click.argument("time", metavar="TIME")
@click.option("--env", "environment", default="prod", show_default=True, help="The environment.")
@click.option("--model", default="", help="Only this registered model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def as_of(*, time: str, environment: str, model: str, as_json: bool) -> None:
    """Show what ran in an environment at TIME, by the ledger, and what the registry said then.

    TIME: 2026-03-01T14:30, with or without a zone (UTC without), a date (its first moment), or how long ago: 3h, -2d.
    Of MLFLOW_WORKSPACE, where workspaces are in use. The answer names the last ledger row that counts;
    `hydraulic ledger verify` proves the rows.

    \b
    Examples:
      hydraulic as-of 2026-03-01
      hydraulic as-of 2026-03-01T14:30+01:00 --env dev
      hydraulic as-of -2d --model hydraulic-cooler --json
    """
    from mlflow_hydraulic.cli.world import open_configuration, open_evidence, workspace
    from mlflow_hydraulic.evidence.asof import as_of as asked
    from mlflow_hydraulic.evidence.asof import environments

    moment = read_past(time, utc_now())
    with open_evidence().connect() as connection:
        then = asked(connection, moment, workspace())
        if not any(where == environment for _, where, _ in then.running):
            configured = [known.name for known in open_configuration().environments]
            _check(environment, configured, environments(connection))
    if as_json:
        click.echo(json.dumps(to_json(then, moment, environment, model), indent=1))
        return
    click.echo(f"{environment} at {shown(moment)}, by ledger row {then.seq}\n")
    ran = _ran(then, environment, model)
    click.echo(table(("deployment", "model", "ran", "since (UTC)", "digest", "why"), ran) if ran else "nothing ran")
    said = _said(then, model)
    click.echo("\nthe registry said")
    click.echo(table(("model", "what"), said) if said else "nothing that is on record")


def _check(environment: str, configured: Sequence[str], recorded: Set[str]) -> None:
    """`BadInput` where neither hydraulic.toml nor the ledger knows it: a slip must not read as "nothing ran"."""
    known = [*configured, *sorted(recorded - set(configured))]
    if environment not in known:
        raise BadInput(f"--env {environment}: there is no such environment; known are {', '.join(known)}")


def _ran(then: Then, environment: str, model: str) -> list[tuple[str, ...]]:
    return [
        (
            name,
            ran.composition.model,
            str(ran.composition),
            shown_stamp(ran.since),
            "/".join(part.digest[:12] for part in ran.composition.parts),
            ran.reason,
        )
        for (_, where, name), ran in sorted(then.running.items())
        if where == environment and model in ("", ran.composition.model)
    ]


def _said(then: Then, model: str) -> list[tuple[str, str]]:
    lines = [(key[1], f"version {key[2]} in stage {stage}") for key, stage in then.stages.items()]
    lines += [(key[1], f"alias {key[2]} is version {number}") for key, number in then.aliases.items()]
    lines += [
        (key[1], f"version {key[2]} has tag {tag} = {value}")
        for key, tags in then.tags.items()
        for tag, value in tags.items()
    ]
    return sorted(line for line in lines if model in ("", line[0]))


def to_json(then: Then, moment: datetime, environment: str, model: str) -> dict[str, object]:
    names = sorted({key[:2] for said in (then.stages, then.aliases, then.tags) for key in said})
    return {
        "at": moment.isoformat(timespec="microseconds"),
        "environment": environment,
        "ledger": {"seq": then.seq, "hash": then.hash},
        "running": [
            {"workspace": space, "deployment": name, "since": ran.since, "seq": ran.seq, "reason": ran.reason}
            | asdict(ran.composition)
            for (space, where, name), ran in sorted(then.running.items())
            if where == environment and model in ("", ran.composition.model)
        ],
        "registry": [
            {
                "workspace": space,
                "model": name,
                "stages": {key[2]: stage for key, stage in then.stages.items() if key[:2] == (space, name)},
                "aliases": {key[2]: number for key, number in then.aliases.items() if key[:2] == (space, name)},
                "tags": {key[2]: tags for key, tags in then.tags.items() if key[:2] == (space, name)},
            }
            for space, name in names
            if model in ("", name)
        ],
    }
