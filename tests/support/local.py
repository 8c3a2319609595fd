"""A local target with fake models, and the certainty that nothing of it outlives a test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deploy_targets.local.folder import Folder
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.settings import Settings

FAKE = ("tests.support.fake_scorer", "serve")
ROOT = Path(__file__).resolve().parents[2]


def fake_model(home: Path, version: str, **behaviour: object) -> ModelVersion:
    """A model of the fake scorer, put where fetched models are."""
    scratch = home / f"scratch-{version}"
    scratch.mkdir(parents=True)
    (scratch / "behaviour.json").write_text(json.dumps({"version": version, **behaviour}))
    digest = digest_folder(scratch)
    (home / "models").mkdir(exist_ok=True)
    scratch.rename(home / "models" / digest)
    return ModelVersion(uri=f"models:/m/{version}", name="m", version=version, digest=digest)


def deployment(model: ModelVersion, name: str = "cooler", *, replicas: int = 1, **more: object) -> Deployment:
    main = Predictor(name="default", model=model, replicas=replicas)
    return Deployment(name=name, namespace="default", predictors=(main,), **more)  # type: ignore[arg-type]


def local_target(home: Path, *, start_timeout_s: float = 60.0) -> LocalTarget:
    return LocalTarget(Settings(home=home, start_timeout_s=start_timeout_s, drain_timeout_s=5.0), FAKE)


def until(true: Callable[[], object], what: str, deadline_s: float = 60.0) -> None:
    """Waits for a condition; fails loudly."""
    end = time.monotonic() + deadline_s
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        time.sleep(0.02)


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that was started for a deployment under `home`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if any(str(home) in word for word in command) and any("deploy_targets.local" in word for word in command):
                found.append(process)
    return found


def kill_leftovers(home: Path) -> list[int]:
    """Ends what still runs for `home`, each by its number, and waits for their ends; gives the numbers."""
    left = processes_of(home)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=30)
    return [process.pid for process in left]


def scorer_pids(home: Path, name: str = "cooler") -> list[int]:
    seen = Folder(home, "default", name).read_seen()
    return [scorer.pid for scorer in seen.scorers] if seen else []


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@dataclass
class Load:
    """Callers that ask without pause, each on a connection of its own."""

    url: str
    answers: list[tuple[float, float, str]] = field(default_factory=list)  # sent, answered, version
    failures: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self, callers: int = 3, path: str = "/invocations") -> Iterator[Load]:
        ended = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(ended, path)) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: len(self.answers) >= callers or self.failures, "the first answers")
            yield self
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def _ask(self, ended: threading.Event, path: str) -> None:
        with requests.Session() as session:
            while not ended.is_set():
                sent = time.monotonic()
                try:
                    answer = session.post(self.url + path, json={"inputs": [[1.0]]}, timeout=60)
                    if answer.status_code == 200:
                        self.answers.append((sent, time.monotonic(), answer.headers["X-Hydraulic-Version"]))
                        if answer.json()["version"] != answer.headers["X-Hydraulic-Version"]:
                            self.failures.append(f"mixed: {answer.text}")
                    else:
                        self.failures.append(f"{answer.status_code}: {answer.text}")
                except requests.RequestException as error:
                    self.failures.append(repr(error))
