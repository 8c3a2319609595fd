"""A rollback: which of the things that ran to go back to, and the moves in the registry that ask for it. Pure.

Nothing is deployed here: the registry is brought to say what it said then, and gate, ledger and controller do the rest.
Called by `hydraulic rollback` and the pages; `intent` uses `moves_to` for everything else that is to run, and
`plugin.moves` carries the moves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_hydraulic.bindings import Desired, Environment, Problem, Selector, resolve
from mlflow_hydraulic.errors import BadInput, Conflict, Failed, NotFound
from mlflow_hydraulic.evidence.compositions import Composition
from mlflow_hydraulic.moves import Move, Moving, after_all
from mlflow_hydraulic.plan import Wanted, wanted_of
from mlflow_hydraulic.registry import REPLICAS_TAG, WEIGHT_TAG, RegisteredModel

MARK = "rollback to "
HELD = "held: more moves follow, repeat what was begun to finish it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What was decided: `running` now, `target` to go back to, and the moves, none where the registry asks for it."""

    model: str
    environment: str
    running: Composition | None
    target: Composition
    moves: tuple[Move, ...]

    def reason(self, why: str) -> str:
        """The reason that goes with every move: a repeated call knows by it what was begun."""
        return f"{MARK}{self.target} in {self.environment}: {why}"


def decide(
    model: RegisteredModel,
    environment: Environment,
    ran: Sequence[Composition | None],
    last_reason: str = "",
    to: int | None = None,
    *,
    what: str = "",
    together: bool = False,
) -> Rollback:
    """The rollback of `model` in `environment`.

    ran: all that ran healthily there, oldest first, None where it ended. last_reason: of the last change of intent.
    to: a version that is to answer again. what: exactly what is to run again, in its own words ("v1 80%/v3 20%").
    together: as of `moves_to`.
    Raises `NotFound` where there is nothing to go back to or a version of it was deleted, `Conflict` where the last
    change was this very rollback, `BadInput` where the bindings cannot express it.
    """
    if not environment.looks_at(model.name):
        raise BadInput(f"{environment.name} looks at models named {environment.models!r}, not at {model.name!r}")
    promise = begun(last_reason, environment.name)
    asked = resolve(model, environment)
    target = exactly(what, ran, environment.name) if what else choose(asked, ran, promise, to, environment.name)
    gone = [part.version for part in target.parts if model.version(part.version) is None]
    if gone:
        others = sorted({n for one in ran if one for n in one.versions if model.version(n)})
        raise NotFound(
            f"{environment.name} ran {target} before, but version {', '.join(map(str, gone))} was deleted: "
            + (f"name another with --to (there are {', '.join(map(str, others))})" if others else "register it anew")
        )
    running = ran[-1] if ran else None
    moves = moves_to(model, environment, target, running, together=together)
    if not moves and to is None and not what and running is not None and str(running) == promise:
        raise Conflict(
            f"{environment.name} was rolled back to {promise} by the last change, and that runs now: "
            f"to go further back name a version with --to"
        )
    return Rollback(model=model.name, environment=environment.name, running=running, target=target, moves=tuple(moves))


def exactly(what: str, ran: Sequence[Composition | None], environment: str) -> Composition:
    """The last thing that ran which reads `what`."""
    fits = [one for one in ran if one and str(one) == what]
    if not fits:
        known = ", ".join(dict.fromkeys(repr(str(one)) for one in reversed(ran) if one))
        raise NotFound(f"{what!r} never ran healthily in {environment}: name what did ({known or 'nothing'})")
    return fits[-1]


def choose(
    asked: Desired | Problem | None, ran: Sequence[Composition | None], promise: str, to: int | None, environment: str
) -> Composition:
    """What to go back to; `promise` is what a rollback that was begun goes to, in words.

    A rollback that was begun is finished. Else, with `to`, the last thing in which that version answered, alone where
    it ever did; without it, the last thing that the registry does not ask for already.
    """
    past = [one for one in ran if one]
    if not past:
        raise NotFound(f"nothing is on record as having run healthily in {environment}: there is nothing to go back to")
    promised = [one for one in past if str(one) == promise and (to is None or to in one.versions)]
    if promised:
        return promised[-1]
    if to is not None:
        return _last_with(to, asked, past, environment)
    left = [one for one in past if not _asks_for(asked, one)]
    if not left:
        raise NotFound(f"only {past[-1]} ever ran healthily in {environment}: there is nothing before it")
    return left[-1]


