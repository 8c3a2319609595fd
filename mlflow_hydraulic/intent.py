"""From what is to run in an environment to moves in the registry that ask for it, or that end it. Pure.

Called by the pages, their REST API and `hydraulic deploy`. Works with whatever bindings the environment has, and says
in words where they cannot express it; what other environments ask for is never changed on the side, but for those whose
versions are promoted on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mlflow_hydraulic.bindings import MOST_REPLICAS, Desired, Environment, Problem, intent_lost, resolve
from mlflow_hydraulic.errors import BadInput, Failed, NotFound
from mlflow_hydraulic.evidence.compositions import Composition, Part
from mlflow_hydraulic.moves import ARCHIVED, Move, Moving, after_all
from mlflow_hydraulic.plan import Wanted, wanted_of
from mlflow_hydraulic.promotion import successors
from mlflow_hydraulic.registry import REPLICAS_TAG, RegisteredModel
from mlflow_hydraulic.rollback import moves_to

MOST_ARMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One version that is to answer, with its share of the callers in percent. replicas: None for as many as now."""

    version: int
    percent: int = 100
    replicas: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to run: one champion, or the shares of an A/B split; and the challenger that gets a copy."""

    shares: tuple[Share, ...]
    challenger: int | None = None

    def __post_init__(self) -> None:
        versions = [share.version for share in self.shares]
        if not 1 <= len(versions) <= MOST_ARMS:
            raise BadInput(f"{len(versions)} versions are to answer: name 1 to {MOST_ARMS}")
        if len(set(versions)) < len(versions):
            raise BadInput(f"versions {', '.join(map(str, versions))}: each may be named once")
        total, shares = sum(share.percent for share in self.shares), ", ".join(map(_share, self.shares))
        if total != 100:
            raise BadInput(f"the shares ({shares}) add up to {total}: they must add up to 100")
        if any(not 1 <= share.percent <= 100 for share in self.shares):
            raise BadInput(f"the shares ({shares}): each is a whole number from 1 to 100")
        if self.challenger in versions:
            raise BadInput(f"version {self.challenger} answers already: a version cannot challenge itself")
        for share in self.shares:
            if share.replicas is not None and not 1 <= share.replicas <= MOST_REPLICAS:
                raise BadInput(
                    f"replicas={share.replicas} of version {share.version}: must be a whole number from 1 to "
                    f"{MOST_REPLICAS}"
                )

    @property
    def versions(self) -> tuple[int, ...]:
        """All that it names."""
        return (*(share.version for share in self.shares), *([self.challenger] if self.challenger is not None else []))


def towards(
    model: RegisteredModel,
    environment: Environment,
    environments: Sequence[Environment],
    wish: Wish,
    running: Wanted | None = None,
    *,
    together: bool = False,
) -> list[Move]:
    """The moves after which the registry asks for `wish` in `environment`; none where it does already.

    running: what runs there now. together: they are made in one transaction, so that nobody sees the registry between
    two of them. Raises `NotFound` for versions that are not there, `BadInput` where the bindings cannot express it or
    another environment would be changed on the side, `Failed` where no order of moves is safe.
    """
    _refuse_unseen(model, environment)
    missing = [number for number in wish.versions if model.version(number) is None]
    if missing:
        there = ", ".join(str(version.number) for version in model.versions[-5:])
        raise NotFound(
            f"{model.name!r} has no version {', '.join(map(str, missing))}: its newest are {there or 'none at all'}"
        )
    now = composed(model.name, running) if running and running.arms else None
    target = Composition(
        model=model.name,
        predictors=tuple(
            Part(
                version=share.version,
                digest="",
                traffic=share.percent,
                replicas=share.replicas or _kept(model, share.version, now),
            )
            for share in wish.shares
        ),
        shadow=Part(version=wish.challenger, digest="") if wish.challenger is not None else None,
    )
    moves = moves_to(model, environment, target, now, together=together)
    refuse_elsewhere(model, moves, environment, environments)
    return moves


def withdraw(
    model: RegisteredModel,
    environment: Environment,
    environments: Sequence[Environment],
    served: Sequence[int],
    *,
    selected_by: str = "",
    stood_in: Collection[int] = (),
) -> list[Move]:
    """The moves that end the deployment: after them the registry says, in so many words, that nothing is to run.

    served: the versions that answer there now. selected_by: the selector that asked for them, where that is known.
    stood_in: versions that serve because a canary came back to them: those are archived anew, or it would bring them
    back. Raises `NotFound` where there is nothing to end, `Failed` where a version that serves was deleted, `BadInput`
    where another environment would be changed on the side.
    """
    _refuse_unseen(model, environment)
    gone = [number for number in served if model.version(number) is None]
    if gone:
        raise Failed(
            f"version {', '.join(map(str, gone))} serves in {environment.name} and was deleted: the registry can "
            f'say nothing of it any more; end it with "mlflow deployments delete"'
        )
    bound = {version.number for selector in environment.champion for version in selector.matches(model)}
    if not bound and not served:
        raise NotFound(f"nothing of {model.name!r} runs in {environment.name} or is asked for there")
    selected_by = selected_by or _selector(model, environment)
    moving = Moving(model)
    for number in stood_in:
        if number in served:
            moving.stage(number, "None")
    stages = [selector for selector in environment.champion if selector.kind == "stage"]
    for selector in stages:
        moving.archive(selector.matches(moving.model))
    for selector in environment.champion:
        if selector.kind == "alias":
            moving.alias(selector.value, None)
    if stood_in or intent_lost(moving.model, served, environment, selected_by):
        moving.archive(found for number in served if (found := moving.model.version(number)) is not None)
    for selector in environment.challenger:
        if selector.kind == "alias":
            moving.alias(selector.value, None)
        elif selector.value != ARCHIVED:
            moving.archive(selector.matches(moving.model))
    left = resolve(moving.model, environment)
    if left is not None or intent_lost(moving.model, served, environment, selected_by):
        raise BadInput(f"{environment.name}: no moves in the registry say that nothing of {model.name!r} is to run")
    refuse_elsewhere(model, moving.moves, environment, environments)
    return moving.moves


def _selector(model: RegisteredModel, environment: Environment) -> str:
    """What asked for what serves, as far as the registry tells: an alias where it may have been one."""
    asked = resolve(model, environment)
    if isinstance(asked, Desired):
        return asked.selector
    return next((str(one) for one in environment.champion if one.kind == "alias"), "")


def refuse_elsewhere(
    model: RegisteredModel, moves: Sequence[Move], environment: Environment, environments: Sequence[Environment]
) -> None:
    """`BadInput` where `moves` change what an environment asks for that `environment` does not promote from."""
    after = after_all(model, moves)
    for other in environments:
        if other.name == environment.name or environment in successors(other, environments):
            continue
        old, new = asked_words(model, other), asked_words(after, other)
        if old != new:
            raise BadInput(
                f"{environment.name} cannot have it without a change of {other.name}, which asks for {old} and would "
                f"ask for {new}: a version has one stage and one number of replicas; register it once more for "
                f"{environment.name}, or bind {environment.name} to an alias"
            )


def asked_words(model: RegisteredModel, environment: Environment) -> str:
    """What the registry asks for, in words: "v3", "nothing", or why it cannot be told."""
    wish = resolve(model, environment)
    if isinstance(wish, Problem):
        return f"something ambiguous ({wish.message})"
    return str(wanted_of(wish)) if isinstance(wish, Desired) else "nothing"


def composed(model: str, wanted: Wanted) -> Composition:
    """`wanted` as a composition whose artefacts are not known."""
    replicas = dict(wanted.replicas)
    return Composition(
        model=model,
        predictors=tuple(
            Part(version=version, digest="", traffic=percent, replicas=replicas.get(version, 1))
            for version, percent in wanted.arms
        ),
        shadow=Part(version=wanted.challenger, digest="") if wanted.challenger is not None else None,
    )


def _kept(model: RegisteredModel, number: int, running: Composition | None) -> int:
    """How many replicas a version keeps of which nothing is said: as its tag says, else as it or the others run."""
    found = model.version(number)
    said = found.tags.get(REPLICAS_TAG, "") if found else ""
    if said.isascii() and said.isdigit() and len(said) <= 3 and 1 <= int(said) <= MOST_REPLICAS:
        return int(said)
    there = {part.version: part.replicas for part in running.predictors} if running else {}
    return there.get(number, max(there.values(), default=1))


def _refuse_unseen(model: RegisteredModel, environment: Environment) -> None:
    if not environment.looks_at(model.name):
        raise BadInput(
            f"{environment.name} looks at models named {environment.models!r}, not at {model.name!r}: register or copy "
            f"the version under such a name (in MLflow: Promote model, or MlflowClient.copy_model_version)"
        )


def _share(share: Share) -> str:
    return f"version {share.version}: {share.percent}"
