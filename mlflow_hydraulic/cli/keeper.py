"""Runs a command that ends, with all that it started, when `hydraulic up` ends, however that happens.

    python -m mlflow_hydraulic.cli.keeper PIPE PROGRAM [ARGUMENT ...]

PIPE is the reading end of a pipe that only `hydraulic up` holds open: it closes when that dies, even by SIGKILL.
Started by `processes` as the leader of a process group of its own, in which the command and its children live.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main(arguments: list[str]) -> int:
    """Run the command to its end; its exit code, or 128 and the number of the signal that ended it, as in a shell."""
    pipe, *command = arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # meant for the command, which gets them too: this waits for its end
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as child:
        threading.Thread(target=_end_with, args=(int(pipe),), name="parent-watch", daemon=True).start()
        code = child.wait()
    return code if code >= 0 else 128 - code


def _end_with(pipe: int) -> None:
    while os.read(pipe, 1):  # nothing is ever written: it returns at the end of file
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
