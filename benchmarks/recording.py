"""Requests/s with the prediction record on against off, and what 100 SIGKILLs under load lose of what was acknowledged.

Throughput: one scorer that records and one that does not, loaded in turn for short spells, one row of JSON a request;
the ratio is taken pair by pair, and the order in a pair alternates. Once alone, once while a shipper stores the rows.
Beside it the same ratio of processor time for each request, which other work on the machine does not swing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.forest import Forest, grow_forest
from benchmarks.kills import kill_again_and_again, recording
from benchmarks.load import run_load
from benchmarks.report import Row, run, say, spread
from benchmarks.servers import free_port, running

CONNECTIONS = (1, 8, 64)
ASKED = 0.9
KILLS = 100


def measure(pairs: int = 15, seconds: float = 1.5, kills: int = KILLS) -> list[Row]:
    """The ratios, and the acknowledged predictions that were lost."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        forest = grow_forest(folder)
        rows = throughput(forest, folder / "alone", pairs, seconds, shipped=False)
        rows += throughput(forest, folder / "shipped", pairs, seconds, shipped=True)
        tally = kill_again_and_again(forest.ours, forest.body.read_bytes(), folder / "kills", kills)
    detail = {"acknowledged": len(tally.acknowledged), "recorded": len(tally.recorded), "torn bytes": tally.torn_bytes}
    what = f"acknowledged predictions lost in {kills} SIGKILLs"
    return [*rows, Row(what=what, measured=tally.lost, asked=0, unit="", at_most=True, detail=detail)]


def throughput(forest: Forest, folder: Path, pairs: int, seconds: float, *, shipped: bool) -> list[Row]:
    """Recording on against off at each number of connections."""
    folder.mkdir()
    with ExitStack() as stack:
        ports = {mode: free_port() for mode in ("on", "off")}
        for mode, port in ports.items():
            command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(forest.ours), "--port", str(port)]
            environ = {**recording(folder / "record", mode), "HYDRAULIC_RECORD_MB": "20000"}
            log = folder / f"{mode}.log"
            stack.enter_context(running(command, port=port, ready="/v2/health/ready", log=log, environ=environ))
        if shipped:
            _start_shipper(stack, folder)
        suffix = ", with a shipper at work" if shipped else ""
        return [
            row for connections in CONNECTIONS for row in _ratios(forest, ports, pairs, seconds, connections, suffix)
        ]


def _ratios(
    forest: Forest, ports: dict[str, int], pairs: int, seconds: float, connections: int, suffix: str
) -> list[Row]:
    ratios: list[float] = []
    seen: dict[str, list[float]] = {"on": [], "off": []}
    spent: dict[str, list[float]] = {"on": [], "off": []}
    for number in range(pairs):
        for mode in ("on", "off") if number % 2 else ("off", "on"):
            before = _counts(ports[mode])
            load = run_load(ports[mode], "/invocations", forest.body, connections=connections, seconds=seconds)
            after = _counts(ports[mode])
            seen[mode].append(load.per_second)
            spent[mode].append(1e6 * (after[0] - before[0]) / (after[1] - before[1]))
        ratios.append(seen["on"][-1] / seen["off"][-1])
        say(f"{connections} connections, pair {number + 1} of {pairs}: {ratios[-1]:.3f}")
    plural = "s" if connections > 1 else ""
    where = f"recording at {connections} connection{plural}, against not recording{suffix}"
    detail = {"ratio": spread(ratios), **{mode: spread(values) for mode, values in seen.items()}}
    each = [off / on for on, off in zip(spent["on"], spent["off"], strict=True)]
    cpu = {f"us {mode}": spread(values) for mode, values in spent.items()}
    return [
        Row(what=f"requests/s {where}", measured=median(ratios), asked=ASKED, detail=detail),
        Row(what=f"requests for a second of processor time {where}", measured=median(each), asked=ASKED, detail=cpu),
    ]


def _counts(port: int) -> tuple[float, float]:
    """Processor time that the scorer has used, in s, and requests that it has answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    cpu = next(float(line.split()[-1]) for line in lines if line.startswith("process_cpu_seconds_total "))
    asked = sum(float(line.split()[-1]) for line in lines if line.startswith("http_requests_total{"))
    return cpu, asked


def _start_shipper(stack: ExitStack, folder: Path) -> None:
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "record", "ship", "--follow"]
    environ = {**os.environ, **recording(folder / "record")}
    with (folder / "ship.log").open("wb") as log:
        shipper = subprocess.Popen(command, env=environ, stderr=log)

    def end() -> None:
        shipper.kill()  # the record is thrown away: nothing is worth waiting for
        shipper.wait()
        shutil.rmtree(folder / "record", ignore_errors=True)

    stack.callback(end)


if __name__ == "__main__":
    run(measure)
