"""`hydraulic verdict`: approve or reject a version, or see what was said of it."""

from __future__ import annotations

import json

import click

from mlflow_hydraulic.cli.table import printable
from mlflow_hydraulic.cli.times import shown_stamp
from mlflow_hydraulic.errors import BadInput, NotFound


@click.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1, max=2_147_483_647))
@click.argument("word", required=False, type=click.Choice(["approved", "rejected"]))
@click.option("--reason", default="", help="Why; it goes into the ledger.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verdict(*, model: str, version: int, word: str | None, reason: str, as_json: bool) -> None:
    """Approve or reject VERSION of MODEL; without a word, show what was said of it. The last verdict counts.

    Where policy.ENVIRONMENT in hydraulic.toml has `validated = true`, only versions enter that somebody approved who
    did not train them. Over a server it takes the role validator or owner in the model's project.

    \b
    Examples:
      hydraulic verdict hydraulic-cooler 4 approved --reason "back-tested on week 46"
      hydraulic verdict hydraulic-cooler 4
    """
    from mlflow_hydraulic.plugin.address import registry_uri

    if word is not None and not reason.strip():
        raise BadInput("--reason is empty: say why, it goes into the ledger")
    remote = registry_uri().startswith(("http://", "https://"))
    found = _asked(model, version, word, reason) if remote else _written(model, version, word, reason)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for one in found:
        click.echo(printable(f"{shown_stamp(one['at'])}  {one['verdict']} by {one['by']}: {one['reason']}"))
    if not found:
        click.echo(f"nobody has given a verdict on version {version} of {printable(model)}")


def _asked(model: str, version: int, word: str | None, reason: str) -> list[dict[str, str]]:
    """Over the server's REST API, as the user that MLflow's client is."""
    from urllib.parse import quote

    from mlflow_hydraulic.plugin.rest import ask

    path = f"/models/{quote(model, safe='')}/versions/{version}/verdicts"
    if word is None:
        return list(ask("GET", path))
    return [ask("POST", path, {"verdict": word, "reason": reason})]


def _written(model: str, version: int, word: str | None, reason: str) -> list[dict[str, str]]:
    """In the database itself, as the system's user."""
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.evidence import verdicts
    from mlflow_hydraulic.plugin.caller import caller
    from mlflow_hydraulic.plugin.client import open_client, open_registry
    from mlflow_hydraulic.settings import read_settings

    settings = read_settings()
    found = open_registry(open_client(), settings.home, workspace()).read().model(model)
    if found is None or found.version(version) is None:
        raise NotFound(f"the registry has no version {version} of {model!r}")
    with open_evidence(settings).begin() as connection:
        if word is None:
            rows = verdicts.verdicts(connection, workspace(), model, version)
        else:
            kind: verdicts.Word = "approved" if word == "approved" else "rejected"
            rows = [
                verdicts.give(
                    connection,
                    workspace(),
                    model,
                    version,
                    word=kind,
                    actor=caller().name,
                    reason=reason,
                    now=utc_now(),
                )
            ]
    return [{"verdict": verdicts.word_of(row), "by": row.actor, "at": row.at, "reason": row.reason} for row in rows]
