"""The controller: passes under a lease, woken at once by a change in the ledger, and at an interval besides.

Called by `hydraulic controller` and `hydraulic up`. It keeps nothing: another controller takes over where it ended.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from mlflow_hydraulic.errors import Conflict, HydraulicError, Unavailable
from mlflow_hydraulic.evidence import lease, recorded
from mlflow_hydraulic.plan import Action, Plan
from mlflow_hydraulic.reconcile import run_pass
from mlflow_hydraulic.witness import Watch
from mlflow_hydraulic.world import Fenced, Outcome, Pass, World

log = logging.getLogger("hydraulic.controller")
WAKE_S = 0.1
SOON_S = 1.0  # until the next look while something is on its way to another state
STEPPING_S = 5.0  # until the next look while a canary is counted
AFTER_ERROR_S = 5.0
MOST_PASSES = 20  # a pass that makes progress is followed by another at once, but not for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a pass runs by itself, and how long the lease of a dead controller lasts. Seconds."""

    interval_s: float = 30.0
    lease_s: float = 15.0


class Controller:
    """One controller; `stop` may be called from a signal handler or another thread.

    awake: whether to try at all; while it says no, no action begins and the lease is left to others. holder: our name.
    """

    def __init__(self, world: World, pace: Pace, *, awake: Callable[[], bool] = lambda: True, holder: str = "") -> None:
        self.holder = holder or new_holder()
        self._awake = awake
        self.beat = time.monotonic()  # when the loop went round last: for whoever asks whether it is stuck
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._good_until = (0.0, world.clock())  # monotonic and wall time: both go on while this process is held up
        self._world = replace(world, fence=self._fence, stopping=self._is_stopping)
        self._pace = pace
        self._told: dict[tuple[str, str], str] = {}
        self._lease = lease.CONTROLLER_LEASE
        if world.workspace != "default":
            self._lease += f":{world.workspace}"

    def stop(self) -> None:
        """End after the actions under way."""
        self._stop.set()

    def once(self, expected: Plan | None = None) -> list[Pass]:
        """Passes until nothing more can be done now; `Conflict` names the controller that holds the lease.

        expected: an approved plan; then one pass, which does that and nothing else.
        """
        with self._leased() as held:
            if not held:
                raise self._held_by_another()
            return [run_pass(self._world, expected)] if expected else self._settle()

    def run(self) -> None:
        """Passes until `stop`; whatever is away is tried again, whoever holds the lease is waited for."""
        waiting = ""
        while not self._stop.is_set():
            self.beat = time.monotonic()
            if not self._awake():
                self._stop.wait(WAKE_S)
                continue
            try:
                with self._leased() as held:
                    if held:
                        log.info("controller %s acts", self.holder)
                        self._watch()
                        waiting = ""
                    elif waiting != (why := str(self._held_by_another()).partition(" until ")[0]):
                        log.info("%s; waiting", why)
                        waiting = why
            except (Unavailable, SQLAlchemyError) as error:
                if waiting != str(error):
                    log.warning("no lease while the database is away: %s", error)
                    waiting = str(error)
            self._stop.wait(min(5 * WAKE_S, self._pace.lease_s / 3))
        log.info("controller %s ended; what it deployed goes on serving", self.holder)

    def _watch(self) -> None:
        """Passes while the lease is ours: at once after a change, when a failure is due again, else at the interval."""
        while not (self._is_stopping() or self._lost.is_set()):
            since = self._head()
            wait_s, well = min(AFTER_ERROR_S, self._pace.interval_s), False
            try:
                wait_s, well = self._until_next(self._settle()[-1]), True
            except Fenced as error:
                log.warning("%s", error)
                return
            except Exception as error:  # the boundary: no error may end the loop, the next pass starts from the world
                known = isinstance(error, (HydraulicError, SQLAlchemyError))
                log.warning("this pass ended early, the next will try again: %s", error, exc_info=not known)
            self._wait(wait_s, since, for_crew=well)  # after an error what ended can wait to be handed back
        self._finish()

    def _until_next(self, done: Pass) -> float:
        """How long to wait after a pass, in seconds, if nothing happens meanwhile."""
        soon_s = SOON_S if done.moving else STEPPING_S if done.stepping else self._pace.interval_s
        wait_s = min(soon_s, self._pace.interval_s)
        if done.due is not None:
            wait_s = min(wait_s, (done.due - self._world.clock()).total_seconds())
        return max(WAKE_S, wait_s)

    def _wait(self, wait_s: float, since: int | None, *, for_crew: bool) -> None:
        end = time.monotonic() + wait_s
        while time.monotonic() < end and not self._lost.is_set() and not self._stop.wait(WAKE_S) and self._awake():
            self.beat = time.monotonic()
            if (for_crew and self._world.crew.waits_for_us) or self._somebody_spoke(since):
                return

    def _finish(self) -> None:
        """Let what is under way end, and write down what it did."""
        self._world.crew.join()
        if self._world.crew.waits_for_us and not self._lost.is_set():
            try:
                self._tell(run_pass(self._world))
            except (HydraulicError, SQLAlchemyError) as error:
                log.warning("the next controller will write down what was done last: %s", error)

    def _settle(self) -> list[Pass]:
        passes: list[Pass] = []
        while sum(not one.left for one in passes) < MOST_PASSES:
            passes.append(run_pass(self._world))
            self._tell(passes[-1])
            if not passes[-1].progressed or self._is_stopping():
                break
        return passes

    def _tell(self, done: Pass) -> None:
        """Log what was done, and once what waits or is held."""
        news = {
            _place(action): f"{action.kind}: {_headline(action)}" for action in done.plan.actions if not action.changes
        }
        news |= {_place(o.action): f"{o.action.kind} {o.result}: {o.cause}" for o in done.outcomes}
        news |= {(name, "*"): f"its target does not answer: {error}" for name, error in done.sight.blind.items()}
        well = {_place(o.action) for o in done.outcomes if o.result == "done"}
        for outcome in done.outcomes:
            if outcome.result == "done":
                log.info("%s", _line(outcome))
        for place, text in news.items():
            if place not in well and self._told.get(place) != text and not _repeated(self._told.get(place), text):
                log.log(logging.INFO if text.startswith("wait: ") else logging.WARNING, "%s %s: %s", *place, text)
        self._told = {place: text for place, text in news.items() if place not in well}

    def _head(self) -> int | None:
        """The ledger's last row; None while the database is away."""
        try:
            with self._world.database.connect() as connection:
                return recorded.head(connection)
        except SQLAlchemyError:
            return None

    def _somebody_spoke(self, since: int | None) -> bool:
        """Whether intent was changed after row `since`; what this controller writes itself does not count."""
        if since is None:
            return self._head() is not None  # the database is back
        try:
            with self._world.database.connect() as connection:
                return recorded.somebody_spoke(connection, since)
        except SQLAlchemyError:
            return False

    def _is_stopping(self) -> bool:
        return self._stop.is_set() or not self._awake()

    def _fence(self) -> None:
        if self._lost.is_set() or self._over():
            raise Fenced("the lease was lost while a pass ran: whoever holds it goes on from here")

    @contextmanager
    def _leased(self) -> Iterator[bool]:
        """Hold the lease, renewed by a thread of its own, and give it back when nothing is under way."""
        self._lost.clear()
        if not self._take():
            yield False
            return
        ended = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(ended,), name="lease", daemon=True)
        renewer.start()
        watch = Watch(self._world, self._pace.interval_s)
        watch.start()
        try:
            yield True
        finally:
            self._world.crew.join()
            watch.end()
            ended.set()
            renewer.join()
            try:
                lease.give_back(self._world.database, name=self._lease, holder=self.holder)
            except SQLAlchemyError as error:
                log.warning("the lease could not be given back and will run out: %s", error)

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(self._pace.lease_s / 3):
            try:
                if not self._take():
                    self._lost.set()
                    return
            except Unavailable as error:
                log.warning("the lease could not be renewed: %s", error)
                if self._over():
                    self._lost.set()
                    return

    def _take(self) -> bool:
        """Take or renew the lease; `Unavailable` while the database is away."""
        length, asked, now = timedelta(seconds=self._pace.lease_s), time.monotonic(), self._world.clock()
        try:
            held = lease.take(self._world.database, name=self._lease, holder=self.holder, now=now, length=length)
        except SQLAlchemyError as error:
            raise Unavailable(f"the database does not answer: {error}") from error
        if held:
            self._good_until = (asked + self._pace.lease_s, now + length)
        return held is not None

    def _over(self) -> bool:
        """Whether the lease ran out, by the clock that is ahead: a machine that slept stops one of them."""
        return time.monotonic() >= self._good_until[0] or self._world.clock() >= self._good_until[1]

    def _held_by_another(self) -> Conflict:
        current = lease.current(self._world.database, name=self._lease)
        who = f"{current.holder} until {current.until:%H:%M:%S} UTC" if current else "nobody any more"
        return Conflict(f"the lease is held by {who}: only one controller acts at a time")


def new_holder() -> str:
    """A name for one controller, never used twice."""
    return f"{socket.gethostname()[:128]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _place(action: Action) -> tuple[str, str]:
    return action.environment, action.model


def _headline(action: Action) -> str:
    """Its reason, without the numbers that grow while a canary is counted."""
    return action.reason.partition(", ")[0] if action.kind == "wait" and action.concerns else action.reason


def _line(outcome: Outcome) -> str:
    did = outcome.action
    change = f"{did.before or 'nothing'} -> {did.wanted or 'nothing'}"
    return f"{did.environment} {did.model}: {did.kind} {outcome.result}: {change} ({did.reason})"


def _repeated(told: str | None, text: str) -> bool:
    """Whether `text` says that what failed is left for later: its failure has been told."""
    return told is not None and " later: " in text and told.partition(": ")[2] == text.partition(": ")[2]
