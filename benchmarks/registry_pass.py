"""A pass over many registered models with nothing to do: requests to the registry, and whether time is linear.

Models with five versions each, put into a real registry's tables, behind a real `mlflow server --app-name hydraulic`;
every model serves in Production on a target in memory, so that the pass reads, plans, records and finds nothing to do.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Engine, insert

from benchmarks.report import Row, run, say, spread
from benchmarks.servers import free_port, running
from mlflow_hydraulic.bindings import preset
from mlflow_hydraulic.deployment import Deployment, ModelVersion
from mlflow_hydraulic.evidence import database
from mlflow_hydraulic.plan import Running
from mlflow_hydraulic.reconcile import run_pass
from mlflow_hydraulic.service_level import Counters
from mlflow_hydraulic.world import World

SIZES = (250, 500, 1000)
VERSIONS = 5
ROUNDS = 5
ENDPOINT = "http://127.0.0.1:1"
STAGES = ("Archived", "Archived", "Archived", "Production", "None")


class MemoryTarget:
    """What was applied runs at once."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._running: dict[str, Running] = {}

    def observe(self) -> Sequence[Running]:
        return list(self._running.values())

    def apply(self, deployment: Deployment, seen: Running | None) -> None:  # noqa: ARG002 - the protocol
        self._running[deployment.name] = Running(
            environment=self._environment, deployment=deployment, state="healthy", endpoint=ENDPOINT
        )

    def delete(self, name: str, seen: Running | None) -> None:  # noqa: ARG002 - the protocol
        self._running.pop(name, None)

    def service(self, name: str) -> dict[str, Counters]:  # noqa: ARG002 - the protocol
        return {}


class CountedRequests:
    """Counts what this process asks over HTTP."""

    def __init__(self) -> None:
        self.count = 0
        send = requests.Session.send

        def counted(session: requests.Session, request: Any, **more: Any) -> Any:  # Any: as requests has it
            self.count += 1
            return send(session, request, **more)

        requests.Session.send = counted  # type: ignore[assignment,method-assign]


def measure() -> list[Row]:
    requested = CountedRequests()
    times: dict[int, list[float]] = {}
    counts: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            say(f"{size} models with {VERSIONS} versions each")
            times[size], counts[size] = _passes(Path(folder) / str(size), size, requested)
    best = {size: min(seen) for size, seen in times.items()}  # sizes are measured one after the other: load only adds
    detail = {str(size): {"seconds": spread(times[size]), "requests": counts[size]} for size in SIZES}
    return [
        Row(
            what="registry requests of a pass over 1000 models",
            measured=counts[1000],
            asked=10,
            unit="requests",
            at_most=True,
            detail=detail,
        ),
        Row(what="time of a pass, 500 models against 250", measured=best[500] / best[250], asked=2.5, at_most=True),
        Row(what="time of a pass, 1000 against 500", measured=best[1000] / best[500], asked=2.5, at_most=True),
    ]


def _passes(folder: Path, models: int, requested: CountedRequests) -> tuple[list[float], int]:
    folder.mkdir()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "hydraulic", "--port", str(port)]
    command += ["--backend-store-uri", uri, "--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    command += ["--uvicorn-opts", "--timeout-worker-healthcheck 120"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, port=port, ready="/health", log=folder / "server.log", environ=quiet):
        engine = database.open_database(uri)
        database.ready(engine)
        _fill(engine, models)
        world = _world(f"http://127.0.0.1:{port}", engine)
        first = run_pass(world)
        if len(first.outcomes) != models or any(outcome.result != "done" for outcome in first.outcomes):
            raise RuntimeError(f"the first pass was to deploy {models} models: {first.outcomes[:3]}")
        run_pass(world)
        seconds = []
        for _ in range(ROUNDS):
            before, start = requested.count, time.perf_counter()
            nothing = run_pass(world)
            seconds.append(time.perf_counter() - start)
            if nothing.plan.actions:
                raise RuntimeError(f"there was to be nothing to do: {nothing.plan.actions[:3]}")
        engine.dispose()
        return seconds, requested.count - before


def _invented(uri: str) -> ModelVersion:
    """A pass with nothing to do fetches no artefact."""
    name, version = uri.removeprefix("models:/").split("/")
    return ModelVersion(uri=uri, name=name, version=version, digest="0" * 64)


def _world(uri: str, engine: Engine) -> World:
    import mlflow

    from mlflow_hydraulic.plugin.registry import MlflowRegistry

    environments = preset("stages")
    return World(
        registry=MlflowRegistry(mlflow.MlflowClient(uri, uri), _invented),
        environments=environments,
        targets={env.name: MemoryTarget(env.name) for env in environments},
        database=engine,
    )


def _fill(engine: Engine, models: int) -> None:
    """As many requests would do, in a second."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag, SqlRegisteredModel

    now = int(time.time() * 1000)
    names = [f"model-{number:04}" for number in range(models)]
    same = {"workspace": "default", "creation_time": now, "last_updated_time": now, "description": "as a person writes"}
    with engine.begin() as connection:
        connection.execute(insert(SqlRegisteredModel), [{"name": name, **same} for name in names])
        connection.execute(
            insert(SqlModelVersion),
            [
                {
                    "name": name,
                    "version": n,
                    "current_stage": stage,
                    "source": f"models:/m-{n}",
                    "status": "READY",
                    **same,
                }
                for name in names
                for n, stage in enumerate(STAGES, start=1)
            ],
        )

        facts = {"hydraulic.prod.state": "healthy", "hydraulic.prod.endpoint": ENDPOINT}
        serving = STAGES.index("Production") + 1
        connection.execute(
            insert(SqlModelVersionTag),
            [
                {"name": name, "version": serving, "key": key, "value": value, "workspace": "default"}
                for name in names
                for key, value in facts.items()
            ],
        )


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    run(measure)
