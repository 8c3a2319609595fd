"""Runs a scorer that ends when its supervisor ends, however that happens. Started by `scorers`.

    python -m mlflow_hydraulic.deploy_targets.local.child PIPE MODULE [ARGUMENT ...]

PIPE is the reading end of a pipe that only the supervisor holds open: it closes when the supervisor dies, even by
SIGKILL. On Linux the kernel also kills the scorer itself, should Python code be stuck.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(arguments: list[str]) -> None:
    """Ties this process to the pipe, then becomes `python -m MODULE ARGUMENT ...`."""
    pipe, module, *rest = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with, args=(int(pipe),), name="parent-watch", daemon=True).start()
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with(pipe: int) -> None:
    while os.read(pipe, 1):  # nothing is ever written: it returns at the end of file
        pass
    os._exit(1)  # with the supervisor gone nobody can receive an answer any more: nothing to drain


if __name__ == "__main__":
    main(sys.argv[1:])
