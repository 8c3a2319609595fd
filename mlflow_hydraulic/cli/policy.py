"""`hydraulic policy`: why a move would be allowed or refused."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import click

from mlflow_hydraulic.errors import NotFound, Refused


@click.group()
def policy() -> None:
    """Explain who may move what where; the rules are in hydraulic.toml.

    \b
    Example:
      hydraulic policy explain hydraulic-cooler 4 --to Production --as ds1 --reason "beats 3"
    """


@policy.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--to", "stage", required=True, type=click.Choice(["None", "Staging", "Production", "Archived"]))
@click.option("--as", "user", default="", help="The user who would move it; nobody by default.")
@click.option("--reason", default="", help="The reason that they would give.")
@click.option("--at", "moment", type=click.DateTime(), help="When, in UTC.  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    *, model: str, version: int, stage: str, user: str, reason: str, moment: datetime | None, as_json: bool
) -> None:
    """Say whether moving VERSION of MODEL to a stage would be allowed, and every reason why not. Exit code 6 if not.

    \b
    Example:
      hydraulic policy explain hydraulic-cooler 4 --to Production --as ds1 --reason "beats 3"
    """
    from mlflow_hydraulic.cli.world import open_configuration
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.plugin.registry import find_version
    from mlflow_hydraulic.policy import Move, judge

    found = find_version(model, version)
    if found is None:
        raise NotFound(f"models:/{model}/{version}: the registry has no such version")
    configuration = open_configuration()
    move = Move(
        kind="stage",
        model=model,
        version=version,
        actor=user,
        reason=reason,
        now=moment.replace(tzinfo=timezone.utc) if moment else utc_now(),
        before=found.stage,
        after=stage,
        stage=found.stage,
        trainer=found.trainer,
    )
    verdict = judge(move, configuration.environments, configuration.policy)
    said = {"allowed": verdict.allowed, "environments": verdict.environments, "reasons": verdict.reasons}
    if as_json:
        click.echo(json.dumps(said, indent=1))
    else:
        touched = ", ".join(verdict.environments) or "no environment"
        click.echo(f"{found.uri} from {found.stage} to {stage} touches {touched}")
    if not verdict.allowed:
        raise Refused("refused: " + "; ".join(verdict.reasons))
    if not as_json:
        click.echo("allowed")
