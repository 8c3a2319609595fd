"""What pages and REST do to deployments: one act as a value, shown before it is done, and done with a reason.

Nothing here touches a target: an act is moves in the registry, which the gate judges, the ledger tells and the
controller follows. Called by `api.acts` and `views.deploy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.canary import word as canary_word
from mlflow_hydraulic.canary.memory import Word
from mlflow_hydraulic.deployment import ModelVersion, deployment_name
from mlflow_hydraulic.errors import BadInput, NotFound, Refused, Unavailable
from mlflow_hydraulic.evidence import queries
from mlflow_hydraulic.evidence.compositions import Composition
from mlflow_hydraulic.evidence.ledger import Event, append
from mlflow_hydraulic.evidence.sight import clean
from mlflow_hydraulic.intent import Wish, towards, withdraw
from mlflow_hydraulic.moves import Move
from mlflow_hydraulic.people.rights import Right, refusal
from mlflow_hydraulic.people.takes import rights_for
from mlflow_hydraulic.prospect import Place, place_of
from mlflow_hydraulic.registry import RegisteredModel, intent_digest
from mlflow_hydraulic.rollback import Rollback, decide
from mlflow_hydraulic.web import access
from mlflow_hydraulic.web.ask import Ask
from mlflow_hydraulic.web.house import Registrar


@dataclass(frozen=True, kw_only=True)
class Act:
    """What is to be done about `model` in `environment`, thought of for the registry as `digest` names it.

    verb: "deploy", "end", "roll back" or a word about a canary. rights: what it takes in the model's project.
    marked: how the ledger's reason begins. needs_reason: whatever the policy says. target: what is gone back to.
    """

    verb: str
    model: RegisteredModel
    environment: Environment
    place: Place
    moves: tuple[Move, ...]
    rights: frozenset[Right]
    marked: str = ""
    needs_reason: bool = True
    target: Composition | None = None

    @property
    def deployment(self) -> str:
        """The name of the deployment that it is about."""
        return deployment_name(self.model.name, self.model.workspace)

    @property
    def digest(self) -> str:
        """Of the intent that it was thought of for."""
        return intent_digest([self.model])

    @property
    def rollback(self) -> dict[str, str]:
        return {self.environment.name: str(self.target)} if self.target else {}


def deploying(ask: Ask, model: str, environment: str, wish: Wish) -> Act:
    """`wish` is to run."""
    found, where, place = scene(ask, model, environment)
    environments = ask.house.configuration.environments
    seen = place.seen(found, where)
    moves = towards(found, where, environments, wish, seen.wanted if seen else None, together=True)
    return Act(
        verb="deploy",
        model=found,
        environment=where,
        place=place,
        moves=tuple(moves),
        rights=rights_for("stage", (where.name,), environments),
        needs_reason=False,
    )


def ending(ask: Ask, model: str, environment: str) -> Act:
    """The deployment is to end."""
    found, where, place = scene(ask, model, environment)
    seen, memory = place.seen(found, where), place.memories.get(where.name)
    served = tuple(version for version, _ in seen.wanted.arms if version) if seen else ()
    moves = withdraw(
        found,
        where,
        ask.house.configuration.environments,
        served,
        stood_in=(memory.old,) if memory and memory.phase != "over" else (),
    )
    return _act("end", found, where, place, moves)


def returning(ask: Ask, model: str, environment: str, to: int | None, what: str = "") -> Act:
    """What ran before is to run again: as `hydraulic rollback`."""
    found, where, place = scene(ask, model, environment)
    with ask.house.engine.connect() as connection:
        ran = queries.ran(connection, model, where.name, ask.house.workspace)
        last = queries.last_reason(connection, model, where.name, ask.house.workspace)
    made: Rollback = decide(found, where, ran, last, to, what=what, together=True)
    act = _act("roll back", found, where, place, made.moves)
    return replace(act, marked=made.reason(""), target=made.target)


def saying(ask: Ask, model: str, environment: str, word: Word) -> Act:
    """A word about the canary under way."""
    found, where, place = scene(ask, model, environment)
    memory = place.memories.get(where.name)
    move = canary_word.say(word, memory, found, where.name, ask.now)
    return _act(word, found, where, place, [move])


def do(ask: Ask, act: Act, reason: str, digest: str = "") -> None:
    """Do it, with the gate's consent; nothing where the registry asks for it already.

    digest: of the preview that the caller saw. Raises `Refused` with the reasons, which are on record, `Conflict` where
    somebody moved the model meanwhile, `BadInput` without a reason where one is needed.
    """
    reason = (reason or ask.reason).strip()
    if act.needs_reason and not reason:
        raise BadInput(f"{act.verb}: say why, it goes into the ledger (as reason, or as the header X-Hydraulic-Reason)")
    if said := lacking(ask, act):
        _record_refusal(ask, act, said, reason)
        raise Refused("; ".join(said))
    if act.target and act.moves:
        check_artefacts(ask, act)
    if act.moves or digest:
        registrar(ask).carry_out(act.model.name, act.moves, act.marked + reason, digest or act.digest)


def lacking(ask: Ask, act: Act) -> list[str]:
    """Which rights the caller lacks for it, in words."""
    role = access.role_for(ask, act.model.name)
    if role is None:
        raise NotFound(f"there is no model {act.model.name!r} here, or it is not shared with {ask.who.actor!r}")
    said = (refusal(ask.who.actor, role, right, f"model {act.model.name!r}") for right in sorted(act.rights))
    return [one for one in said if one]


def check_artefacts(ask: Ask, act: Act) -> None:
    """`NotFound` or `Untrusted` where an artefact that is gone back to is missing, or is not the one that ran then.

    What this server cannot fetch, for its store or its size, is checked by the controller before it serves.
    """
    if ask.house.files is None or act.target is None:
        return
    for part in act.target.parts:
        version = act.model.version(part.version)
        if version is not None:
            name = ModelVersion(uri=version.uri, name=act.model.name, version=str(part.version), digest=part.digest)
            with suppress(Unavailable):
                ask.house.files.folder(name)


def registrar(ask: Ask) -> Registrar:
    """The house's; `Unavailable` where it has none."""
    if ask.house.registrar is None:
        raise Unavailable("this server has no registry of models")
    return ask.house.registrar


