"""`hydraulic canary`: how a new champion gets its callers, and a person's word about it, through the gate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.table import printable
from mlflow_hydraulic.cli.times import shown_stamp
from mlflow_hydraulic.errors import BadInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow_hydraulic.bindings import Environment
    from mlflow_hydraulic.canary.memory import Memory, Word
    from mlflow_hydraulic.evidence.ledger import Row

STEPS = ("begin", "step", "done")  # rows whose reason says it all


@click.group()
def canary() -> None:
    """Look at the canary of a new champion, and end, stop or repeat it.

    The rules are those of [environments.NAME.canary] in hydraulic.toml; the controller makes the steps.

    \b
    Examples:
      hydraulic canary status hydraulic-cooler --env prod
      hydraulic canary abort hydraulic-cooler --env prod --reason "the plant reports wrong alarms"
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    environment = click.option("--env", "environment", required=True, help="The environment, such as prod.")
    return click.argument("model")(
        environment(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command))
    )


def _reason(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--reason", required=True, help="Why; it goes into the ledger.")(command)


@canary.command()
@_options
def status(*, model: str, environment: str, as_json: bool) -> None:
    """Show where the canary of MODEL stands, what it waits for, and its steps so far with their numbers.

    \b
    Examples:
      hydraulic canary status hydraulic-cooler --env prod
      hydraulic canary status hydraulic-cooler --env prod --json | jq -r .now
    """
    from mlflow_hydraulic.cli.world import open_evidence, open_sources
    from mlflow_hydraulic.evidence.words import told
    from mlflow_hydraulic.reconcile import look

    where, memory, rows = _remembered(model, environment)
    if memory is None:
        rules = "" if where.canary else f"; environments.{environment}.canary is not set, so it goes at once"
        raise NotFound(f"the ledger knows of no canary of {model!r} in {environment}{rules}")
    plan = look(open_sources(), open_evidence)
    lines = [a.reason for a in plan.actions if (a.model, a.environment) == (model, environment)]
    now = lines[0] if lines else "nothing to do: what the registry says is what runs"
    if as_json:
        click.echo(json.dumps(_to_json(memory, now, rows), indent=1))
        return
    click.echo(f"{environment}, {printable(model)}: v{memory.old} -> v{memory.new}")
    for row in rows:
        text = row.reason if json.loads(row.after)["phase"] in STEPS else told(row)
        click.echo(f"  {shown_stamp(row.at)}  {printable(text)}")
    click.echo(f"now: {printable(now)}")


@canary.command()
@_options
@_reason
def promote(*, model: str, environment: str, reason: str, as_json: bool) -> None:
    """Give the new champion of MODEL all callers now, whatever its canary still waits for.

    \b
    Example:
      hydraulic canary promote hydraulic-cooler --env prod --reason "too few callers at night to decide"
    """
    _say("promote", model, environment, reason, as_json=as_json)


@canary.command()
@_options
@_reason
def abort(*, model: str, environment: str, reason: str, as_json: bool) -> None:
    """Give all callers back to the champion that served before; the new one is not tried again by itself.

    \b
    Example:
      hydraulic canary abort hydraulic-cooler --env prod --reason "the plant reports wrong alarms"
    """
    _say("abort", model, environment, reason, as_json=as_json)


@canary.command()
@_options
@_reason
def retry(*, model: str, environment: str, reason: str, as_json: bool) -> None:
    """Try again what was rolled back, from its first step, or go on with what was halted, at its own.

    \b
    Example:
      hydraulic canary retry hydraulic-cooler --env prod --reason "the database that it reads is back"
    """
    _say("retry", model, environment, reason, as_json=as_json)


def _say(word: Word, model: str, environment: str, reason: str, *, as_json: bool) -> None:
    """Put the word on the new champion as a tag: gate, ledger and controller do the rest."""
    from mlflow_hydraulic.canary.word import becomes, say
    from mlflow_hydraulic.cli.rollback import require_gate
    from mlflow_hydraulic.cli.world import workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.plugin.client import open_client, open_registry, registry_uri
    from mlflow_hydraulic.plugin.moves import carry_out
    from mlflow_hydraulic.registry import RegisteredModel
    from mlflow_hydraulic.settings import read_settings

    if not reason.strip():
        raise BadInput("--reason is empty: say why, it goes into the ledger")
    require_gate(registry_uri())
    _, memory, _ = _remembered(model, environment)
    client = open_client()
    found = open_registry(client, read_settings().home, workspace()).read().model(model) or RegisteredModel(name=model)
    move = say(word, memory, found, environment, utc_now())
    carry_out(client, model, [move], reason)
    if as_json:
        said = {"model": model, "environment": environment, "version": move.version, "word": word, "reason": reason}
        click.echo(json.dumps(said, indent=1))
    elif memory:
        click.echo(f"done: {becomes(word, memory)} in {environment} with the controller's next pass")


def _remembered(model: str, environment: str) -> tuple[Environment, Memory | None, list[Row]]:
    """The environment, the last canary there, and its rows."""
    from mlflow_hydraulic.cli.world import open_configuration, open_evidence, workspace
    from mlflow_hydraulic.evidence import canaries

    where = open_configuration().environment(environment)
    with open_evidence().connect() as connection:
        memory = canaries.remembered(connection, workspace(), where, model)
        return where, memory, canaries.rows_of(connection, workspace(), where, model) if memory else []


def _to_json(memory: Memory, now: str, rows: list[Row]) -> dict[str, object]:
    return {
        "from": memory.old,
        "to": memory.new,
        "phase": memory.phase,
        "share": memory.share,
        "under_way": memory.under_way,
        "since": memory.since.isoformat(timespec="seconds"),
        "now": now,
        "steps": [{"at": row.at, "what": json.loads(row.after)["phase"], "reason": row.reason} for row in rows],
    }
