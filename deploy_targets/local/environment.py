"""An environment on this machine, as the controller's pass uses it: what runs there, apply until healthy, delete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.deploy_targets.local.service_level import service_level
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget, Mode
from mlflow_hydraulic.deploy_targets.seen import running
from mlflow_hydraulic.deployment import Deployment, Observed
from mlflow_hydraulic.errors import Conflict, Failed, Unavailable
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.service_level import Counters


class LocalEnvironment:
    """The deployments of one environment as processes on this machine, in the namespace that it names.

    What it shows has its generation: a change is made to what was seen for its plan, or not at all, so that a
    controller that slept through the end of its lease changes nothing.
    """

    def __init__(self, environment: Environment, target: LocalTarget, home: Path) -> None:
        self._environment = environment
        self._target = target
        self._folder = home / "local" / environment.namespace
        self._was_there = False

    @property
    def place(self) -> str:
        """Where it is: no two environments may be in one place."""
        return str(self._folder)

    def observe(self) -> list[Running]:
        """All that serves or is to serve there; a deployment that cannot be read is left to `hydraulic local`.

        `Unavailable` where the folder cannot be read, or was there and is gone: nobody can tell what runs then.
        """
        try:
            self._look()
            found = self._target.observe(self._environment.namespace)
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be read: {error}; what serves goes on serving") from error
        seen = (running(self._environment.name, _alive(one)) for one in found)
        return [one for one in seen if one is not None]

    def _look(self) -> None:
        try:
            with os.scandir(self._folder):
                self._was_there = True
        except FileNotFoundError:
            if self._was_there:
                raise
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._was_there = True

    def apply(self, deployment: Deployment, seen: Running | None) -> None:
        """Create or update, and return when it is healthy. `Unavailable` where a later try may succeed."""
        mode: Mode = "create" if seen is None else "either"
        with _retryable():
            self._look()
            made = self._target.apply(deployment, mode=mode, expected=seen.generation if seen else None)
        if made.state != "healthy":
            raise Unavailable(f"deployment {deployment.name!r} is {made.state}: {made.cause}")

    def delete(self, name: str, seen: Running | None) -> None:
        with _retryable():
            self._look()
            expected = seen.generation if seen else None
            self._target.delete(self._environment.namespace, name, expected=expected)

    def service(self, name: str) -> dict[str, Counters]:
        """The counters of each predictor; `Unavailable` where nothing runs or answers."""
        with _retryable():
            return service_level(self._target.get(self._environment.namespace, name))


@contextmanager
def _retryable() -> Iterator[None]:
    """A disk that is full and a deployment that somebody else changed are no faults of the model: they pass."""
    try:
        yield
    except Conflict as error:
        raise Unavailable(f"somebody else was quicker: {error}") from error
    except Failed as error:
        if isinstance(error.__cause__, OSError):
            raise Unavailable(str(error)) from error
        raise
    except OSError as error:
        raise Unavailable(f"{error}; check the disk and HYDRAULIC_HOME") from error


def _alive(observed: Observed) -> Observed:
    """What was stopped, killed, ended with the machine or half deleted has failed: an update brings it back."""
    interrupted = observed.state == "terminating" and bool(observed.cause)
    not_running = observed.pid is None and (observed.state == "unhealthy" or interrupted)
    return replace(observed, state="failed") if not_running else observed
