"""`hydraulic plan` and `hydraulic apply`: the difference between registry and target, shown, saved, done."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mlflow_hydraulic.cli.table import table
from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import BadData, Conflict, Failed, HydraulicError
from mlflow_hydraulic.plan import Action, Plan, Wanted

FORMAT = 1
NOTHING, ERROR, CHANGES = 0, 1, 2


class ExitsAsPlan(click.Command):
    """A wrong option exits with 1: click's own 2 would say that there are changes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.show()
            ctx.exit(ERROR)


@click.command(cls=ExitsAsPlan)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for `hydraulic apply`.")
def plan(*, as_json: bool, out: Path | None) -> None:
    """Show what would be done to bring deployments in step with the registry, and why. Nothing is changed.

    Exit code: 0 nothing to do, 2 changes, 1 an error.

    \b
    Examples:
      hydraulic plan
      hydraulic plan --json | jq '.actions[] | select(.kind == "delete")'
      hydraulic plan --out monday.plan && hydraulic apply monday.plan
    """
    from mlflow_hydraulic.cli.world import open_evidence, open_sources
    from mlflow_hydraulic.reconcile import look

    try:
        made = look(open_sources(), open_evidence)
        if out:
            save(made, out)
    except HydraulicError as error:
        click.echo(f"hydraulic: {error}", err=True)
        sys.exit(ERROR)
    click.echo(json.dumps(to_json(made), indent=1) if as_json else shown(made))
    sys.exit(CHANGES if made.changes else NOTHING)


@click.command()
@click.argument("file", metavar="PLAN", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print what became of each action as JSON.")
def apply(*, file: Path, as_json: bool) -> None:
    """Do what PLAN, saved by `hydraulic plan --out`, says; refused when the world has moved since it was made.

    \b
    Example:
      hydraulic apply monday.plan
    """
    from mlflow_hydraulic.cli.world import open_world
    from mlflow_hydraulic.controller import Controller, Pace
    from mlflow_hydraulic.settings import read_settings

    settings = read_settings()
    pace = Pace(interval_s=settings.interval_s, lease_s=settings.lease_s)
    (done,) = Controller(open_world(settings), pace).once(load(file))
    outcomes = [(*_cells(outcome.action)[:4], outcome.result, outcome.cause) for outcome in done.outcomes]
    if as_json:
        keys = ("action", "environment", "model", "change", "result", "cause")
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in outcomes], indent=1))
    else:
        click.echo(table(("action", "env", "model", "change", "result", "cause"), outcomes))
    failed = [outcome for outcome in done.outcomes if outcome.result != "done"]
    if failed:
        raise Failed(f"{len(failed)} of {len(done.outcomes)} actions failed; what served before goes on serving")
    if done.left:
        models = ", ".join(sorted(done.left))
        raise Conflict(f"what is wanted of {models} was changed while the plan was applied: plan those anew")


def shown(made: Plan) -> str:
    """The plan as a table, with one line that sums it up."""
    if not made.actions:
        return "nothing to do: what the registry says is what runs"
    body = table(("action", "env", "model", "change", "why"), [_cells(action) for action in made.actions])
    kinds = [action.kind for action in made.actions]
    total = ", ".join(f"{kinds.count(kind)} to {kind}" for kind in ("create", "update", "delete", "wait", "hold"))
    return f"{body}\n\n{total}"


def _cells(action: Action) -> tuple[str, str, str, str, str]:
    after = str(action.wanted) if action.wanted else "" if action.kind == "delete" else action.before
    change = after if not action.before or after == action.before else f"{action.before} -> {after or 'nothing'}"
    return action.kind, action.environment, action.model, change, action.reason


def to_json(made: Plan) -> dict[str, Any]:  # Any: the value is JSON
    return {
        "format": FORMAT,
        "made_at": utc_now().isoformat(timespec="seconds"),
        "registry": made.registry,
        "running": made.running,
        "actions": [asdict(action) for action in made.actions],
    }


def save(made: Plan, file: Path) -> None:
    """Write the plan whole or not at all."""
    part = file.with_name(file.name + ".part")
    try:
        part.write_text(json.dumps(to_json(made), indent=1) + "\n", encoding="utf-8")
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Failed(f"{file}: the plan cannot be saved: {error}") from error


def load(file: Path) -> Plan:
    """Read a saved plan; `BadData` where it is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise BadData(str(file), f"plan format {value['format']}, this version reads {FORMAT}: plan anew")
        return Plan(
            actions=tuple(_action(action) for action in value["actions"]),
            registry=value["registry"],
            running=value["running"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(str(file), f'not a plan saved by "hydraulic plan --out": {error}') from error


def _action(value: dict[str, Any]) -> Action:
    wanted = value["wanted"]
    pairs = {key: tuple((int(a), int(b)) for a, b in wanted[key]) for key in ("arms", "replicas")} if wanted else {}
    return Action(**{**value, "wanted": Wanted(challenger=wanted["challenger"], **pairs) if wanted else None})
