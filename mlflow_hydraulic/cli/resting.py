"""The local deployments while `hydraulic up` is down: ended with it, remembered, and brought back by the next one."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

from mlflow_hydraulic.cli.residence import Residence, read_json
from mlflow_hydraulic.deploy_targets.local.folder import Folder, write_atomically
from mlflow_hydraulic.deploy_targets.local.locks import signal_holder
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Observed
from mlflow_hydraulic.errors import HydraulicError, NotFound
from mlflow_hydraulic.settings import Settings

POLL_S = 0.05
KILL_S = 30.0
Say = Callable[[str], None]
Key = tuple[str, str]  # namespace, name


class Deployments:
    """All local deployments under one HYDRAULIC_HOME."""

    def __init__(self, residence: Residence, settings: Settings, say: Say) -> None:
        self._residence, self._settings, self._say = residence, settings, say
        self._target = LocalTarget(settings)
        self._work: list[threading.Thread] = []

    def running(self) -> list[Observed]:
        """Those that have a supervisor, whether they answer or not."""
        return [one for one in self._target.observe() if one.pid is not None]

    def bring_back(self) -> list[Key]:
        """Begin to start what an `up` ended, and what died with the machine; never what a person stopped."""
        ended = {tuple(key.split("/", 1)) for key in _texts(read_json(self._residence.resting).get("deployments"))}
        back = [
            (one.namespace, one.name)
            for one in self._target.observe()
            if one.pid is None and one.deployment is not None
            if (one.namespace, one.name) in ended or not self._was_stopped(one)
        ]
        self._residence.resting.unlink(missing_ok=True)
        for key in back:
            self._begin(partial(self._start, key))
        return back

    def end(self, hurry: threading.Event) -> bool:
        """End all after they answered what they accepted, and remember them; at once when `hurry` is set.

        False where one is still there.
        """
        asked: set[Key] = set()
        while not hurry.is_set() and ((new := self._standing() - asked) or self._working()):
            asked |= new
            self._remember(new)
            for key in new:
                self._begin(partial(self._stop, key))
            hurry.wait(POLL_S)
        deadline = time.monotonic() + KILL_S
        while (self._standing() or self._working()) and time.monotonic() < deadline:
            self._remember(self._standing())
            for namespace, name in self._standing():
                self._kill(namespace, name)
        return not self._standing()

    def _standing(self) -> set[Key]:
        """Those that run, or are about to: their supervisor may have been started and not be there yet."""
        found = self._target.observe()
        return {(o.namespace, o.name) for o in found if o.pid is not None or not self._was_stopped(o)}

    def _working(self) -> bool:
        return any(thread.is_alive() for thread in self._work)

    def _kill(self, namespace: str, name: str) -> None:
        """Kill the supervisor, and with it its scorers; then say that this was meant."""
        signal_holder(self._folder(namespace, name).supervisor_lock, signal.SIGKILL, wait_s=5.0)
        with contextlib.suppress(HydraulicError):  # somebody is changing it, and fails now: the next round gets it
            self._target.stop(namespace, name, timeout_s=1.0)

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._work.append(thread)
        thread.start()

    def _start(self, key: Key) -> None:
        try:
            observed = self._target.start(*key)
            self._say(f"{key[0]}/{key[1]} serves again at {observed.url}")
        except NotFound:
            pass  # deleted meanwhile
        except HydraulicError as error:
            self._say(f"{key[0]}/{key[1]} does not serve again: {error}")

    def _stop(self, key: Key) -> None:
        try:
            self._target.stop(*key)
        except NotFound:
            pass  # deleted meanwhile
        except HydraulicError as error:
            self._say(f"{'/'.join(key)}: {error}; it is killed")
            self._kill(*key)

    def _remember(self, ended: Iterable[Key]) -> None:
        before = _texts(read_json(self._residence.resting).get("deployments"))
        keys = sorted({*before, *("/".join(key) for key in ended)})
        try:
            write_atomically(self._residence.resting, {"deployments": keys})
        except HydraulicError as error:
            self._say(f"{error}; the next `up` brings back only what the registry asks for")

    def _was_stopped(self, one: Observed) -> bool:
        try:
            wanted = self._folder(one.namespace, one.name).read_wanted()
        except HydraulicError:
            return True
        return wanted is None or wanted.running != "yes"

    def _folder(self, namespace: str, name: str) -> Folder:
        return Folder(self._settings.home, namespace, name)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
