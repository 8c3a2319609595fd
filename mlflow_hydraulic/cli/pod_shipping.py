"""Sends a pod's prediction record to an intake while it serves, and the last of it when it ends. Called by `serve-pod`.

In a process of its own, below the scorer in priority, so that a slow intake holds up no answer.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow_hydraulic.settings import Settings

LAST_PASS_S = 10.0
log = logging.getLogger("mlflow_hydraulic.serve")


@contextmanager
def shipped(settings: Settings) -> Iterator[None]:
    """While the block runs, what its scorer records is sent; afterwards the rest of it is, within `LAST_PASS_S`."""
    if not settings.record_intake or settings.record == "off":
        yield
        return
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "record", "ship", "--follow"]
    shipper = subprocess.Popen([*command, "--to", settings.record_intake])
    try:
        yield
    finally:
        shipper.terminate()
        try:
            shipper.wait(LAST_PASS_S)
        except subprocess.TimeoutExpired:
            log.error("the intake did not take the last of the record in %g s: lost with this pod", LAST_PASS_S)  # noqa: TRY400 - told
            shipper.kill()
            shipper.wait()
