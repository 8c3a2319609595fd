"""The target `seldon-local`: apply, observe, delete, start and stop deployments on this machine.

Called by the MLflow plugin and by `hydraulic local`. Nothing here needs to stay alive: each deployment has a supervisor
process of its own, and every answer comes from its folder and its lock.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from mlflow_hydraulic.deploy_targets.local.daemon import start_supervisor
from mlflow_hydraulic.deploy_targets.local.folder import Folder, Options, Running, Seen, Wanted, tail
from mlflow_hydraulic.deploy_targets.local.locks import Held, exclusive, holder, signal_holder
from mlflow_hydraulic.deployment import Deployment, Exists, Observed, check_name
from mlflow_hydraulic.errors import BadInput, Conflict, Failed, HydraulicError, NotFound, Unavailable
from mlflow_hydraulic.settings import Settings

SERVE = ("mlflow_hydraulic.cli", "serve")
POLL_S = 0.03
KILL_AFTER_S = 15.0  # beyond the drain timeout
Mode = Literal["create", "update", "either"]


class LocalTarget:
    """Deployments under `settings.home`. `command` is the module, with its first arguments, that scorers run."""

    name = "seldon-local"

    def __init__(self, settings: Settings, command: tuple[str, ...] = SERVE) -> None:
        self._settings = settings
        self._command = command

    def apply(
        self,
        deployment: Deployment,
        *,
        options: Options | None = None,
        mode: Mode = "either",
        expected: int | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
    ) -> Observed:
        """Makes `deployment` run; with `wait`, returns when it answers and nothing of what it replaced does.

        mode: "create" raises `Exists` where one is there, "update" `NotFound` where none is.
        expected: the generation that the change was made from; `Conflict` when someone changed it meanwhile.
        options: None keeps those that are.

        Raises `Failed` with cause and last log lines when it cannot run: a deployment that was there serves on as
        before, a new one is removed. `Unavailable` when `timeout_s` is over; it is then still being changed.
        """
        timeout_s = self._settings.start_timeout_s + self._settings.drain_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        folder = self._folder(deployment.namespace, deployment.name)
        with self._changing(folder, timeout_s):
            before = folder.read_wanted()
            _check(deployment, before, mode, expected)
            folder.make()
            options = options or (before.options if before else Options(host=self._settings.host))
            generation = (before.generation if before else 0) + 1
            folder.write_wanted(Wanted(generation=generation, deployment=deployment, options=options))
            try:
                self._nudge(folder)
                if wait:
                    self._wait(folder, generation, deadline, timeout_s)
            except (Failed, KeyboardInterrupt):
                if before is None:
                    self._remove(folder)
                raise
        return self.get(deployment.namespace, deployment.name)

    def observe(self, namespace: str | None = None) -> list[Observed]:
        """Every deployment, or those in `namespace`, by namespace and name."""
        if namespace is not None:
            check_name("namespace", namespace)
        root = self._settings.home / "local"
        found = []
        for path in sorted(root.glob(f"{namespace or '*'}/*/spec.json")):
            with contextlib.suppress(BadInput):  # a folder that no deployment can have
                folder = Folder(self._settings.home, path.parent.parent.name, path.parent.name)
                found.append(self._observed(folder))
        return [o for o in found if o.state != "not found"]

    def get(self, namespace: str, name: str) -> Observed:
        """How one deployment is; its state is "not found" where there is none."""
        return self._observed(self._folder(namespace, name))

    def options(self, namespace: str, name: str) -> Options:
        """What only this target knows of a deployment."""
        wanted = self._folder(namespace, name).read_wanted()
        return wanted.options if wanted else Options(host=self._settings.host)

    def delete(self, namespace: str, name: str, *, expected: int | None = None, timeout_s: float | None = None) -> None:
        """Ends a deployment after it answered what it had accepted, and removes it; else does nothing.

        expected: the generation that was seen; `Conflict` when someone changed it meanwhile.
        """
        folder = self._folder(namespace, name)
        if not folder.path.exists():
            return
        with self._changing(folder, self._stop_timeout_s(timeout_s)):
            if expected is not None:
                _check_unchanged(name, folder.read_wanted(), expected)
            self._remove(folder)

    def start(self, namespace: str, name: str, *, timeout_s: float | None = None) -> Observed:
        """Brings back a deployment that was stopped, killed or ended with the machine, as it was."""
        wanted = self._wanted(namespace, name)
        return self.apply(wanted, mode="update", timeout_s=timeout_s)

    def stop(self, namespace: str, name: str, *, timeout_s: float | None = None) -> Observed:
        """Ends a deployment's processes and keeps what `start` needs."""
        folder = self._folder(namespace, name)
        self._wanted(namespace, name)
        with self._changing(folder, self._stop_timeout_s(timeout_s)):
            self._end(folder, "stopped")
        return self.get(namespace, name)

    def logs(self, namespace: str, name: str, lines: int = 50) -> dict[str, tuple[str, ...]]:
        """The last lines of each log: the supervisor's and each scorer's."""
        folder = self._folder(namespace, name)
        self._wanted(namespace, name)
        paths = [folder.supervisor_log, *sorted(folder.logs.glob("*.log"))]
        return {path.stem: tail(path, lines) for path in paths}

    def _folder(self, namespace: str, name: str) -> Folder:
        return Folder(self._settings.home, namespace, name)

    def _wanted(self, namespace: str, name: str) -> Deployment:
        observed = self.get(namespace, name)
        if observed.deployment is None:
            raise missing(namespace, name)
        return observed.deployment

    @contextlib.contextmanager
    def _changing(self, folder: Folder, wait_s: float) -> Iterator[None]:
        try:
            folder.change_lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with exclusive(folder.change_lock, wait_s=wait_s, nameless=True):
                yield
        except Held as held:
            raise Conflict(
                f"deployment {folder.name!r} is being changed by process {held.pid}, still after {wait_s:g} s: "
                "wait for it, or end that process, and try again"
            ) from held
        except OSError as error:
            raise Failed(f"{folder.path}: {error}; check the disk and HYDRAULIC_HOME") from error

    def _nudge(self, folder: Folder) -> None:
        if not signal_holder(folder.supervisor_lock, signal.SIGHUP):
            start_supervisor(folder, self._settings, self._command)

    def _wait(self, folder: Folder, generation: int, deadline: float, timeout_s: float) -> None:
        started = False
        while True:
            seen = folder.read_seen()
            if seen is not None and seen.generation >= generation:
                break
            if holder(folder.supervisor_lock) is None and not started:
                started = True  # the one that was nudged was dying: a killed process holds its lock a moment longer
                self._nudge(folder)
            elif holder(folder.supervisor_lock) is None:
                lines = "\n  ".join(tail(folder.supervisor_log))
                raise Failed(f"the supervisor of {folder.name!r} ended; {folder.supervisor_log} ends with:\n  {lines}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"deployment {folder.name!r} is not ready after {timeout_s:g} s and goes on trying; look with "
                    f'"hydraulic local list", or allow more with -C timeout_s=SECONDS'
                )
            time.sleep(POLL_S)
        if seen.refused == generation:
            raise Failed(_refusal(folder, seen))

    def _remove(self, folder: Folder) -> None:
        self._end(folder, "deleted")
        gone = folder.path.with_name(f".{folder.name}.deleted")
        if folder.path.exists():
            shutil.rmtree(gone, ignore_errors=True)
            folder.path.rename(gone)  # gone at once for whoever looks
        shutil.rmtree(gone, ignore_errors=True)
        folder.change_lock.unlink(missing_ok=True)

    def _end(self, folder: Folder, running: Running) -> None:
        """Ends the supervisor, and with it the scorers: asks, then kills."""
        with contextlib.suppress(HydraulicError):  # a file that nobody can read, or a full disk, must not keep it alive
            wanted = folder.read_wanted()
            if wanted is not None:
                folder.write_wanted(replace(wanted, running=running))
        for number, patience_s in (
            (signal.SIGTERM, self._settings.drain_timeout_s * 2 + KILL_AFTER_S),
            (signal.SIGKILL, KILL_AFTER_S),
        ):
            deadline = time.monotonic() + patience_s
            while holder(folder.supervisor_lock) == 0 and time.monotonic() < deadline:
                time.sleep(POLL_S)  # it has only just taken its lock
            signal_holder(folder.supervisor_lock, number, wait_s=patience_s)
            if holder(folder.supervisor_lock) is None:
                return
        raise Failed(f"the supervisor of {folder.name!r} does not end, not even by SIGKILL: look at the machine")

    def _stop_timeout_s(self, timeout_s: float | None) -> float:
        return self._settings.drain_timeout_s * 2 + KILL_AFTER_S if timeout_s is None else timeout_s

    def _observed(self, folder: Folder) -> Observed:
        try:
            wanted = folder.read_wanted()
        except BadInput as error:
            cause = f"{error}; delete the deployment and create it again"
            return Observed(name=folder.name, namespace=folder.namespace, state="failed", cause=cause)
        if wanted is None:
            return Observed(name=folder.name, namespace=folder.namespace, state="not found")
        return judged(folder, wanted, folder.read_seen(), holder(folder.supervisor_lock), holder(folder.change_lock))


