"""Requests/s and latency: our scorer against `mlflow models serve` on the same forest, and against the echo floor.

One worker each, one row of JSON per request to /invocations, keep-alive; ids and metrics are on, as always. All three
run at once and are loaded in turn, round by round, by the same generator in a process of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.forest import Forest, grow_forest
from benchmarks.load import Load, run_load
from benchmarks.peers import MLFLOW, peer_python
from benchmarks.report import Row, alternate, run, spread
from benchmarks.servers import free_port, running

CONNECTIONS = (1, 8, 64)
ASKED = {"mlflow": 200.0, "echo": 0.5}  # at 8 connections
PEERS = {"mlflow": "`mlflow models serve`", "echo": "the echo floor"}


def measure(rounds: int = 5, seconds: float = 2.0) -> list[Row]:
    """Rows of throughput and latency for every number of connections, against both peers."""
    peer = peer_python("mlflow", MLFLOW)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        forest = grow_forest(folder)
        ports = _start_all(stack, forest, peer, folder)
        loads: dict[tuple[str, int], list[Load]] = {}

        def load(name: str, connections: int) -> float:
            seen = run_load(ports[name], "/invocations", forest.body, connections=connections, seconds=seconds)
            loads.setdefault((name, connections), []).append(seen)
            return seen.per_second

        for connections in CONNECTIONS:
            alternate(rounds, {n: lambda n=n, c=connections: load(n, c) for n in ports})  # type: ignore[misc]
    return [row for connections in CONNECTIONS for row in _rows(loads, connections, forest.origin)]


def _start_all(stack: ExitStack, forest: Forest, peer: Path, folder: Path) -> dict[str, int]:
    ports = {name: free_port() for name in ("ours", "mlflow", "echo")}
    ours = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(forest.ours), "--host", "127.0.0.1"]
    ours += ["--port", str(ports["ours"]), "--name", "forest", "--version", "1"]
    mlflow = [str(peer.parent / "mlflow"), "models", "serve", "-m", str(forest.sklearns), "--env-manager", "local"]
    mlflow += ["-h", "127.0.0.1", "-p", str(ports["mlflow"]), "-w", "1"]
    echo = [sys.executable, "-m", "benchmarks.echo", str(ports["echo"])]
    path = {"PATH": f"{peer.parent}{os.pathsep}{os.environ['PATH']}"}  # it starts `uvicorn` from PATH
    for name, command, ready, environ in (
        ("ours", ours, "/v2/health/ready", {}),
        ("mlflow", mlflow, "/ping", path),
    ):
        log = folder / f"{name}.log"
        stack.enter_context(running(command, port=ports[name], ready=ready, log=log, environ=environ))
    stack.enter_context(running(echo, port=ports["echo"], ready="/", log=folder / "echo.log"))
    return ports


def _rows(loads: dict[tuple[str, int], list[Load]], connections: int, origin: str) -> list[Row]:
    def of(name: str, figure: str) -> list[float]:
        return [float(getattr(load, figure)) for load in loads[name, connections]]

    rows = []
    for peer, called in PEERS.items():
        names = ("ours", peer)
        detail = {
            "data": origin,
            "rounds": len(loads["ours", connections]),
            "per_second": {name: spread(of(name, "per_second")) for name in names},
            "p50_ms": {name: spread(of(name, "p50_ms"))["median"] for name in names},
            "p99_ms": {name: spread(of(name, "p99_ms"))["median"] for name in names},
            "generator_cpu_share": {name: spread(of(name, "cpu_share"))["median"] for name in names},
        }
        asked = ASKED[peer] if connections == 8 else None
        ratio = median(of("ours", "per_second")) / median(of(peer, "per_second"))
        what = f"requests/s at {connections} connection{'s' if connections > 1 else ''}, against {called}"
        rows.append(Row(what=what, measured=ratio, asked=asked, detail=detail))
    faster = median(of("mlflow", "p99_ms")) / median(of("ours", "p99_ms"))
    what = f"p99 latency at {connections} connection{'s' if connections > 1 else ''}, shorter than {PEERS['mlflow']}"
    return [*rows, Row(what=what, measured=faster)]


if __name__ == "__main__":
    run(measure)