def environment_named(ask: Ask, name: str) -> Environment:
    found = next((env for env in ask.house.configuration.environments if env.name == name), None)
    if found is None:
        known = ", ".join(env.name for env in ask.house.configuration.environments)
        raise NotFound(f"there is no environment {name!r}: known are {known}")
    return found


def scene(ask: Ask, model: str, environment: str) -> tuple[RegisteredModel, Environment, Place]:
    """The model as the registry has it, the environment, and what runs there; `NotFound` where either is not there."""
    where, found = environment_named(ask, environment), registrar(ask).model(model)
    with ask.house.engine.connect() as connection:
        return found, where, place_of(connection, found, ask.house.configuration.environments)


def _act(verb: str, model: RegisteredModel, where: Environment, place: Place, moves: Sequence[Move]) -> Act:
    return Act(
        verb=verb,
        model=model,
        environment=where,
        place=place,
        moves=tuple(moves),
        rights=frozenset({Right.PROMOTE}),
    )


def _record_refusal(ask: Ask, act: Act, said: Sequence[str], reason: str) -> None:
    event = Event(
        verb="refused",
        subject=f"{act.environment.name}/{act.deployment}",
        actor=ask.who.actor,
        model=act.model.name,
        environment=act.environment.name,
        after={"asked": [str(move) for move in act.moves], "verb": act.verb, "refused": list(said)},
        reason=clean(reason)[:2000],
        workspace=ask.house.workspace,
    )
    with ask.house.engine.begin() as connection:
        append(connection, [event])