def judged(folder: Folder, wanted: Wanted, seen: Seen | None, pid: int | None, changer: int | None) -> Observed:
    """What the files and locks of a deployment come to; `pid` is its supervisor, `changer` who changes it now."""
    observed = Observed(
        name=folder.name,
        namespace=folder.namespace,
        state="preparing",
        serving=seen.serving if seen else None,
        desired=wanted.deployment,
        generation=wanted.generation,
        url=_url(folder, seen) if seen and seen.port else "",
    )
    if wanted.running == "deleted":
        ending = pid is not None or changer is not None  # whoever deletes it holds the change lock to the end
        cause = "" if ending else "the deletion was interrupted: delete it once more"
        return replace(observed, state="terminating", cause=cause, pid=pid)
    if pid is None:
        if changer is not None and seen is None:
            return observed
        why = "it was stopped" if wanted.running == "stopped" else "its supervisor was killed or the machine restarted"
        way = f'"hydraulic local start {folder.name} --namespace {folder.namespace}" or an update brings it back'
        return replace(observed, state="unhealthy", cause=f"not running: {why}; {way}")
    if seen is None:
        return replace(observed, pid=pid)
    ready: dict[str, int] = {}
    for scorer in seen.scorers:
        ready[scorer.predictor] = ready.get(scorer.predictor, 0) + scorer.ready
    cause, log = seen.cause, seen.log
    if seen.refused == wanted.generation and seen.state != "failed":
        cause = "; ".join(filter(None, (cause, f"the last change failed: {seen.refused_cause}")))
        log = log or seen.refused_log
    return replace(observed, state=seen.state, cause=cause, log=log, ready=ready, pid=pid)


