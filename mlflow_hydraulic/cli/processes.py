"""The processes that `hydraulic up` keeps running: started in a group of their own, restarted, logged, ended whole."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlflow_hydraulic.deploy_targets.local.plan import crashes_in_a_row, restart_delay_s
from mlflow_hydraulic.errors import Failed

LOG_BYTES = 5_000_000
POLL_S = 0.05


class CappedLog:
    """A log file that is moved to `<name>.1` when it grows over `most` bytes. A full disk loses lines, nothing else."""

    def __init__(self, path: Path, most: int = LOG_BYTES) -> None:
        self.path, self._most = path, most

    def write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            if self.path.exists() and self.path.stat().st_size + len(line) > self._most:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
            with self.path.open("ab") as stream:
                stream.write(line)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process to keep running. `on_line` gets each line of its output, after the log has it."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    folder: Path
    log: CappedLog
    on_line: Callable[[str], None] = lambda _line: None


class Lifeline:
    """A pipe that closes when this process ends, however it ends; keepers hold its other end."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()

    def close(self) -> None:
        os.close(self.reading)
        os.close(self._writing)


class Supervised:
    """Keeps a part running. Only `look` restarts it, so whoever stops calling `look` may stop the part."""

    def __init__(self, part: Part, lifeline: Lifeline, say: Callable[[str], None]) -> None:
        self.part, self._lifeline, self._say = part, lifeline, say
        self.deaths = 0
        self._keeper: subprocess.Popen[bytes] | None = None
        self._started = self._due = 0.0

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def group(self) -> int:
        """The process group of the part and all that it started; 0 before it was started."""
        return self._keeper.pid if self._keeper else 0

    def start(self) -> None:
        """Start it; `Failed` where the machine cannot."""
        keeper = [sys.executable, "-m", "mlflow_hydraulic.cli.keeper", str(self._lifeline.reading)]
        try:
            self._keeper = subprocess.Popen(
                [*keeper, *self.part.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.part.folder,
                env=dict(self.part.environ),
                pass_fds=(self._lifeline.reading,),
                start_new_session=True,  # Ctrl-C in the terminal is for `hydraulic up` alone, which ends it in order
            )
        except OSError as error:
            raise Failed(f"the {self.part.name} could not be started: {error}") from error
        self._started = time.monotonic()
        output = self._keeper.stdout
        if output is not None:
            threading.Thread(target=self._pump, args=(output,), name=self.part.name, daemon=True).start()

    def look(self) -> None:
        """Start it again where it has died and its time has come."""
        if self.running or self._keeper is None:
            return
        now = time.monotonic()
        if not self._due:
            self._signal(signal.SIGKILL)  # what the dead one left in its group
            self.deaths = crashes_in_a_row(self.deaths, now - self._started)
            delay_s = restart_delay_s(self.deaths, random.random())  # noqa: S311 - jitter, no secret
            self._due = now + delay_s
            code = self._keeper.returncode
            self._say(
                f"{self.part.name} ended with code {code}; started again in {delay_s:.1f} s ({self.part.log.path})"
            )
        elif now >= self._due:
            self._due = 0.0
            try:
                self.start()
            except Failed as error:
                self._say(str(error))

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def ended(self) -> bool:
        """Whether no process of its group is left."""
        return not self.running and not self._signal(0)

    def kill(self) -> bool:
        """End every process of its group now; False where one is still there after five seconds."""
        deadline = time.monotonic() + 5
        while not self.ended():
            self._signal(signal.SIGKILL)
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _signal(self, number: int) -> bool:
        """Reach the whole group; False where there is nobody in it."""
        if self._keeper is None:
            return False
        try:
            os.killpg(self._keeper.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS says so of a group in which only zombies are left
            return False
        return True

    def _pump(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                self.part.log.write(line)
                self.part.on_line(line.decode("utf-8", "replace").rstrip())
