"""Fetches one model by MLflow and ends: `python -m mlflow_hydraulic.plugin.delivery_process URI HOME`.

Started by `plugin.delivery`. What it says on stdout is JSON: {"folder": ...} or {"error": class, "message": ...}.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from mlflow_hydraulic.errors import BadData, Failed, HydraulicError, Refused, Unavailable
from mlflow_hydraulic.plugin.models import fetch, sweep

SCHEMES = {"abfs": "abfss", "wasb": "wasbs"}  # the same storage; MLflow knows only the names that mean TLS
NOT_ALLOWED = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")

log = logging.getLogger("mlflow_hydraulic.delivery")


def main(arguments: list[str]) -> None:
    """Fetch, then say where the model lies or why there is none."""
    with os.fdopen(os.dup(1), "w") as stdout:
        os.dup2(2, 1)  # whatever libraries print goes to the log
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves by the `finally` and `with` blocks on the way
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
        stdout.write(json.dumps(outcome(arguments[0], Path(arguments[1]))))


def outcome(uri: str, home: Path) -> dict[str, str]:
    """What is said of the fetch."""
    try:
        folder = fetched(uri, home)
    except HydraulicError as error:
        kind = "Failed" if isinstance(error, BadData) else type(error).__name__  # BadData is more than a message
        return {"error": kind, "message": str(error)}
    tell_mismatches(folder)
    return {"folder": str(folder)}


def _end_with_the_parent() -> None:
    """Its end of our stdin closes when it dies, however it dies."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def fetched(uri: str, home: Path) -> Path:
    """The model's folder under `home`; what MLflow and the storage's own libraries raise comes out as ours."""
    scheme, colon, rest = uri.partition(":")
    try:
        sweep(home)
        model = fetch(f"{SCHEMES.get(scheme, scheme)}{colon}{rest}", home)
    except Unavailable as error:
        if getattr(error.__cause__, "error_code", "") in NOT_ALLOWED:
            raise Refused(f"{error} Or are name and password (MLFLOW_TRACKING_USERNAME, _PASSWORD) wrong?") from error
        raise
    except HydraulicError:
        raise
    except ImportError as error:
        raise Failed(
            f"model {uri!r}: the library that reads {scheme}: is not installed ({error}); use an image that has it"
        ) from error
    except Exception as error:  # each storage's library raises errors of its own; most mean that it is away
        log.exception("fetching %s failed", uri)
        raise Unavailable(f"model {uri!r} cannot be fetched: {type(error).__name__}: {error}") from error
    return home / "models" / model.digest


def tell_mismatches(folder: Path) -> None:
    """MLflow's own check: a log line where the model asks for other libraries than are installed. No more than that."""
    from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

    try:
        lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    wanted = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith(("#", "-"))]
    warn_dependency_requirement_mismatches(wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
