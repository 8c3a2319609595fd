"""What keeps the parts of `hydraulic up` running, tried on small programs: restarts, groups, a supervisor that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from mlflow_hydraulic.cli.processes import CappedLog, Lifeline, Part, Supervised
from mlflow_hydraulic.errors import Failed
from tests.support.local import until

ROOT = Path(__file__).resolve().parents[2]
# Tells its own and its child's number; both sleep, and the child does not care for SIGTERM.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); "
                          "print('deaf', flush=True); time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@dataclass
class Watched:
    """A supervised program and what it said."""

    folder: Path
    program: str
    lines: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lifeline = Lifeline()
        part = Part(
            name="part",
            command=[sys.executable, "-c", self.program],
            environ={**os.environ, "PYTHONPATH": str(ROOT)},
            folder=self.folder,
            log=CappedLog(self.folder / "part.log"),
            on_line=self.lines.append,
        )
        self.supervised = Supervised(part, self.lifeline, self.told.append)

    def family(self) -> list[psutil.Process]:
        """Keeper, program and its child, once all are up."""
        until(lambda: len(self.lines) >= 2, "the family is up")
        numbers = next(line for line in self.lines if line != "deaf").split()
        return [psutil.Process(self.supervised.group), *(psutil.Process(int(number)) for number in numbers)]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path, FAMILY)
    yield made
    assert made.supervised.kill()
    made.lifeline.close()


def gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_the_whole_group_ends_even_what_is_deaf_to_sigterm(watched: Watched) -> None:
    watched.supervised.start()
    keeper, program, child = family = watched.family()
    watched.supervised.ask_to_stop()
    until(lambda: gone([keeper, program]), "those that listen end")
    assert child.is_running() and not watched.supervised.ended()
    assert watched.supervised.kill() and watched.supervised.ended()
    until(lambda: gone(family), "all ended")


@pytest.mark.parametrize("member", [0, 1])
def test_whoever_of_it_dies_all_of_it_is_started_again(watched: Watched, member: int) -> None:
    watched.supervised.start()
    family = watched.family()
    watched.lines.clear()
    family[member].kill()

    def again() -> bool:
        watched.supervised.look()
        return gone(family) and watched.supervised.running and len(watched.lines) >= 2

    until(again, "a new family, and nothing of the old one")
    assert watched.supervised.deaths == 1
    assert len(watched.told) == 1 and "part ended with code" in watched.told[0] and "part.log" in watched.told[0]


def test_what_dies_at_once_is_started_again_ever_more_slowly(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "raise SystemExit('I cannot')")
    watched.supervised.start()

    def look() -> bool:
        watched.supervised.look()
        return len(watched.told) >= 3

    until(look, "three deaths")
    delays = [float(line.split("started again in ")[1].split()[0]) for line in watched.told]
    assert delays == sorted(delays) and delays[0] < delays[2]
    until(lambda: watched.lines.count("I cannot") >= 3, "its words are in the log")
    assert (tmp_path / "part.log").read_text().count("I cannot") >= 3
    assert watched.supervised.kill()
    watched.lifeline.close()


def test_it_ends_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.integration.test_processes import *\n"
        "watched = Watched(Path(sys.argv[1]), FAMILY); watched.supervised.start()\n"
        "print(*(p.pid for p in watched.family()), flush=True); import time; time.sleep(600)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        family = [psutil.Process(int(number)) for number in supervisor.stdout.readline().split()]
        assert len(family) == 3
        supervisor.send_signal(signal.SIGKILL)
    until(lambda: gone(family), "the family ended with it", 10)


def test_a_program_that_is_not_there_says_so_in_its_log(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "part.log")
    lifeline, told = Lifeline(), list[str]()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    part = Part(name="part", command=["not-a-program"], environ=environ, folder=tmp_path, log=log)
    supervised = Supervised(part, lifeline, told.append)
    supervised.start()
    until(lambda: not supervised.running, "it ended")
    until(lambda: log.path.exists() and "not-a-program" in log.path.read_text(), "the log says why")
    gone_folder = Part(name="part", command=["true"], environ=environ, folder=tmp_path / "gone", log=log)
    with pytest.raises(Failed, match="the part could not be started"):
        Supervised(gone_folder, lifeline, told.append).start()
    assert supervised.kill()
    lifeline.close()
