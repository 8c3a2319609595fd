"""`hydraulic projects`: list, make, share, restrict, leave and delete projects of this database; bring models in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mlflow_hydraulic.cli.table import printable, table
from mlflow_hydraulic.cli.times import shown_stamp
from mlflow_hydraulic.people.rights import Role

if TYPE_CHECKING:
    from mlflow_hydraulic.people.projects import Office
    from mlflow_hydraulic.web.projects import Line

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
reason_option = click.option("--reason", default="", help="Why; it goes into the ledger with your name.")
ROLES = click.Choice([role.value for role in Role])
role_option = click.option("--role", type=ROLES, default="reader", show_default=True, help="What they may do.")


@click.group()
def projects() -> None:
    """List projects; make, share and delete them; bring models in and out.

    Whoever holds the database may do all of this: roles limit who comes through MLflow's server with a log-in. Users
    are not looked up here. Of MLFLOW_WORKSPACE, where workspaces are in use.

    \b
    Examples:
      hydraulic projects list
      hydraulic projects add cooling --owner ds1
      hydraulic projects share cooling ds2 --role operator
      hydraulic projects join hydraulic-cooler cooling
    """


@projects.command("list")
@click.argument("text", default="")
@json_option
def list_(*, text: str, as_json: bool) -> None:
    """List projects, or those with TEXT in name, description or owner, with live counts and the worst alert.

    \b
    Example:
      hydraulic projects list cool
    """
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.people.rights import Who
    from mlflow_hydraulic.web.projects import listing

    with open_evidence().connect() as connection:
        found = listing(connection, workspace(), Who(), utc_now(), text).items
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found), indent=1))
        return
    headings = ("project", "owner", "models", "deployments", "alert", "members", "description")
    click.echo(table(headings, [_cells(one) for one in found]) if found else "there is no project")


@projects.command()
@click.argument("project")
@json_option
def show(*, project: str, as_json: bool) -> None:
    """Show one PROJECT: figures, models and members. Times are UTC.

    \b
    Example:
      hydraulic projects show cooling
    """
    from mlflow_hydraulic.cli.world import open_evidence, open_monitoring, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.people.rights import Who
    from mlflow_hydraulic.web.projects import one, shared, summary

    with open_evidence().connect() as connection:
        found = one(connection, workspace(), Who(), project)
        said = summary(connection, workspace(), found, utc_now(), open_monitoring().rules.stale_s)
    people = shared(found.members)
    if as_json:
        known = msgspec.to_builtins(said)
        known |= {"models": list(found.models), "members": msgspec.to_builtins(people)}
        click.echo(json.dumps({key: value for key, value in known.items() if key not in ("role", "may")}, indent=1))
        return
    facts = [
        ("id", said.id),
        ("created", f"{shown_stamp(said.created)} UTC by {said.created_by}"),
        ("description", said.description or "-"),
        ("deployments", _states(said.deployments)),
        ("alerts", f"{said.alerts} open" + (f", the worst {said.alert}" if said.alert else "")),
        ("levels", _states({colour: count for colour, count in said.levels.items() if count})),
        ("models", ", ".join(found.models) or "none"),
    ]
    click.echo(table((said.name, ""), facts))
    rows = [(one.user, one.role, shown_stamp(one.since), one.by) for one in people]
    click.echo("\n" + table(("member", "role", "since", "by"), rows))


@projects.command()
@click.argument("project")
@click.option("--description", default="", help="What it is for.")
@click.option("--owner", default="", help="Who owns it: a user of MLflow's.  [default: you]")
@reason_option
def add(*, project: str, description: str, owner: str, reason: str) -> None:
    """Make a PROJECT.

    \b
    Example:
      hydraulic projects add cooling --owner ds1 --description "cooler of the rig"
    """
    name = _office(reason).create(project, description, owner)
    click.echo(printable(f"project {name} was made"))


@projects.command()
@click.argument("project")
@click.argument("user")
@role_option
@reason_option
def share(*, project: str, user: str, role: str, reason: str) -> None:
    """Share a PROJECT with a USER. The name is not looked up: write it as MLflow has it.

    \b
    Example:
      hydraulic projects share cooling ds2 --role operator
    """
    _office(reason).share(project, user, Role(role))
    click.echo(printable(f"{user} is {role} of project {project}"))


@projects.command()
@click.argument("project")
@click.argument("user")
@role_option
@reason_option
def restrict(*, project: str, user: str, role: str, reason: str) -> None:
    """Give a member (USER) of a PROJECT another role, in force with their next request.

    \b
    Example:
      hydraulic projects restrict cooling ds2 --role reader
    """
    _office(reason).restrict(project, user, Role(role))
    click.echo(printable(f"{user} is {role} of project {project}"))


@projects.command()
@click.argument("project")
@click.argument("user")
@reason_option
def remove(*, project: str, user: str, reason: str) -> None:
    """End the membership of USER in a PROJECT.

    \b
    Example:
      hydraulic projects remove cooling ds2 --reason "left the team"
    """
    _office(reason).remove(project, user)
    click.echo(printable(f"{user} is no member of project {project} any more"))


@projects.command()
@click.argument("project")
@reason_option
def leave(*, project: str, reason: str) -> None:
    """Leave a PROJECT yourself: the user of this process.

    \b
    Example:
      hydraulic projects leave cooling
    """
    office = _office(reason)
    office.remove(project, office.by)
    click.echo(printable(f"{office.by} left project {project}"))


@projects.command()
@click.argument("model")
@click.argument("project", default="")
@click.option("--out", is_flag=True, help="Out of the project that it is in.")
@reason_option
def join(*, model: str, project: str, out: bool, reason: str) -> None:
    """Bring a registered MODEL into a PROJECT, or --out of the one that it is in: by its tag hydraulic.project.

    \b
    Examples:
      hydraulic projects join hydraulic-cooler cooling
      hydraulic projects join hydraulic-cooler --out
    """
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.errors import NotFound
    from mlflow_hydraulic.people.members import name_of, project_of
    from mlflow_hydraulic.plugin.caller import why
    from mlflow_hydraulic.plugin.client import open_client
    from mlflow_hydraulic.plugin.moves import place

    if out == bool(project):
        raise click.UsageError("say where it goes: a PROJECT, or --out")
    with open_evidence().connect() as connection:
        held = project_of(connection, workspace(), model)
        if project and not name_of(connection, workspace(), project):
            raise NotFound(f"there is no project {project!r}: make it with `hydraulic projects add`")
    if out and not held:
        raise NotFound(f"model {model!r} is in no project" if held == "" else f"there is no model {model!r}")
    with why(reason):
        place(open_client(), model, project)
    click.echo(printable(f"model {model} is in project {project}" if project else f"model {model} is in no project"))


@projects.command()
@click.argument("project")
@click.option("--reason", required=True, help="Why; it goes into the ledger with your name.")
def delete(*, project: str, reason: str) -> None:
    """Delete a PROJECT and its members; its models stay, in no project, and what is deployed runs on.

    \b
    Example:
      hydraulic projects delete cooling --reason "merged with rig"
    """
    models = _office(reason).delete(project)
    left = f"; in no project now: {', '.join(models)}" if models else ""
    click.echo(printable(f"project {project} was deleted{left}"))


def _office(reason: str) -> Office:
    from mlflow_hydraulic.cli.world import open_evidence, workspace
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.evidence.sight import clean
    from mlflow_hydraulic.people.projects import Office
    from mlflow_hydraulic.plugin.caller import caller

    by, said = caller().name, clean(reason)
    return Office(engine=open_evidence(), workspace=workspace(), by=by, now=utc_now(), reason=said)


def _cells(one: Line) -> tuple[str, ...]:
    alert = f"{one.alert} ({one.alerts})" if one.alert else "none"
    counts = (str(one.models), _states(one.deployments), alert, str(one.members))
    return (one.name, ", ".join(one.owners), *counts, one.description)


def _states(states: Mapping[Any, int]) -> str:  # Any: states or colours
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=str)) or "none"