def _last_with(to: int, asked: Desired | Problem | None, past: Sequence[Composition], environment: str) -> Composition:
    alone = [one for one in past if one.versions == (to,)]
    shared = [one for one in past if to in one.versions]
    fits = alone or [one for one in shared if not _asks_for(asked, one)] or shared
    if not fits:
        known = ", ".join(f"v{n}" for n in sorted({n for one in past for n in one.versions}))
        raise NotFound(f"version {to} never ran healthily in {environment}: name one that did ({known})")
    return fits[-1]


def begun(reason: str, environment: str) -> str:
    """What the rollback that gave a change this reason went to, in words; "" where it was none of `environment`."""
    target, mark, _ = reason.removeprefix(MARK).partition(f" in {environment}: ")
    return target if mark and reason.startswith(MARK) else ""


def _asks_for(asked: Desired | Problem | None, composition: Composition) -> bool:
    return isinstance(asked, Desired) and _same(wanted_of(asked), composition)


def _same(wanted: Wanted, composition: Composition) -> bool:
    """As `Wanted.met_by`, whatever order the predictors have."""
    there = composition.wanted
    arms = sorted(wanted.arms) == sorted(there.arms)
    return arms and wanted.challenger == there.challenger and set(wanted.replicas) <= set(there.replicas)


def moves_to(
    model: RegisteredModel,
    environment: Environment,
    target: Composition,
    running: Composition | None,
    *,
    together: bool = False,
) -> list[Move]:
    """The moves that bring the registry to ask for `target`, in an order that is safe at every step.

    together: they are made in one transaction, and nobody sees what is between; the rest is about those that are not.

    Between two moves the controller may look. What it may see is the old intent, the new one, or something ambiguous,
    which it holds: what serves goes on serving. It must never see a third intent that it would act on, such as both
    versions sharing the traffic by old tags, or nobody in Production. Most rollbacks are that way by themselves:
    MLflow archives what leaves a stage in the same transaction. Where they are not, one version first gets a number of
    replicas that is no number: everything with it is ambiguous until the last move puts that right.
    """
    direct = _moves(model, environment, target, running, held=False)
    final = after_all(model, direct)
    asked = resolve(final, environment)
    if not _asks_for(asked, target):
        why = asked.message if isinstance(asked, Problem) else "its bindings cannot express that"
        raise BadInput(f"{environment.name} cannot be made to run {target} by moves in the registry: {why}")
    if together or _safe(model, environment, direct, target):
        return direct
    held = _moves(model, environment, target, running, held=True)
    if not _safe(model, environment, held, target):
        raise Failed(
            f"no safe order of moves brings {environment.name} to {target}: move the version by hand in MLflow's page"
        )
    return held


def _safe(model: RegisteredModel, environment: Environment, moves: Sequence[Move], target: Composition) -> bool:
    """Whether every state on the way, and on the way back from any point, is the old intent, the new or a hold."""
    old = resolve(model, environment)

    def fits(state: RegisteredModel) -> bool:
        seen = resolve(state, environment)
        if isinstance(seen, Problem) or _asks_for(seen, target):
            return True
        if seen is None or old is None or isinstance(old, Problem):
            return seen is None and old is None
        return wanted_of(seen) == wanted_of(old)

    for done in range(1, len(moves) + 1):
        state = after_all(model, moves[:done])
        ways_back = [back for move in reversed(moves[: done - 1]) for back in move.inverse()]
        before_last = after_all(model, moves[: done - 1])
        backwards = [after_all(before_last, ways_back[:k]) for k in range(1, len(ways_back) + 1)]
        if not all(fits(one) for one in (state, *backwards)):
            return False
    return True


