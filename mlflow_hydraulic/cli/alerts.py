"""`hydraulic alerts`: what is wrong, since when and why; by which rules; and what people do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_hydraulic.cli import alert_acts
from mlflow_hydraulic.errors import Failed, NotFound

if TYPE_CHECKING:
    from mlflow_hydraulic.monitor.rules import Pattern

json_option = alert_acts.json_option


@click.group()
def alerts() -> None:
    """List alerts, acknowledge, mute and close them; show the rules; send a test.

    Rules and channels are in hydraulic.toml, table [monitor]. Of MLFLOW_WORKSPACE, where workspaces are in use.

    \b
    Examples:
      hydraulic alerts list
      hydraulic alerts ack 3f09c21e4b --reason "new pump since Monday; ds1 retrains"
      hydraulic alerts mute --env prod --deployment cooler --for 2h --reason "filter change"
      hydraulic alerts test --channel team
    """


for command in (alert_acts.ack, alert_acts.close, alert_acts.mute, alert_acts.unmute, alert_acts.test):
    alerts.add_command(command)


@alerts.command("list")
@alert_acts.pattern_options
@click.option("--colour", type=click.Choice(["red", "orange", "grey"]), help="Only this colour.")
@click.option("--all", "closed_too", is_flag=True, help="Closed ones too.")
@click.option(
    "--by",
    type=click.Choice(["deployment", "model", "environment", "workspace"]),
    help="Roll up: the worst colour of each, and how many levels of deployments are of which colour.",
)
@json_option
def list_(*, colour: str | None, closed_too: bool, by: str | None, as_json: bool, **pattern: str) -> None:
    """List the alerts that are open, the worst first. Times are UTC.

    \b
    Examples:
      hydraulic alerts list
      hydraulic alerts list --env prod --colour red --json | jq -r '.[].cause'
      hydraulic alerts list --by deployment
    """
    from mlflow_hydraulic.cli.alert_table import alert_json, alert_table
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.monitor import mutes, rollup, standing

    wanted = alert_acts.pattern_of(pattern)
    if by:
        _rolled(by, wanted, as_json=as_json)
        return
    with open_evidence().connect() as connection:
        known = standing.current(connection, workspace()).values()
        muting = mutes.active(connection, workspace(), utc_now())
    found = [one for one in known if (one.is_open or closed_too) and wanted.fits(one.key)]
    found = sorted(found, key=lambda one: (not one.is_open, *rollup.badness(one)))
    pairs = [(one, mutes.that_fit(muting, one)) for one in found if colour in (None, one.colour)]
    if as_json:
        click.echo(json.dumps([alert_json(*pair) for pair in pairs], indent=1))
    else:
        click.echo(alert_table(pairs) if pairs else "there was no alert" if closed_too else "no alert is open")


def _rolled(by: str, wanted: Pattern, *, as_json: bool) -> None:
    from mlflow_hydraulic.cli.alert_table import rolled_json, rolled_table
    from mlflow_hydraulic.cli.world import open_evidence, open_monitoring, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.monitor import looks, rollup, standing

    stale_s = open_monitoring().rules.stale_s
    with open_evidence().connect() as connection:
        seen = [one for one in looks.newest(connection, workspace()) if wanted.fits(one.key)]
        known = [one for one in standing.current(connection, workspace()).values() if wanted.fits(one.key)]
    rolled = rollup.roll_up(seen, known, rollup.GROUPS[by], utc_now(), stale_s)
    if as_json:
        click.echo(json.dumps([rolled_json(one) for one in rolled], indent=1))
    else:
        click.echo(rolled_table(rolled) if rolled else "nothing was looked at yet")


@alerts.command()
@click.argument("alert")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the finding's plot here, as SVG.")
@json_option
def show(*, alert: str, plot: Path | None, as_json: bool) -> None:
    """Show one ALERT, by its id or the beginning of it: why, its numbers, and its whole story.

    \b
    Examples:
      hydraulic alerts show 3f09c21e4b
      hydraulic alerts show 3f09 --plot why.svg
    """
    from mlflow_hydraulic.cli.alert_table import alert_json, details
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.monitor import looks, mutes, standing

    with open_evidence().connect() as connection:
        found = standing.find(standing.current(connection, workspace()).values(), alert)
        silent = mutes.that_fit(mutes.active(connection, workspace(), utc_now()), found)
        story = standing.story(connection, found)
        drawn = looks.plot(connection, found.key, found.until) if plot else ""
    if as_json:
        steps = [alert_json(one, ()) for one in story]
        click.echo(json.dumps({**alert_json(found, silent), "story": steps}, indent=1))
    else:
        click.echo(details(found, silent, story))
    if plot:
        if not drawn:
            raise NotFound(f"no plot came with the finding that {found.key} rests on")
        try:
            plot.write_text(drawn, encoding="utf-8")
        except OSError as error:
            raise Failed(f"{plot}: cannot be written: {error}") from error
        click.echo(f"plot: {plot}", err=True)


@alerts.command()
@click.argument("alert", default="")
@json_option
def rules(*, alert: str, as_json: bool) -> None:
    """Show the alert rules, the channels, and the mutes that hold now; of one ALERT, what holds for it.

    \b
    Examples:
      hydraulic alerts rules
      hydraulic alerts rules 3f09c21e4b
    """
    from mlflow_hydraulic.cli.alert_table import mute_json, mute_table, rule_json, rule_table
    from mlflow_hydraulic.cli.table import table
    from mlflow_hydraulic.cli.world import open_evidence, open_monitoring, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.monitor import mutes, standing
    from mlflow_hydraulic.monitor.sending import address

    monitoring = open_monitoring()
    found: list[Any] = list(monitoring.rules.every())
    with open_evidence().connect() as connection:
        muting = mutes.active(connection, workspace(), utc_now())
        if alert:
            one = standing.find(standing.current(connection, workspace()).values(), alert)
            number, rule = monitoring.rules.found(one.key)
            found, muting = [(number, one.key.level, rule)], mutes.that_fit(muting, one)
    to = {name: address(channel) for name, channel in monitoring.channels.items()}
    if as_json:
        said = {"rules": [rule_json(*row) for row in found], "channels": to, "mutes": [mute_json(m) for m in muting]}
        click.echo(json.dumps({"file": alert_acts.file_words(), **said}, indent=1))
        return
    parts = [rule_table(found), table(("channel", "sends to"), list(to.items()))]
    click.echo("\n\n".join([*parts, mute_table(muting)] if muting else parts))
    click.echo(f"\nrules and channels: {alert_acts.file_words()}")
