"""`hydraulic rollback`: back to what ran before, through the same gate as every other move."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.table import printable
from mlflow_hydraulic.errors import BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from mlflow_hydraulic.bindings import Environment
    from mlflow_hydraulic.plugin.registry import MlflowRegistry
    from mlflow_hydraulic.registry import RegisteredModel
    from mlflow_hydraulic.rollback import Rollback


@click.command()
@click.argument("model")
@click.option("--env", "environment", required=True, help="The environment to roll back, such as prod.")
@click.option(
    "--to", type=click.IntRange(min=1), help="The version that is to answer again.  [default: what ran before]"
)
@click.option(
    "--what", default="", help='Exactly what is to run again, as `hydraulic history` tells it: "v1 80%/v3 20%".'
)
@click.option("--reason", required=True, help="Why; it goes into the ledger with every move.")
@click.option("--dry-run", is_flag=True, help="Only show what would be moved.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; asks nothing, so it needs --yes or --dry-run.")
def rollback(
    *, model: str, environment: str, to: int | None, what: str, reason: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Go back to what ran healthily in an environment before: versions, weights, replicas and challenger.

    The registry is moved, nothing else: gate, ledger and controller do the rest. Refused, it leaves everything as it
    was; interrupted and repeated, it finishes. Without --to it goes back to the last thing that ran before what the
    registry asks for now; with it, to the last time that this version answered, alone where it ever did.

    \b
    Examples:
      hydraulic rollback hydraulic-cooler --env prod --reason "v4 is wrong on cold starts" --dry-run
      hydraulic rollback hydraulic-cooler --env prod --reason "v4 is wrong on cold starts"
      hydraulic rollback hydraulic-cooler --env prod --to 2 --reason "v3 and v4 share the bug" --yes
    """
    from mlflow_hydraulic.cli.world import open_configuration, open_evidence, workspace
    from mlflow_hydraulic.plugin.client import open_client, open_registry, registry_uri
    from mlflow_hydraulic.plugin.moves import carry_out, check_artefacts
    from mlflow_hydraulic.settings import read_settings

    if not reason.strip():
        raise BadInput("--reason is empty: say why, it goes into the ledger")
    if to is not None and what:
        raise BadInput("--to and --what both say what to go back to: give one")
    if not (yes or dry_run) and (as_json or not at_terminal()):
        raise BadInput("nobody can be asked here (no terminal): add --yes to do it, or --dry-run to see it")
    require_gate(registry_uri())
    settings = read_settings()
    client = open_client()
    registry = open_registry(client, settings.home, workspace())
    where = open_configuration().environment(environment)
    evidence = open_evidence(settings)
    found, made = _decide(registry, evidence, model, where, to, what=what)
    if made.moves:
        check_artefacts(registry, found, made.target)
    if not as_json:
        click.echo(shown(made))
    if made.moves and not dry_run:
        if not yes:
            click.confirm("Do it?", abort=True)
            if _decide(registry, evidence, model, where, to, what=what)[1] != made:
                raise Conflict(f"somebody moved {model!r} meanwhile: nothing was done, look again")
        carry_out(client, model, made.moves, made.reason(reason))
    did = bool(made.moves) and not dry_run
    if as_json:
        click.echo(json.dumps(to_json(made, done=did), indent=1))
    elif did:
        click.echo(f"done: the registry asks for {made.target}; the controller brings {environment} there")
    if did:
        _warn_unrecorded(evidence, made)


def _decide(
    registry: MlflowRegistry, evidence: Engine, model: str, environment: Environment, to: int | None, *, what: str
) -> tuple[RegisteredModel, Rollback]:
    """What the registry says of the model now, and the rollback from there."""
    from mlflow_hydraulic.cli.world import workspace
    from mlflow_hydraulic.evidence import queries
    from mlflow_hydraulic.rollback import decide

    found = registry.read().model(model)
    if found is None:
        raise NotFound(f"the registry has no model {model!r}")
    with evidence.connect() as connection:
        ran = queries.ran(connection, model, environment.name, workspace())
        last = queries.last_reason(connection, model, environment.name, workspace())
    return found, decide(found, environment, ran, last, to, what=what)


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def require_gate(registry_uri: str) -> None:
    """Refuse a registry that would be written to directly, past gate and ledger."""
    from mlflow_hydraulic.evidence.database import safe_uri

    if registry_uri.startswith(("hydraulic+", "http://", "https://")):
        return
    raise BadInput(
        f"the registry is {safe_uri(registry_uri)}, written to without gate and ledger: name the server in "
        f"MLFLOW_TRACKING_URI, or put hydraulic+ before the database's URI in MLFLOW_REGISTRY_URI"
    )


def _warn_unrecorded(evidence: Engine, made: Rollback) -> None:
    from mlflow_hydraulic.cli.world import workspace
    from mlflow_hydraulic.evidence import queries
    from mlflow_hydraulic.rollback import begun

    with evidence.connect() as connection:
        last = queries.last_reason(connection, made.model, made.environment, workspace())
    if begun(last, made.environment) != str(made.target):
        click.echo(
            'warning: the ledger does not tell of it: start the server with "--app-name hydraulic", and let '
            "HYDRAULIC_DATABASE name its database",
            err=True,
        )


def shown(made: Rollback) -> str:
    """What would be moved, for people."""
    if not made.moves:
        return f"nothing to move: the registry asks for {made.target} in {made.environment} already"
    title = f"{made.environment}, {printable(made.model)}: {made.running or 'nothing'} -> {made.target}"
    return "\n".join([title, *(f"  {printable(str(move))}" for move in made.moves)])


def to_json(made: Rollback, *, done: bool) -> dict[str, object]:
    return {
        "model": made.model,
        "environment": made.environment,
        "running": str(made.running) if made.running else None,
        "target": str(made.target),
        "moves": [asdict(move) for move in made.moves],
        "done": done,
    }
