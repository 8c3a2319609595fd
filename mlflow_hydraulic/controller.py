"""The controller: passes under a lease, woken at once by a change in the ledger, and at an interval besides.

Called by `hydraulic controller` and `hydraulic up`. It keeps nothing: another controller takes over where it ended.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from mlflow_hydraulic.errors import Conflict, HydraulicError, Unavailable
from mlflow_hydraulic.evidence import lease
from mlflow_hydraulic.evidence.tables import ledger_head
from mlflow_hydraulic.plan import Plan
from mlflow_hydraulic.reconcile import Pass, World, run_pass

log = logging.getLogger("hydraulic.controller")
WAKE_S = 0.1
MOST_PASSES = 20  # a pass that makes progress is followed by another at once, but not for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a pass runs by itself, and how long the lease of a dead controller lasts. Seconds."""

    interval_s: float = 30.0
    lease_s: float = 15.0


class Controller:
    """One controller; `stop` may be called from a signal handler or another thread."""

    def __init__(self, world: World, pace: Pace) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._lost = threading.Event()
        self._stop = threading.Event()
        self._world = replace(world, fence=self._fence)
        self._pace = pace

    def stop(self) -> None:
        """End after the action under way."""
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
        waiting = False
        while not self._stop.is_set():
            with self._leased() as held:
                if held:
                    log.info("controller %s acts", self.holder)
                    self._watch()
                elif not waiting:
                    log.info("%s; waiting", self._held_by_another())
                waiting = not held
            self._stop.wait(WAKE_S * 5)

    def _watch(self) -> None:
        """Passes while the lease is ours: at once after a change, else at the interval."""
        while not (self._stop.is_set() or self._lost.is_set()):
            failed = False
            try:
                self._settle()
            except (HydraulicError, SQLAlchemyError) as error:
                log.warning("this pass ended early, the next will try again: %s", error)
                failed = True
            head = self._head()
            waited = 0.0
            while waited < (min(5.0, self._pace.interval_s) if failed else self._pace.interval_s):
                if self._stop.wait(WAKE_S) or self._lost.is_set() or self._head() != head:
                    break
                waited += WAKE_S

    def _settle(self) -> list[Pass]:
        passes: list[Pass] = []
        while len(passes) < MOST_PASSES:
            passes.append(run_pass(self._world))
            for outcome in passes[-1].outcomes:
                did = outcome.action
                log.info("%s %s %s: %s %s", did.environment, did.model, did.kind, outcome.result, outcome.cause)
            if not passes[-1].progressed:
                break
        return passes

    def _head(self) -> object:
        """The ledger's head: it moves with every change that somebody makes. None while the database is away."""
        try:
            with self._world.database.connect() as connection:
                return connection.execute(select(ledger_head.c.hash)).scalar()
        except SQLAlchemyError:
            return None

    def _fence(self) -> None:
        if self._lost.is_set():
            raise Unavailable("the lease was lost while a pass ran: another controller goes on from here")
        if self._stop.is_set():
            raise Unavailable("stopped: the next controller goes on from here")

    @contextmanager
    def _leased(self) -> Iterator[bool]:
        """Hold the lease, renewed by a thread of its own, and give it back."""
        self._lost.clear()
        try:
            held = self._take()
        except SQLAlchemyError as error:
            log.warning("no lease while the database is away: %s", error)
            held = False
        if not held:
            yield False
            return
        ended = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(ended,), name="lease", daemon=True)
        renewer.start()
        try:
            yield True
        finally:
            ended.set()
            renewer.join()
            try:
                lease.give_back(self._world.database, name=lease.CONTROLLER_LEASE, holder=self.holder)
            except SQLAlchemyError as error:
                log.warning("the lease could not be given back and will run out: %s", error)

    def _renew(self, ended: threading.Event) -> None:
        good_until = self._world.clock() + timedelta(seconds=self._pace.lease_s)
        while not ended.wait(self._pace.lease_s / 3):
            try:
                if not self._take():
                    self._lost.set()
                    return
                good_until = self._world.clock() + timedelta(seconds=self._pace.lease_s)
            except SQLAlchemyError as error:
                log.warning("the lease could not be renewed: %s", error)
                if self._world.clock() >= good_until:
                    self._lost.set()
                    return

    def _take(self) -> bool:
        length = timedelta(seconds=self._pace.lease_s)
        now = self._world.clock()
        name = lease.CONTROLLER_LEASE
        return bool(lease.take(self._world.database, name=name, holder=self.holder, now=now, length=length))

    def _held_by_another(self) -> Conflict:
        current = lease.current(self._world.database, name=lease.CONTROLLER_LEASE)
        who = f"{current.holder} until {current.until:%H:%M:%S} UTC" if current else "nobody any more"
        return Conflict(f"the lease is held by {who}: only one controller acts at a time")
