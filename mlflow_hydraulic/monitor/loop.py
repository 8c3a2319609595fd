"""The monitor: passes at an interval, until it is stopped. Of several one looks, the others wait for its lease.

Called by `hydraulic monitor` and, through it, by `hydraulic up`.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import lease
from mlflow_hydraulic.monitor.watch import Looked, Watch

log = logging.getLogger("hydraulic.monitor")
LEASE = timedelta(seconds=20)  # a dead monitor keeps the others waiting so long; one that is slow does no harm
RENEW_S = 5.0  # and so often the post is tried while a notification waits


def new_holder() -> str:
    """The name of this process among monitors."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Monitor:
    """One monitor; `stop` may be called from a signal handler or another thread. asked: set to end it, even before."""

    def __init__(
        self,
        watch: Watch,
        database: Engine,
        interval_s: float,
        holder: str,
        workspace: str,
        *,
        asked: threading.Event | None = None,
    ) -> None:
        self._watch, self._database, self._interval_s = watch, database, interval_s
        self._holder = holder
        self._lease = "monitor" if workspace == "default" else f"monitor:{workspace}"
        self._stop = asked or threading.Event()
        self._told = ""
        self.beat = time.monotonic()  # when the loop went round last: for whoever asks whether it is stuck
        self.last: Looked | None = None
        self.looks = self.failures = 0

    def stop(self) -> None:
        """End after the deployment that is being looked at."""
        self._stop.set()

    def run(self) -> None:
        """Passes until `stop`; what is away is told once and tried again."""
        log.info("monitor %s looks every %g s", self._holder, self._interval_s)
        while not self._stop.is_set():
            self.beat = time.monotonic()
            if not self._safely(self._turn, "this pass ended early, the next will try again"):
                self.failures += 1
            self._pause()
        self._give_back()
        log.info("monitor %s ended", self._holder)

    def _turn(self) -> None:
        if self._renewed():
            self._tell(self._watch.look())

    def _pause(self) -> None:
        """Until the next pass is due; meanwhile the lease is kept and the post is sent."""
        end = time.monotonic() + self._interval_s
        while (left := end - time.monotonic()) > 0 and not self._stop.wait(min(left, RENEW_S)):
            self.beat = time.monotonic()
            self._safely(self._keep, "between two passes")

    def _keep(self) -> None:
        if self._renewed() and self.last is not None and self.last.delivered.waiting:
            self.last = replace(self.last, delivered=self._watch.deliver())

    def _safely(self, step: Callable[[], None], trouble: str) -> bool:
        """Whether `step` ended well; what it could not do is told once."""
        try:
            step()
        except DBAPIError as error:
            self._trouble(trouble, f"the evidence database does not answer: {error.orig}")
        except (HydraulicError, SQLAlchemyError) as error:
            self._trouble(trouble, str(error))
        except Exception as error:  # the boundary: no error may end the loop; the next pass starts from the world
            log.exception("%s", trouble)
            self._trouble(trouble, repr(error))
        else:
            return True
        return False

    def _renewed(self) -> bool:
        held = lease.take(self._database, name=self._lease, holder=self._holder, now=utc_now(), length=LEASE)
        if held is None:
            self._once("another monitor looks; waiting")
        elif self._told.startswith("another"):
            self._told = ""
            log.info("monitor %s looks now", self._holder)
        return held is not None

    def _give_back(self) -> None:
        try:
            lease.give_back(self._database, name=self._lease, holder=self._holder)
        except SQLAlchemyError as error:
            log.warning("the next monitor waits until the lease is over: %s", error)

    def _tell(self, looked: Looked) -> None:
        self.last = looked
        self.looks += 1
        for change in looked.judged.changes:
            alert = change.alert
            log.log(
                logging.WARNING if alert.is_open else logging.INFO,
                "%s %s %s: %s",
                alert.key,
                alert.what,
                alert.colour,
                alert.reason or alert.cause,
            )
        self._once("; ".join(f"{name} does not answer: {why}" for name, why in looked.blind.items()))

    def _trouble(self, what: str, why: str) -> None:
        if why != self._told:
            log.warning("%s: %s", what, why)
        self._told = why

    def _once(self, text: str) -> None:
        """Log what is new only."""
        if text and text != self._told:
            log.warning("%s", text)
        self._told = text
