"""Server time of the pages with 1000 models and 200 deployments, against MLflow's own list of models on the same data.

A real `mlflow server --app-name hydraulic` on SQLite; requests alternate over one kept connection each, from another
process on the same machine. The peer is `registered-models/search`: with 50 models, as many rows as a page shows, which
no page may be slower than; and with all 1000, which stands beside it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import requests

from benchmarks.page_data import DEPLOYMENTS, MODELS, fill
from benchmarks.report import Row, run, say, spread
from benchmarks.servers import free_port, running
from mlflow_hydraulic.evidence import database

ROUNDS, WARM_UP = 40, 5
ROWS = 50
SELDOM = 8
SEARCH = "/api/2.0/mlflow/registered-models/search?max_results={rows}"
PAGES = {
    "/models": "/hydraulic/models",
    "/models of a project, sorted by score": "/hydraulic/models?project=project-07&sort=score",
    "/models that fit a text": "/hydraulic/models?text=model-09&versions=all",
    "/deployments": "/hydraulic/deployments",
    "/projects": "/hydraulic/projects",
    "/alerts": "/hydraulic/alerts",
    "/events": "/hydraulic/events",
}


def measure(rounds: int = ROUNDS) -> list[Row]:
    """One row a page: the ratio of the medians to MLflow's list of as many models as the page has rows."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        uri = _server(stack, folder)
        asked = {
            **{f"MLflow, {rows} models": _asking(stack, uri + SEARCH.format(rows=rows)) for rows in (ROWS, MODELS)},
            **{name: _asking(stack, uri + path) for name, path in PAGES.items()},
        }
        seen: dict[str, list[float]] = {name: [] for name in asked}
        for number in range(WARM_UP + rounds):
            for name, ask in asked.items():
                if str(MODELS) in name and number % SELDOM:
                    continue  # it takes seconds, and no page is judged by it
                seconds = ask()
                if number >= WARM_UP:
                    seen[name].append(seconds)
    own, whole = (seen[f"MLflow, {rows} models"] for rows in (ROWS, MODELS))
    return [_row(name, seen[name], own, whole) for name in PAGES]


def _row(name: str, page: list[float], own: list[float], whole: list[float]) -> Row:
    return Row(
        what=f"page {name} against MLflow's list of {ROWS} models",
        measured=median(page) / median(own),
        asked=1.0,
        at_most=True,
        detail={
            "page_s": spread(page),
            f"mlflow_{ROWS}_s": spread(own),
            f"mlflow_{MODELS}_s": spread(whole),
            f"against_{MODELS}": float(f"{median(page) / median(whole):.3g}"),
        },
    )


def _server(stack: ExitStack, folder: Path) -> str:
    port = free_port()
    backend = f"sqlite:///{folder / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "hydraulic", "--port", str(port)]
    command += ["--backend-store-uri", backend, "--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    command += ["--uvicorn-opts", "--timeout-worker-healthcheck 120"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    stack.enter_context(running(command, port=port, ready="/health", log=folder / "server.log", environ=quiet))
    engine = database.open_database(backend)
    stack.callback(engine.dispose)
    say(f"{MODELS} models in {fill(engine)} versions, {DEPLOYMENTS} deployments")
    return f"http://127.0.0.1:{port}"


def _asking(stack: ExitStack, url: str) -> Callable[[], float]:
    """A function that asks for `url` once and gives the seconds until its last byte."""
    session = stack.enter_context(requests.Session())

    def ask() -> float:
        start = time.perf_counter()
        answer = session.get(url, timeout=60)
        seconds = time.perf_counter() - start
        if answer.status_code != 200:
            raise RuntimeError(f"{url} answered {answer.status_code}: {answer.text[:500]}")
        return seconds

    return ask


if __name__ == "__main__":
    run(measure)
