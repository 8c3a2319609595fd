"""One life of `hydraulic up`: start in order, keep running, end in the reverse order and leave nothing behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import click

from mlflow_hydraulic.cli.accounts import ADMIN, DEMO, make_accounts
from mlflow_hydraulic.cli.logs import settings_line
from mlflow_hydraulic.cli.parts import LOOPBACK, Wish, controller_part, is_healthy, monitor_part, server_part
from mlflow_hydraulic.cli.processes import Lifeline, Supervised
from mlflow_hydraulic.cli.residence import Residence
from mlflow_hydraulic.cli.resting import Deployments
from mlflow_hydraulic.cli.table import printable_lines
from mlflow_hydraulic.deploy_targets.local.folder import tail
from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.settings import Settings

LOOK_S = 0.2
START_S = 180.0  # for the server on a busy machine, with its database to make
DRAIN_S = 10.0  # for server, controller and monitor; deployments have their own drain timeout
DEATHS = 5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervision:
    """Server, controller, monitor and local deployments of one folder, in one process's care."""

    def __init__(self, residence: Residence, wish: Wish, settings: Settings) -> None:
        self._residence, self._wish = residence, wish
        self._ending, self._hurry, self._acts = threading.Event(), threading.Event(), threading.Event()
        self._lifeline = Lifeline()
        base = os.environ
        self._server = Supervised(server_part(residence, wish, base), self._lifeline, say)
        controller = controller_part(residence, wish, base, self._controller_said)
        self._controller = Supervised(controller, self._lifeline, say)
        self._monitor = Supervised(monitor_part(residence, wish, base, self._monitor_said), self._lifeline, say)
        self._deployments = Deployments(residence, settings, say)
        self._settings = settings

    def run(self) -> None:
        """Until a signal asks for the end; `Failed` when the server does not come up, or something does not end."""
        with self._signals():
            try:
                if self._start():
                    self._keep()
            finally:
                self._end()

    def _start(self) -> bool:
        """Server, then controller; False when the end was asked for meanwhile."""
        began = time.monotonic()
        self._residence.write_status(self._wish.url, ready=False)
        say(settings_line(self._settings))
        say(f"starting MLflow's server on {self._wish.url}")
        serving = self._deployments.running()
        if serving:
            say(f"{len(serving)} deployments served on since the last `up` was killed; they are taken over")
        self._server.start()
        back = self._deployments.bring_back()
        if back:
            say(f"bringing back {', '.join('/'.join(key) for key in back)}")
        if not self._until_healthy(began):
            return False
        if self._wish.auth:
            accounts = self._residence.accounts(demo=self._wish.demo)
            make_accounts(self._wish.url, self._residence.secret("admin_password"), accounts)
        self._controller.start()
        while not (self._acts.is_set() or self._ending.is_set()):
            self._look()
            if self._controller.deaths >= DEATHS:
                raise Failed(self._broken(self._controller, f"ended {DEATHS} times before it was ready"))
        if self._ending.is_set():
            return False
        self._monitor.start()
        exports = self._residence.exports(os.environ, self._wish.url, user=person(self._wish))
        self._residence.write_env_sh(exports)
        self._residence.write_status(self._wish.url, ready=True)
        say(greeting(self._residence, self._wish, time.monotonic() - began))
        return True

    def _until_healthy(self, began: float) -> bool:
        while not is_healthy(self._wish):
            if self._ending.wait(LOOK_S):
                return False
            if not self._server.running:
                raise Failed(self._broken(self._server, "ended before it was ready"))
            if time.monotonic() - began > START_S:
                raise Failed(self._broken(self._server, f"was not ready after {START_S:g} s"))
        return True

    def _broken(self, part: Supervised, what: str) -> str:
        log = part.part.log.path
        lines = "\n  ".join(tail(log))
        return f"the {part.part.name} {what}; {log} ends with:\n  {lines}"

    def _keep(self) -> None:
        while not self._ending.is_set():
            self._monitor.look()
            self._look()

    def _look(self) -> None:
        self._server.look()
        self._controller.look()
        self._ending.wait(LOOK_S)

    def _end(self) -> None:
        """Monitor and controller first, so that nothing is started or judged any more; the server last, so that nobody
        meets a refusal."""
        say("stopping monitor and controller, the deployments, the server; once more does not wait for them")
        self._monitor.ask_to_stop()
        ended = [self._stop(self._controller), self._stop(self._monitor)]
        ended.append(self._deployments.end(self._hurry))
        ended.append(self._stop(self._server))
        self._residence.status.unlink(missing_ok=True)
        self._lifeline.close()
        if not all(ended):
            raise Failed(f"not everything ended: look at the machine, and at {self._residence.logs}")
        say("stopped: nothing is left running")

    def _stop(self, part: Supervised) -> bool:
        deadline = time.monotonic() + DRAIN_S
        part.ask_to_stop()
        while not part.ended() and time.monotonic() < deadline and not self._hurry.is_set():
            time.sleep(LOOK_S / 4)
        return part.kill()

    def _controller_said(self, line: str) -> None:
        if " acts" in line or "; waiting" in line:
            self._acts.set()
        if self._wish.echo:
            say(f"controller | {line}")

    def _monitor_said(self, line: str) -> None:
        if self._wish.echo:
            say(f"monitor | {line}")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._signalled) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        (self._hurry if self._ending.is_set() else self._ending).set()


def person(wish: Wish) -> str:
    """Whose log-in `env.sh` has; "" where there is none."""
    return "" if not wish.auth else next(iter(DEMO)) if wish.demo else ADMIN


def greeting(residence: Residence, wish: Wish, took_s: float) -> str:
    """What a person needs to know once everything runs."""
    login = f' -u "{person(wish)}:$MLFLOW_TRACKING_PASSWORD"' if wish.auth else ""
    users = [f"  log in as     {name}, password {password}" for name, password in DEMO.items()] if wish.demo else []
    users += [f"  log in as     {ADMIN}, password in {residence.auth_json}"] if wish.auth else []
    lines = [
        "",
        f"ready in {took_s:.0f} s",
        f"  page          {wish.url}/hydraulic/projects, and MLflow's own at {wish.url}",
        *users,
        "  move a model  in the page: Model registry > model > version > Stage; or from a shell, with a reason:",
        f"    curl{login} {wish.url}/api/2.0/mlflow/model-versions/transition-stage \\",
        "      -H 'Content-Type: application/json' -H 'X-Hydraulic-Reason: it is the best so far' \\",
        """      -d '{"name": "MODEL", "version": "1", "stage": "Staging", "archive_existing_versions": false}'""",
        f"  other shells  . {residence.env_sh}",
        f"  logs          {residence.logs}",
        f"  end           Ctrl-C, or: hydraulic down --folder {residence.path}",
    ]
    if wish.host not in LOOPBACK and not wish.auth:
        lines.append(
            f"  warning       --host {wish.host} without --auth: whoever reaches it may move and delete models"
        )
    return "\n".join(lines) + "\n"


def say(line: str) -> None:
    """Tell the person; a terminal that is gone, or cannot show a character, must not stop what runs."""
    with suppress(OSError):
        shown = printable_lines(line)
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        click.echo(shown.encode(encoding, "backslashreplace").decode(encoding))
