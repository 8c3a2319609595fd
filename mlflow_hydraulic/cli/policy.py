"""`hydraulic policy`: why a move would be allowed or refused."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import click

from mlflow_hydraulic.errors import Refused


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
@click.option("--to", "stage", type=click.Choice(["None", "Staging", "Production", "Archived"]), help="To this stage.")
@click.option("--archive-existing", is_flag=True, help="With --to: archive what is in that stage now.")
@click.option("--alias", help="Point this alias to VERSION.")
@click.option("--tag", metavar="KEY=VALUE", help="Set this tag, such as hydraulic.weight=20.")
@click.option("--delete", is_flag=True, help="Delete VERSION.")
@click.option("--as", "user", default="", help="The user who would do it; nobody by default.")
@click.option("--reason", default="", help="The reason that they would give.")
@click.option("--at", "moment", type=click.DateTime(), help="When, in UTC.  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    *,
    model: str,
    version: int,
    stage: str | None,
    archive_existing: bool,
    alias: str | None,
    tag: str | None,
    delete: bool,
    user: str,
    reason: str,
    moment: datetime | None,
    as_json: bool,
) -> None:
    """Say whether a change of VERSION of MODEL would be allowed, and every reason why not. Exit code 6 if not.

    Give exactly one of --to, --alias, --tag and --delete. It is judged as the gate judges it: with all that the change
    brings along, such as the versions that are archived or the aliases that go with a deleted version.

    \b
    Example:
      hydraulic policy explain hydraulic-cooler 4 --to Production --archive-existing --as ds1 --reason "beats 3"
      hydraulic policy explain hydraulic-cooler 4 --alias champion --as ds1
    """
    from mlflow_hydraulic.cli.world import open_configuration, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.plugin.asked import Asked, AskedVersion
    from mlflow_hydraulic.plugin.caller import Caller
    from mlflow_hydraulic.plugin.client import open_client
    from mlflow_hydraulic.policy import judge_all

    what = _what(stage=stage, alias=alias, tag=tag, delete=delete, archive_existing=archive_existing)
    pair = _pair(tag)
    asked = Asked(stage=stage or "", archive_existing=archive_existing, alias=alias or "", tag=pair, delete=delete)
    configuration = open_configuration()
    found = AskedVersion(open_client(), model, version, _verdict if configuration.policy.asks_for_verdicts else _none)
    now = moment.replace(tzinfo=timezone.utc) if moment else utc_now()
    moves, forbidden = found.moves(asked, workspace(), Caller(user=user, reason=reason), now)
    verdict = judge_all(moves, configuration.environments, configuration.policy)
    reasons = (forbidden,) if forbidden else verdict.reasons
    if as_json:
        said = {"allowed": not reasons, "environments": verdict.environments, "reasons": reasons}
        click.echo(json.dumps(said, indent=1))
    else:
        touched = ", ".join(verdict.environments) or "no environment"
        here = f" from {found.found.current_stage}" if stage else ""
        click.echo(f"models:/{model}/{version}{here} {what} touches {touched}")
    if reasons:
        raise Refused("refused: " + "; ".join(reasons))
    if not as_json:
        click.echo("allowed")


def _verdict(model: str, number: int) -> tuple[str, str]:
    """The last verdict on a version, from the ledger."""
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.evidence import verdicts

    with open_evidence().connect() as connection:
        return verdicts.last(connection, workspace(), model, number)


def _none(_model: str, _number: int) -> tuple[str, str]:
    return "", ""


def _what(*, stage: str | None, alias: str | None, tag: str | None, delete: bool, archive_existing: bool) -> str:
    """The one change that is asked for, in words."""
    given = [
        words
        for words, value in (
            (f"to {stage}", stage is not None),
            (f"as alias {alias}", alias is not None),
            (f"with {tag}", tag is not None),
            ("deleted", delete),
        )
        if value
    ]
    if len(given) != 1:
        raise click.UsageError("give exactly one of --to, --alias, --tag and --delete")
    if archive_existing and stage is None:
        raise click.UsageError("--archive-existing goes with --to")
    if alias == "":
        raise click.UsageError("--alias: an alias has at least one character")
    return given[0]


def _pair(tag: str | None) -> tuple[str, str] | None:
    if tag is None:
        return None
    key, equals, value = tag.partition("=")
    if not key or not equals:
        raise click.UsageError(f"--tag {tag!r}: write KEY=VALUE, such as hydraulic.weight=20")
    return key, value
