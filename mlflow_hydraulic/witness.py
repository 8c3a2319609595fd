"""Writes down what a controller sees, for the pages: after each pass, and between passes while something moves.

`reconcile` calls `testify` at the end of a pass, `controller` runs `Watch` in a thread of its own, so that a pass that
waits for a slow model or a slow registry hides nothing. Fenced as every other write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from mlflow_hydraulic.deployment import Predictor
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import sight as stored
from mlflow_hydraulic.evidence.asof import stamp
from mlflow_hydraulic.evidence.sight import Note, Part, Said, Seen
from mlflow_hydraulic.plan import Action, Plan, Running, Wanted
from mlflow_hydraulic.world import Expected, Fenced, Outcome, Sight, World

log = logging.getLogger("hydraulic.controller")
GLANCE_S = 0.5  # between looks while something moves
PATIENCE = 1.5  # intervals without a look of a pass, until this looks itself
ON_ITS_WAY = ("preparing", "launching", "terminating")


def expect(world: World, plan: Plan, outcomes: Sequence[Outcome] = ()) -> None:
    """Remember what the pass is about, for whoever looks before it ends: each action, and what became of it."""
    ended = {(o.action.environment, o.action.name): o for o in outcomes}
    before = world.outlook.expected
    expected = {}
    for action in plan.actions:
        place = (action.environment, action.name)
        outcome = ended.get(place)
        if outcome is not None and outcome.result == "done":
            continue
        cause = outcome.cause if outcome else before[place].cause if place in before and action.changes else ""
        expected[place] = Expected(action=action, cause=cause, due=outcome.due if outcome else None)
    world.outlook.expected = expected


def testify(world: World, sight: Sight) -> None:
    """Make the tables say what was seen."""
    looked = {name: str(sight.blind[name]) if name in sight.blind else "" for name in world.targets}
    _write(world, sight.running, looked, sight.began)


def glance(world: World, environments: Collection[str]) -> None:
    """Ask the targets of `environments` and write down what they show; raises only where we may not write."""
    began = time.monotonic()
    running: list[Running] = []
    looked: dict[str, str] = {}
    for name in environments:
        try:
            running += world.targets[name].observe()
            looked[name] = ""
        except HydraulicError as error:
            looked[name] = str(error) or type(error).__name__
    _write(world, running, looked, began)


def _write(world: World, running: Sequence[Running], looked: Mapping[str, str], began: float) -> None:
    """Write what differs; nothing of an environment of which a later look is written already."""
    outlook = world.outlook
    with outlook.lock:
        fresh = {name: blind for name, blind in looked.items() if outlook.looked.get(name, 0.0) <= began}
        here = [one for one in running if one.environment in fresh]
        outlook.moving = {one.environment for one in here if one.state in ON_ITS_WAY} | (outlook.moving - fresh.keys())
        found = rows(world, here, [name for name, blind in fresh.items() if not blind])
        now = world.clock()
        compare = partial(
            stored.changes, workspace=world.workspace, seen=found, looked=fresh, configured=list(world.targets), now=now
        )
        with world.database.connect() as connection:
            differs = bool(compare(connection))
        if differs:
            with world.writing() as connection:
                changes = compare(connection)
                stored.write(connection, world.workspace, changes, now)
        outlook.looked = {**outlook.looked, **dict.fromkeys(fresh, began)}


def rows(world: World, running: Iterable[Running], environments: Collection[str]) -> list[Seen]:
    """What was seen in `environments`, and what is tried there that no target shows yet."""
    expected, busy = world.outlook.expected, world.crew.busy
    targets = {one.name: (one.target, one.namespace) for one in world.environments}
    seen = {}
    for one in running:
        place = (one.environment, one.deployment.name)
        ours = one.managed and one.workspace == world.workspace
        about = expected.get(place) if ours or not one.managed else None
        seen[place] = _seen(world.workspace, one, about, busy, targets[one.environment][0])
    for place, about in expected.items():
        if place not in seen and place[0] in environments and (about.action.wanted or about.action.kind == "hold"):
            seen[place] = _tried(about, busy, *targets[place[0]])
    return list(seen.values())


def _seen(workspace: str, one: Running, about: Expected | None, busy: Collection[str], target: str) -> Seen:
    foreign = one.managed and one.workspace != workspace
    deployment = one.deployment
    cause, lines = _split(about.cause) if about and not one.cause else (one.cause, one.log)
    said = Said(
        predictors=tuple(_part(one, predictor) for predictor in deployment.all),
        target=target,
        namespace=deployment.namespace,
        generation=one.generation or 0,
        log=stored.clean_lines(lines),
        stale=stored.clean(one.stale),
        note=_note(about, busy) if about else None,
    )
    return Seen(
        environment=one.environment,
        deployment=deployment.name,
        model=f"{one.workspace}/{one.model}" if foreign else one.model,
        managed=one.managed and not foreign,
        state=one.state,
        endpoint=one.endpoint,
        cause=cause,
        said=said,
    )


def _part(one: Running, predictor: Predictor) -> Part:
    deployment, model = one.deployment, predictor.model
    role = "challenger" if predictor is deployment.shadow else "arm" if len(deployment.predictors) > 1 else "champion"
    return Part(
        role=role,
        name=predictor.name,
        model=model.name,
        version=model.version,
        digest=model.digest,
        uri=stored.clean(model.uri),
        traffic=predictor.traffic,
        replicas=predictor.replicas,
        ready=one.ready.get(predictor.name, 0),
    )


def _tried(about: Expected, busy: Collection[str], target: str, namespace: str) -> Seen:
    """A deployment that is wanted and that no target shows: being made, failed, or waiting."""
    action = about.action
    cause, lines = _split(about.cause or (action.reason if action.kind == "hold" else ""))
    under_way = action.changes and action.model in busy
    state = "preparing" if under_way else "failed" if about.cause else "not found"
    return Seen(
        environment=action.environment,
        deployment=action.name,
        model=action.model,
        managed=True,
        state=state,
        cause="" if under_way else cause,
        said=Said(
            predictors=_wanted(action.model, action.wanted) if action.wanted else (),
            target=target,
            namespace=namespace,
            log=() if under_way else stored.clean_lines(lines),
            note=_note(about, busy),
        ),
    )


def _wanted(model: str, wanted: Wanted) -> tuple[Part, ...]:
    role, counts = "arm" if len(wanted.arms) > 1 else "champion", dict(wanted.replicas)
    arms = [(role, version, traffic) for version, traffic in wanted.arms]
    shadow = [("challenger", wanted.challenger, 100)] if wanted.challenger else []
    return tuple(
        Part(
            role=r,
            name=f"v{n}",
            model=model,
            version=str(n),
            traffic=t,
            replicas=counts.get(n, 1),
            uri=f"models:/{model}/{n}",
        )
        for r, n, t in [*arms, *shadow]
    )


def _note(about: Expected, busy: Collection[str]) -> Note:
    action: Action = about.action
    failed = bool(about.cause) and not (action.changes and action.model in busy)
    return Note(
        kind="failed" if failed else action.kind,
        text=stored.clean(about.cause.partition("\n")[0] if failed else action.reason)[: stored.LONGEST_CAUSE],
        wanted=str(action.wanted) if action.wanted else "",
        due=stamp(about.due) if about.due else "",
    )


def _split(text: str) -> tuple[str, tuple[str, ...]]:
    """The cause, and the log lines that targets put below it."""
    first, *more = text.splitlines() or [""]
    return first, tuple(line.removeprefix("  ") for line in more)


class Watch:
    """Looks between passes: often at what moves, and at all of it when no pass has looked for an interval."""

    def __init__(self, world: World, interval_s: float) -> None:
        self._world = world
        self._interval_s = interval_s
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(GLANCE_S):
            try:
                where = self._where()
                if where:
                    glance(self._world, where)
            except Fenced:
                return
            except (HydraulicError, SQLAlchemyError) as error:
                log.debug("what runs was not written down now: %s", error)
            except Exception as error:  # the boundary: what is shown must not end what acts
                log.warning("what runs was not written down now", exc_info=error)

    def _where(self) -> set[str]:
        outlook, busy = self._world.outlook, self._world.crew.busy
        at_work = {where for (where, _), about in outlook.expected.items() if about.action.model in busy}
        late = time.monotonic() - PATIENCE * self._interval_s
        unseen = {name for name in self._world.targets if outlook.looked.get(name, self._began) < late}
        return (at_work | outlook.moving | unseen) & self._world.targets.keys()