def missing(namespace: str, name: str) -> NotFound:
    """The error for a deployment that is not there."""
    return NotFound(
        f'there is no deployment {name!r} in namespace {namespace!r}: "mlflow deployments list -t '
        f'seldon-local:/{namespace}" shows those that are'
    )


def _check(deployment: Deployment, before: Wanted | None, mode: Mode, expected: int | None) -> None:
    if mode == "create" and before is not None:
        raise Exists(
            f"deployment {deployment.name!r} exists already in namespace {deployment.namespace!r}: "
            'change it with "mlflow deployments update", or choose another name'
        )
    if mode == "update" and (before is None or before.running == "deleted"):
        raise missing(deployment.namespace, deployment.name)
    if expected is not None:
        _check_unchanged(deployment.name, before, expected)


def _check_unchanged(name: str, before: Wanted | None, expected: int) -> None:
    if before is not None and before.generation != expected:
        raise Conflict(
            f"deployment {name!r} was changed by someone else meanwhile (generation {before.generation}, "
            f"not {expected}): look at it and make your change again"
        )


def _refusal(folder: Folder, seen: Seen) -> str:
    lines = "".join(f"\n  {line}" for line in seen.refused_log)
    goes_on = f"; version {seen.serving.predictors[0].model.version} goes on serving" if seen.serving else ""
    logged = f"\nthe scorer's log ends with:{lines}" if lines else ""
    return f"deployment {folder.name!r} failed: {seen.refused_cause}{goes_on}{logged}"


def _url(folder: Folder, seen: Seen) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(seen.host, seen.host)  # noqa: S104 - read only
    return f"http://{f'[{host}]' if ':' in host else host}:{seen.port}/seldon/{folder.namespace}/{folder.name}"
