"""From the request that moves a version to Staging to its healthy DEV endpoint, against the scorer's own start.

A real server, a real controller and the local target; each round moves a version that was never fetched, and starts
`hydraulic serve` on the same model by itself. Both end with the first answered request.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import requests

from benchmarks.forest import grow_forest
from benchmarks.report import Row, alternate, run, spread
from benchmarks.servers import free_port, running
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.settings import Settings

MODEL = "forest"
ASKED = 2.0
WITHIN_S = 120.0
POLL_S = 0.005


def measure(rounds: int = 7) -> list[Row]:
    """One row: the ratio of the medians."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        saved = grow_forest(folder).ours
        uri = _server(stack, folder)
        _register(uri, saved, rounds)
        home = folder / "home"
        home.mkdir()
        _controller(stack, folder, home, uri)
        target = LocalTarget(Settings(home=home))
        stack.callback(target.delete, "dev", MODEL)
        versions = iter(range(1, rounds + 1))
        seen = alternate(
            rounds,
            {
                "the scorer's own start": lambda: _scorer_start(saved, folder),
                "transition to healthy": lambda: _transition(uri, target, next(versions)),
            },
        )
    own, moved = seen["the scorer's own start"], seen["transition to healthy"]
    detail = {"transition_s": spread(moved), "scorer_start_s": spread(own)}
    what = "transition request to healthy DEV endpoint, against the scorer's own start"
    return [Row(what=what, measured=median(moved) / median(own), asked=ASKED, at_most=True, detail=detail)]


def _server(stack: ExitStack, folder: Path) -> str:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "hydraulic", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    command += ["--uvicorn-opts", "--timeout-worker-healthcheck 120"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    stack.enter_context(running(command, port=port, ready="/health", log=folder / "server.log", environ=quiet))
    return f"http://127.0.0.1:{port}"


def _register(uri: str, saved: Path, versions: int) -> None:
    """Each version with files of its own digest, so that each is fetched."""
    import mlflow

    client = mlflow.MlflowClient(uri, uri)
    client.create_registered_model(MODEL)
    for number in range(versions):
        run_id = client.create_run("0").info.run_id
        client.log_artifacts(run_id, str(saved), "model")
        client.log_text(run_id, f"version {number + 1}\n", "model/which.txt")
        client.create_model_version(MODEL, f"{client.get_run(run_id).info.artifact_uri}/model", run_id)


def _controller(stack: ExitStack, folder: Path, home: Path, uri: str) -> None:
    environ = {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri,
        "HYDRAULIC_HOME": str(home),
        "HYDRAULIC_DATABASE": f"sqlite:///{folder / 'mlflow.db'}",
    }
    log = folder / "controller.log"
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "mlflow_hydraulic.cli", "controller"]
        process = subprocess.Popen(command, env=environ, cwd=home, stdout=sink, stderr=sink)

    def end() -> None:
        process.terminate()
        process.wait(timeout=60)

    stack.callback(end)
    _until((home / "local" / "dev").is_dir, f"the first pass; see {log}")


def _transition(uri: str, target: LocalTarget, version: int) -> float:
    start = time.perf_counter()
    _move(uri, version, "Staging")
    _until(lambda: target.get("dev", MODEL).state == "healthy", f"version {version} healthy")
    _ask(target.get("dev", MODEL).url + "/v2/health/ready")
    seconds = time.perf_counter() - start
    _move(uri, version, "Archived")
    _until(lambda: target.get("dev", MODEL).state == "not found", f"version {version} ended")
    return seconds


def _move(uri: str, version: int, stage: str) -> None:
    body = {"name": MODEL, "version": str(version), "stage": stage, "archive_existing_versions": False}
    where = f"{uri}/api/2.0/mlflow/model-versions/transition-stage"
    requests.post(where, json=body, timeout=60).raise_for_status()


def _scorer_start(saved: Path, folder: Path) -> float:
    port = free_port()
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(saved), "--port", str(port)]
    with (folder / "scorer.log").open("ab") as sink:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=sink, stderr=sink)
    try:
        _until(lambda: _ask(f"http://127.0.0.1:{port}/v2/health/ready"), "the scorer ready")
        return time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(timeout=60)


def _ask(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {WITHIN_S:g} s: {what}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    run(measure)
