"""Starts a supervisor that outlives the process that asked for it, and is one: the first and last steps of its life.

    python -m mlflow_hydraulic.deploy_targets.local.daemon HOME NAMESPACE NAME PIPE MODULE [ARGUMENT ...]

MODULE and its arguments are what scorers are started with; the daemon tells through PIPE that it holds its lock.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

from mlflow_hydraulic.deploy_targets.local.environ import without_secrets
from mlflow_hydraulic.deploy_targets.local.folder import Folder, tail
from mlflow_hydraulic.deploy_targets.local.locks import Held, exclusive
from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.settings import PREFIX, Settings, read_settings

UP_TIMEOUT_S = 30.0
LOG_BYTES = 2_000_000


def start_supervisor(folder: Folder, settings: Settings, command: tuple[str, ...]) -> None:
    """Starts the supervisor of `folder` and returns when it holds its lock; `Failed` with its log when it does not."""
    reading, writing = os.pipe()
    arguments = [str(folder.home), folder.namespace, folder.name, str(writing), *command]
    try:
        with folder.supervisor_log.open("ab") as output:
            subprocess.run(
                [sys.executable, "-m", "mlflow_hydraulic.deploy_targets.local.daemon", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder.path,
                env=_environment(settings),
                pass_fds=(writing,),
                check=True,
                timeout=UP_TIMEOUT_S,
            )
        os.close(writing)
        writing = -1
        up = select.select([reading], [], [], UP_TIMEOUT_S)[0] and os.read(reading, 1)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"the supervisor of {folder.name!r} could not be started: {error}") from error
    finally:
        for descriptor in (reading, writing):
            if descriptor >= 0:
                os.close(descriptor)
    if not up:
        lines = "\n  ".join(tail(folder.supervisor_log))
        raise Failed(
            f"the supervisor of {folder.name!r} did not come up; {folder.supervisor_log} ends with:\n  {lines}"
        )


def _environment(settings: Settings) -> dict[str, str]:
    """This process's environment with all settings in it: the daemon has another folder, so no hydraulic.toml.

    Secrets, `database` among them, stay here.
    """
    values = {PREFIX + f.name.upper(): str(getattr(settings, f.name)) for f in fields(Settings)}
    return without_secrets({**{k: v for k, v in os.environ.items() if k != PREFIX + "CONFIG"}, **values})


def main(arguments: list[str]) -> None:
    """Leaves the session and the parent, takes the lock, supervises until told to stop."""
    home, namespace, name, pipe, *command = arguments
    os.setsid()
    if os.fork():  # the child belongs to init: nobody has to wait for it
        os._exit(0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the loop listens; what it would tell is read anyway
    folder = Folder(Path(home), namespace, name)
    try:
        with exclusive(folder.supervisor_lock, wait_s=10):
            with contextlib.suppress(BrokenPipeError):
                os.write(int(pipe), b"1")
            os.close(int(pipe))
            _log_to(folder.supervisor_log)
            from mlflow_hydraulic.deploy_targets.local.supervisor import supervise

            supervise(folder, read_settings(), tuple(command))
    except Held as held:
        sys.exit(f"{time.strftime('%FT%TZ', time.gmtime())} another supervisor is there: {held}")


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.access").propagate = False


if __name__ == "__main__":
    main(sys.argv[1:])
