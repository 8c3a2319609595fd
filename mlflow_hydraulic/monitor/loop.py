"""The monitor: passes at an interval, until it is stopped. Of several one looks, the others wait for its lease.

Called by `hydraulic monitor` and, through it, by `hydraulic up`.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.evidence import lease
from mlflow_hydraulic.monitor.watch import Looked, Watch

log = logging.getLogger("hydraulic.monitor")
LEASE = timedelta(seconds=20)  # a dead monitor keeps the others waiting so long; one that is slow does no harm
RENEW_S = 5.0
POST_S = 5.0  # until the next try while a notification waits


def new_holder() -> str:
    """The name of this process among monitors."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Monitor:
    """One monitor; `stop` may be called from a signal handler or another thread."""

    def __init__(self, watch: Watch, database: Engine, interval_s: float, holder: str, workspace: str) -> None:
        self._watch, self._database, self._interval_s = watch, database, interval_s
        self._holder = holder
        self._lease = "monitor" if workspace == "default" else f"monitor:{workspace}"
        self._stop = threading.Event()
        self._told = ""
        self.beat = time.monotonic()  # when the loop went round last: for whoever asks whether it is stuck
        self.last: Looked | None = None
        self.looks = self.failures = 0

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """End after the deployment that is being looked at."""
        self._stop.set()

    def run(self) -> None:
        """Passes until `stop`; what is away is told once and tried again."""
        log.info("monitor %s looks every %g s", self._holder, self._interval_s)
        while not self._stop.is_set():
            self.beat = time.monotonic()
            self._turn()
            self._pause()
        self._give_back()
        log.info("monitor %s ended", self._holder)

    def _turn(self) -> None:
        try:
            if self._renewed():
                self._tell(self._watch.look())
        except (HydraulicError, SQLAlchemyError) as error:
            self._failed(error)
        except Exception as error:  # the boundary: no error may end the loop; the next pass starts from the world
            log.exception("this pass ended early")
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._once(f"this pass ended early, the next will try again: {error}")

    def _pause(self) -> None:
        """Until the next pass is due; meanwhile the lease is kept and the post is sent."""
        end = time.monotonic() + self._interval_s
        while (left := end - time.monotonic()) > 0 and not self._stop.wait(min(left, RENEW_S)):
            self.beat = time.monotonic()
            try:
                if not self._renewed():
                    continue
                if self.last is not None and self.last.delivered.waiting:
                    self._watch.deliver()
            except (HydraulicError, SQLAlchemyError) as error:
                self._once(f"the database is away: {error}")

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

    def _once(self, text: str) -> None:
        """Log what is new only."""
        if text and text != self._told:
            log.warning("%s", text)
        self._told = text
