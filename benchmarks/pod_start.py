"""From the start of the process to the first scored row, model on local disk: our pod against Seldon's and MLServer's.

MLFLOW_SERVER is run as its image runs it, `seldon-core-microservice` with a component that loads by MLflow, but without
the conda environment that the image builds first: that would add minutes. One worker each; all files are in the page
cache after the first round, which is not counted. Peers live in environments of their own, made on demand.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.forest import Forest, grow_forest
from benchmarks.peers import CACHE, MLFLOW, peer_python
from benchmarks.report import Row, alternate, run, spread
from benchmarks.servers import first_answer, free_port
from mlflow_hydraulic.bundle.digest import digest_folder
from tests.support.seldon_env import microservice, seldon_python

# Beside today's MLflow: with its protobuf the stubs are imported in pure Python, and answer over HTTP only.
SELDON = ("flask", "flask-cors", "grpcio", "grpcio-reflection", "gunicorn", "jsonschema", "prometheus-client", "pyyaml")
MLSERVER = ["mlserver==1.7.1", "mlserver-mlflow==1.7.1", *MLFLOW]


def measure(rounds: int = 5) -> list[Row]:
    """Seconds to the first answer, as ratios of medians."""
    seldon = seldon_python(CACHE / "bench-seldon", (*SELDON, "setuptools<81", *MLFLOW))
    mlserver = peer_python("mlserver", MLSERVER)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        forest = grow_forest(folder)
        starts: dict[str, Callable[[], float]] = {
            "ours": lambda: _ours(forest, folder),
            "microservice": lambda: _microservice(forest, seldon, folder),
            "mlserver": lambda: _mlserver(forest, mlserver, folder),
        }
        for start in starts.values():
            start()  # fills the page cache and Python's byte code
        seen = alternate(rounds, starts)
    peers = {"microservice": "MLFLOW_SERVER's start without its conda build", "mlserver": "MLServer 1.7.1"}
    detail = {
        "data": forest.origin,
        "rounds": rounds,
        "seconds": {name: spread(values) for name, values in seen.items()},
    }
    return [
        Row(
            what=f"start to the first scored row, shorter than {called}",
            measured=median(seen[peer]) / median(seen["ours"]),
            detail=detail,
        )
        for peer, called in peers.items()
    ]


def _ours(forest: Forest, folder: Path) -> float:
    port = free_port()
    environ = {
        "HYDRAULIC_MODEL_URI": str(forest.ours),
        "HYDRAULIC_MODEL_DIGEST": digest_folder(forest.ours),
        "HYDRAULIC_HOME": str(folder / "home"),
        "HYDRAULIC_HTTP_PORT": str(port),
        "HYDRAULIC_GRPC_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve-pod"]
    return _seconds(command, f"http://127.0.0.1:{port}/predict", _seldon_body(forest), environ, folder / "ours.log")


def _microservice(forest: Forest, python: Path, folder: Path) -> float:
    port = free_port()
    told = json.dumps([{"name": "model_uri", "type": "STRING", "value": str(forest.sklearns)}])
    ports = ["--http-port", str(port), "--grpc-port", str(free_port()), "--metrics-port", str(free_port())]
    command, environ = microservice(python, "benchmarks.mlflow_component.MlflowComponent", "--parameters", told, *ports)
    environ |= {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    url = f"http://127.0.0.1:{port}/predict"
    return _seconds(command, url, _seldon_body(forest), environ, folder / "microservice.log")


def _mlserver(forest: Forest, python: Path, folder: Path) -> float:
    place, ports = folder / "mlserver", [free_port() for _ in range(3)]
    place.mkdir(exist_ok=True)
    settings = {"host": "127.0.0.1", "parallel_workers": 0}
    settings |= dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    model = {"name": "forest", "implementation": "mlserver_mlflow.MLflowRuntime"}
    (place / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (place / "model-settings.json").write_text(
        json.dumps({**model, "parameters": {"uri": str(forest.sklearns)}}), encoding="utf-8"
    )
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [float(value)]}
        for name, value in forest.row.iloc[0].items()
    ]
    body = json.dumps({"inputs": inputs, "parameters": {"content_type": "pd"}}).encode()
    command = [str(python.parent / "mlserver"), "start", str(place)]
    environ = {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    return _seconds(
        command, f"http://127.0.0.1:{ports[0]}/v2/models/forest/infer", body, environ, folder / "mlserver.log"
    )


def _seldon_body(forest: Forest) -> bytes:
    names = [str(name) for name in forest.row.columns]
    return json.dumps({"data": {"names": names, "ndarray": forest.row.to_numpy().tolist()}}).encode()


def _seconds(command: list[str], url: str, body: bytes, environ: dict[str, str], log: Path) -> float:
    begun = time.perf_counter()
    with first_answer(command, url=url, body=body, log=log, environ=environ):
        return time.perf_counter() - begun


if __name__ == "__main__":
    run(measure)
