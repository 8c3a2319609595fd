"""`hydraulic controller --dry-run --watch`: tells what the controller would do, each time that is something else.

It reads registry and targets, and writes to neither; not to the database either.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from mlflow_hydraulic.cli.plan import shown
from mlflow_hydraulic.errors import HydraulicError
from mlflow_hydraulic.plan import Plan

log = logging.getLogger("hydraulic.controller")
WAKE_S = 0.1


class Rehearsal:
    """Plans that are not applied, until `stop`. look: makes a plan. awake: whether it is ours to tell."""

    def __init__(
        self, look: Callable[[], Plan], interval_s: float, *, awake: Callable[[], bool] = lambda: True
    ) -> None:
        self._look, self._interval_s, self._awake = look, interval_s, awake
        self._stop = threading.Event()
        self.beat = time.monotonic()

    def stop(self) -> None:
        """End after the plan that is being made."""
        self._stop.set()

    def run(self) -> None:
        """Plan at each interval; what is away is told once and tried again."""
        log.info("dry run: plans are told and not applied")
        told = ""
        while not self._stop.is_set():
            if self._awake():
                said = self._say()
                if said != told:
                    for line in said.splitlines():
                        log.info("%s", line)
                told = said
            else:
                told = ""
            self._pause()

    def _say(self) -> str:
        try:
            return f"would do:\n{shown(self._look())}"
        except HydraulicError as error:
            return f"cannot plan: {error}"

    def _pause(self) -> None:
        awake, end = self._awake(), time.monotonic() + self._interval_s
        while time.monotonic() < end and not self._stop.wait(WAKE_S) and self._awake() == awake:
            self.beat = time.monotonic()
        self.beat = time.monotonic()
