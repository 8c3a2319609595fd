"""`hydraulic deploy` and `hydraulic end`: what is to run in an environment, through the gate as every other move."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from mlflow_hydraulic.cli.table import printable
from mlflow_hydraulic.errors import BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from mlflow_hydraulic.bindings import Environment
    from mlflow_hydraulic.intent import Wish
    from mlflow_hydraulic.moves import Move
    from mlflow_hydraulic.prospect import Place, Prospect
    from mlflow_hydraulic.registry import RegisteredModel


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One model, its environment among all, and what is on record of what runs."""

    model: RegisteredModel
    environment: Environment
    environments: tuple[Environment, ...]
    place: Place


Make = Callable[[Scene], "list[Move]"]


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON; asks nothing: it needs --yes or --dry-run."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Only show what it would do."),
        click.option("--reason", default="", help="Why; it goes into the ledger. PROD asks for one by default."),
        click.option("--env", "environment", required=True, help="The environment, such as dev."),
        click.argument("model"),
    ):
        command = option(command)
    return command


@click.command()
@_options
@click.option("--version", type=click.IntRange(min=1), help="The version that answers.")
@click.option("--split", metavar="V:SHARE,...", help="Versions with their shares in percent: an A/B split.")
@click.option("--challenger", type=click.IntRange(min=1), help="A version that gets a copy of every request.")
@click.option("--replicas", type=click.IntRange(1, 100), help="How often each version runs.  [default: as now]")
def deploy(
    *,
    model: str,
    environment: str,
    version: int | None,
    split: str | None,
    challenger: int | None,
    replicas: int | None,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Say what is to run of MODEL in an environment: one version, a champion and its challenger, or an A/B split.

    The registry is moved, as stages, aliases and tags bind it; gate, ledger and controller do the rest. What it means
    is shown first. Refused, it leaves everything as it was.

    \b
    Examples:
      hydraulic deploy hydraulic-cooler --env dev --version 3
      hydraulic deploy hydraulic-cooler --env prod --version 3 --challenger 4 --reason "does 4 do better?" --dry-run
      hydraulic deploy hydraulic-cooler --env prod --split 3:80,4:20 --reason "4 did better as challenger" --yes
    """
    from mlflow_hydraulic.intent import towards

    wish = wish_of(version, split, challenger, replicas)

    def moves(scene: Scene) -> list[Move]:
        seen = scene.place.seen(scene.model, scene.environment)
        return towards(scene.model, scene.environment, scene.environments, wish, seen.wanted if seen else None)

    _carry(model, environment, moves, reason, dry_run=dry_run, yes=yes, as_json=as_json)


@click.command()
@_options
def end(*, model: str, environment: str, reason: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """End the deployment of MODEL in an environment: the registry says that nothing of it is to run there.

    \b
    Example:
      hydraulic end hydraulic-cooler --env dev --reason "the rig is sold" --yes
    """
    from mlflow_hydraulic.intent import withdraw

    def moves(scene: Scene) -> list[Move]:
        seen = scene.place.seen(scene.model, scene.environment)
        memory = scene.place.memories.get(scene.environment.name)
        stood_in = (memory.old,) if memory and memory.phase != "over" else ()
        served = tuple(number for number, _ in seen.wanted.arms if number) if seen else ()
        return withdraw(scene.model, scene.environment, scene.environments, served, stood_in=stood_in)

    if not reason.strip():
        raise BadInput("--reason is empty: say why, it goes into the ledger")
    _carry(model, environment, moves, reason, dry_run=dry_run, yes=yes, as_json=as_json)


def wish_of(version: int | None, split: str | None, challenger: int | None, replicas: int | None) -> Wish:
    """What the options ask for; `BadInput` where they are none, or too many."""
    from mlflow_hydraulic.intent import Share, Wish

    if (version is None) == (split is None):
        raise BadInput("give --version or --split, one of them")
    shares = ((version or 0, 100),) if split is None else tuple(_share(text) for text in split.split(","))
    return Wish(
        shares=tuple(Share(version=number, percent=percent, replicas=replicas) for number, percent in shares),
        challenger=challenger,
    )


def _share(text: str) -> tuple[int, int]:
    version, colon, percent = text.strip().partition(":")
    if not (colon and all(part.isascii() and part.isdigit() and len(part) < 10 for part in (version, percent))):
        raise BadInput(f"--split {text.strip()!r}: write versions with their shares, such as 3:80,4:20")
    return int(version), int(percent)


def _carry(model: str, name: str, make: Make, reason: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Show what the moves would do, ask, and make them."""
    from mlflow_hydraulic.cli.rollback import at_terminal, require_gate
    from mlflow_hydraulic.clock import utc_now
    from mlflow_hydraulic.plugin.client import open_client, registry_uri
    from mlflow_hydraulic.plugin.moves import carry_out
    from mlflow_hydraulic.prospect import foresee
    from mlflow_hydraulic.registry import intent_digest

    if not (yes or dry_run) and (as_json or not at_terminal()):
        raise BadInput("nobody can be asked here (no terminal): add --yes to do it, or --dry-run to see it")
    require_gate(registry_uri())
    scene = _scene(model, name)
    moves = make(scene)
    found = foresee(scene.model, moves, scene.environments, scene.place, now=utc_now(), about=name)
    if not as_json:
        click.echo(shown(scene, moves, found))
    if moves and not dry_run:
        if not yes:
            click.confirm("Do it?", abort=True)
        if intent_digest([_scene(model, name).model]) != intent_digest([scene.model]):
            raise Conflict(f"somebody moved {model!r} meanwhile: nothing was done, look again")
        carry_out(open_client(), model, moves, reason)
    did = bool(moves) and not dry_run
    if as_json:
        click.echo(json.dumps(to_json(scene, moves, found, done=did), indent=1))
    elif did:
        click.echo(f"done: the controller brings {name} there; `hydraulic plan` shows what is left to do")


def _scene(model: str, name: str) -> Scene:
    from mlflow_hydraulic.cli.world import open_configuration, open_evidence, workspace
    from mlflow_hydraulic.plugin.client import open_client, open_registry
    from mlflow_hydraulic.prospect import Place, place_of
    from mlflow_hydraulic.settings import read_settings

    configuration, settings = open_configuration(), read_settings()
    where = configuration.environment(name)
    found = open_registry(open_client(), settings.home, workspace()).read().model(model)
    if found is None:
        raise NotFound(f"the registry has no model {model!r}")
    try:
        evidence = open_evidence(settings)
    except BadInput:  # no database is named: what runs is not known, and the registry is moved all the same
        return Scene(model=found, environment=where, environments=configuration.environments, place=Place())
    with evidence.connect() as connection:
        place = place_of(connection, found, configuration.environments)
    return Scene(model=found, environment=where, environments=configuration.environments, place=place)


def shown(scene: Scene, moves: Sequence[Move], found: Prospect) -> str:
    """What it would do, for people."""
    from mlflow_hydraulic.intent import asked_words
    from mlflow_hydraulic.moves import after_all

    where, before = scene.environment.name, asked_words(scene.model, scene.environment)
    if not moves:
        return f"nothing to move: {where} is asked for {before} already"
    after = asked_words(after_all(scene.model, moves), scene.environment)
    lines = [f"{where}, {printable(scene.model.name)}: {printable(before)} -> {after}"]
    lines += [f"  {printable(str(move))}" for move in moves]
    lines += [f"- {printable(line)}" for line in found.words]
    return "\n".join(lines)


def to_json(scene: Scene, moves: Sequence[Move], found: Prospect, *, done: bool) -> dict[str, object]:
    return {
        "model": scene.model.name,
        "environment": scene.environment.name,
        "moves": [asdict(move) for move in moves],
        "plan": [asdict(action) for action in found.plan],
        "callers": list(found.words),
        "done": done,
    }
