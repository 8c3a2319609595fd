"""Requests/s through the router of seldon-local: against its scorer asked directly, and against aiohttp as a proxy.

One deployment with one scorer (onnxruntime, a logistic regression on three columns, so that the router weighs as much
as it can), one row of JSON per request. The proxy asks the same scorer; all are loaded in turn, round by round.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from urllib.parse import urlparse

from benchmarks.load import Load, run_load
from benchmarks.peers import peer_python
from benchmarks.report import Row, alternate, run, spread
from benchmarks.servers import free_port, running
from benchmarks.update_under_load import ROW, deployment, save_models
from mlflow_hydraulic.deploy_targets.local.folder import Folder
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.plugin.models import fetch
from mlflow_hydraulic.settings import Settings

CONNECTIONS = (1, 8, 64)
AIOHTTP = ["aiohttp>=3.11,<4", f"uvloop=={version('uvloop')}"]
PEERS = {"direct": "the scorer asked directly", "aiohttp": "aiohttp's server and client as a proxy"}


def measure(rounds: int = 5, seconds: float = 2.0) -> list[Row]:
    """Rows of throughput through the router for every number of connections, against both."""
    peer = peer_python("aiohttp", AIOHTTP)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-")))
        ports = _start_all(stack, peer, folder)
        body = folder / "row.json"
        body.write_text(json.dumps(ROW), encoding="utf-8")
        loads: dict[tuple[str, int], list[Load]] = {}

        def load(name: str, connections: int) -> float:
            seen = run_load(ports[name], "/invocations", body, connections=connections, seconds=seconds)
            loads.setdefault((name, connections), []).append(seen)
            return seen.per_second

        for connections in CONNECTIONS:
            alternate(rounds, {n: lambda n=n, c=connections: load(n, c) for n in ports})  # type: ignore[misc]
    return [row for connections in CONNECTIONS for row in _rows(loads, connections)]


def _start_all(stack: ExitStack, peer: Path, folder: Path) -> dict[str, int]:
    target = LocalTarget(Settings(home=folder))
    stack.callback(target.delete, "bench", "bench")
    made = target.apply(deployment([fetch(str(path), folder) for path in save_models(folder)], 0))
    seen = Folder(folder, "bench", "bench").read_seen()
    assert seen is not None
    ports = {"router": urlparse(made.url).port or 0, "direct": seen.scorers[0].port, "aiohttp": free_port()}
    proxy = [str(peer), "-m", "benchmarks.aiohttp_proxy", str(ports["aiohttp"]), str(ports["direct"])]
    stack.enter_context(running(proxy, port=ports["aiohttp"], ready="/v2/health/ready", log=folder / "proxy.log"))
    return ports


def _rows(loads: dict[tuple[str, int], list[Load]], connections: int) -> list[Row]:
    def of(name: str, figure: str) -> list[float]:
        return [float(getattr(load, figure)) for load in loads[name, connections]]

    rows = []
    for peer, called in PEERS.items():
        names = ("router", peer)
        detail = {
            "rounds": len(loads["router", connections]),
            "per_second": {name: spread(of(name, "per_second")) for name in names},
            "p50_ms": {name: spread(of(name, "p50_ms"))["median"] for name in names},
            "p99_ms": {name: spread(of(name, "p99_ms"))["median"] for name in names},
        }
        ratio = median(of("router", "per_second")) / median(of(peer, "per_second"))
        what = f"requests/s through the router at {connections} connection{'s' if connections > 1 else ''}"
        rows.append(Row(what=f"{what}, against {called}", measured=ratio, detail=detail))
    return rows


if __name__ == "__main__":
    run(measure)
