"""Runs a scorer that ends when its supervisor ends, however that happens. Started by `scorers`.

    python -m mlflow_hydraulic.deploy_targets.local.child PIPE FOLDER MODULE [ARGUMENT ...]

PIPE is the reading end of a pipe that only the supervisor holds open: it closes when the supervisor dies, even by
SIGKILL. On Linux the kernel also kills the scorer itself, should Python code be stuck. FOLDER is the model's, pinned by
a digest in which byte code does not count: none is read or written there.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from importlib import machinery
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(arguments: list[str]) -> None:
    """Ties this process to the pipe, then becomes `python -m MODULE ARGUMENT ...`."""
    pipe, folder, module, *rest = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with, args=(int(pipe),), name="parent-watch", daemon=True).start()
    sys.path_hooks.insert(0, source_only(Path(folder).resolve()))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def source_only(folder: Path) -> Callable[[str], machinery.FileFinder]:
    """For `sys.path_hooks`: what is imported from under `folder` comes from source, each time.

    PYTHONPYCACHEPREFIX would do that as well, but for all of Python: a scorer's first start then takes three times as
    long, for it compiles every library anew.
    """

    def hook(path: str) -> machinery.FileFinder:
        if not Path(path).resolve().is_relative_to(folder):
            raise ImportError(f"{path}: left to the other hooks")
        extensions = (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES)
        return machinery.FileFinder(path, extensions, (_SourceLoader, machinery.SOURCE_SUFFIXES))

    return hook


class _SourceLoader(machinery.SourceFileLoader):
    def path_stats(self, path: Any) -> Any:  # Any: as typeshed has it; nothing is returned
        """Importlib takes byte code only where it can compare times, and leaves it be after an OSError."""
        raise OSError(f"{path}: no byte code for this file")


def _end_with(pipe: int) -> None:
    while os.read(pipe, 1):  # nothing is ever written: it returns at the end of file
        pass
    os._exit(1)  # with the supervisor gone nobody can receive an answer any more: nothing to drain


if __name__ == "__main__":
    main(sys.argv[1:])
