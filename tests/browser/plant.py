"""What the browser tests look at: MLflow's server with log-ins, the controller beside it, a model with two versions."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import mlflow
import psutil
import requests
from sqlalchemy import create_engine

from mlflow_hydraulic.evidence import ledger
from mlflow_hydraulic.plugin import flavor
from tests.scorers import forest
from tests.servers import QUIET, Server, end_group

MODELS = ("cooler", "pump", "valve", "fan")  # one a story, so that no test meets what another left
PEOPLE = ("ds1", "ds2", "anonymous")
Found = TypeVar("Found")
POLICY = """
[environments.prod]
champion = ["alias:champion", "stage:Production"]
[policy.prod]
allow = ["role:operator"]
reason_required = true
[policy]
protected_aliases = ["golden"]
protected_by = ["admin"]
[roles]
operator = ["ds1", "admin"]
"""


@dataclass(frozen=True)
class Plant:
    """A server and where its scorers live; what is asked here is asked by the admin, beside the page."""

    server: Server
    home: Path

    def version(self, model: str, number: int) -> dict[str, Any]:
        answer = requests.get(
            f"{self.server.uri}{self.server.prefix}/api/2.0/mlflow/model-versions/get",
            params={"name": model, "version": str(number)},
            auth=self.server.login(),
            timeout=60,
        )
        assert answer.ok, f"{model} {number}: {answer.status_code} {answer.text}"
        return dict(answer.json()["model_version"])

    def stage(self, model: str, number: int) -> str:
        return str(self.version(model, number)["current_stage"])

    def wait_for_tags(self, model: str, number: int, wanted: Mapping[str, str | None]) -> dict[str, str]:
        """Wait until the version's tags are as `wanted`; None stands for "no such tag", "*" for any value."""
        seen: dict[str, str] = {}

        def settled() -> bool:
            seen.clear()
            seen.update({tag["key"]: tag["value"] for tag in self.version(model, number).get("tags", [])})
            return all(tag in seen if value == "*" else seen.get(tag) == value for tag, value in wanted.items())

        wait_for(settled, lambda: f"tags {dict(wanted)} of {model} {number}, which has {seen}")
        return seen

    def ledger(self) -> list[ledger.Row]:
        """All rows, oldest first; the chain holds."""
        engine = create_engine(self.server.backend)
        with engine.connect() as connection:
            found = list(ledger.rows(connection))
            assert ledger.verify(connection).holds
        engine.dispose()
        return found

    def told(self, model: str) -> list[tuple[str, str, str]]:
        """What people did to a model, oldest first: actor, verb, reason."""
        return [(r.actor, r.verb, r.reason) for r in self.ledger() if r.model == model and r.actor in PEOPLE]


def wait_for(look: Callable[[], Found], what: Callable[[], str], within_s: float = 90) -> Found:
    """The first truth that `look` finds; fails the test, saying `what` it waited for, after the deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {within_s:.0f} s for {what()}")


def make_registry(folder: Path, versions: int = 2, *, uri: str = "") -> None:
    """A database with some versions of each model: at `uri`, or in `folder`, as a server started there finds it."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri or f"sqlite:///{folder / 'mlflow.db'}")
    try:
        experiment = mlflow.create_experiment("rig", artifact_location=(folder / "logged").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            logged = flavor.log_model(forest(), name="model")
        for model in MODELS:
            for _ in range(versions):
                mlflow.register_model(logged.model_uri, model)
    finally:
        mlflow.set_tracking_uri(before)


@contextmanager
def controller(server: Server, home: Path) -> Iterator[None]:
    """`hydraulic controller` beside the server; what it deployed ends with it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HYDRAULIC_", "MLFLOW_"))}
    env = kept | QUIET | server.environment() | {"HYDRAULIC_HOME": str(home), "HYDRAULIC_DATABASE": server.backend}
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "controller", "--interval", "5"]
    with (server.folder / "controller.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=server.folder, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        end_group(process)
        _end_scorers(home)


def _end_scorers(home: Path) -> None:
    """Scorers outlive the controller that started them, so a test ends them itself."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(home) in word for word in process.cmdline()):
                process.kill()