def _moves(
    model: RegisteredModel,
    environment: Environment,
    target: Composition,
    running: Composition | None,
    *,
    held: bool,
) -> list[Move]:
    moving = Moving(model)
    stage, aliases = _bound(model, environment, target)
    inside = {v.number for selector in environment.champion for v in selector.matches(model)}
    order = sorted(target.versions, key=lambda number: number in inside)  # those that enter come first
    tags = {part.version: _replicas_tag(model, part.version, part.replicas, running) for part in target.predictors}
    if held:
        moving.tag(order[0], REPLICAS_TAG, HELD)
    else:
        _tag(moving, target, tags)
    _fill(moving, environment, order, stage, aliases)
    _challenge(moving, environment, target)
    if held:
        _tag(moving, target, {number: tag for number, tag in tags.items() if number != order[0]})
        moving.tag(order[0], REPLICAS_TAG, tags[order[0]])
    return moving.moves


def _bound(
    model: RegisteredModel, environment: Environment, target: Composition
) -> tuple[Selector | None, tuple[Selector, ...]]:
    """Which selectors are to select the target: the stage, and the alias; those that speak now, else the first one."""
    speak = [selector for selector in environment.champion if selector.matches(model)]
    stages = [s for s in (*speak, *environment.champion) if s.kind == "stage"]
    aliases = tuple(s for s in speak if s.kind == "alias")
    if len(target.predictors) > 1:
        if not stages:
            raise BadInput(
                f"{environment.name} cannot be asked for {target}, a split: only stages can ask for that, and its "
                f"bindings are {', '.join(map(str, environment.champion))}"
            )
        return stages[0], ()
    if not speak:
        first = environment.champion[0]
        return (first, ()) if first.kind == "stage" else (None, (first,))
    return (stages[0] if any(s.kind == "stage" for s in speak) else None), aliases[:1]


def _fill(
    moving: Moving,
    environment: Environment,
    order: Sequence[int],
    stage: Selector | None,
    aliases: Sequence[Selector],
) -> None:
    """Bring in before anything is taken out: nobody in Production would be the word to end what serves."""
    for alias in aliases:
        moving.alias(alias.value, order[0])
    if stage is not None:
        for number in order:
            moving.stage(number, stage.value, archive=len(order) == 1)
        moving.archive(version for version in stage.matches(moving.model) if version.number not in order)
    for selector in environment.champion:
        if selector.kind == "alias" and not aliases:
            moving.alias(selector.value, None)
        if selector.kind == "stage" and aliases and selector != stage:
            moving.archive(selector.matches(moving.model))


def _challenge(moving: Moving, environment: Environment, target: Composition) -> None:
    """Exactly the challenger that was there then."""
    shadow = target.shadow.version if target.shadow else None
    selectors = environment.challenger
    if shadow is not None and not selectors:
        raise BadInput(
            f"{environment.name} cannot be asked for {target}: it has no binding for a challenger; add one, such as "
            f'"alias:challenger", to environments.{environment.name}.challenger'
        )
    speak = [selector for selector in selectors if selector.matches(moving.model)]
    chosen = (*speak, *selectors)[0] if shadow is not None else None
    for selector in selectors:
        wanted = shadow if selector == chosen else None
        if selector.kind == "alias":
            moving.alias(selector.value, wanted)
            continue
        if wanted is not None:
            moving.stage(wanted, selector.value)
        moving.archive(version for version in selector.matches(moving.model) if version.number != wanted)


def _tag(moving: Moving, target: Composition, replicas: dict[int, str | None]) -> None:
    for part in target.predictors:
        if len(target.predictors) > 1:
            moving.tag(part.version, WEIGHT_TAG, str(part.traffic))
        if part.version in replicas:
            moving.tag(part.version, REPLICAS_TAG, replicas[part.version])


def _replicas_tag(model: RegisteredModel, number: int, replicas: int, running: Composition | None) -> str | None:
    """The tag that makes `replicas` run: as it is where that does, none where the controller would keep so many."""
    found = model.version(number)
    said = found.tags.get(REPLICAS_TAG) if found else None
    if said == str(replicas):
        return said
    there = {part.version: part.replicas for part in running.predictors} if running else {}
    kept = there.get(number, max(there.values(), default=1))
    readable = said is not None and said.isdigit()
    return None if kept == replicas and not readable else str(replicas)
