"""Requests/s with the prediction record on against off, and what 100 SIGKILLs under load lose of what was acknowledged.

Throughput: one scorer that records and one that does not, loaded in turn for short spells, one row of JSON a request;
the ratio is taken pair by pair, and the order in a pair alternates. Once alone, once while a shipper stores the rows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
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
        return [_ratio(forest, ports, folder, pairs, seconds, connections, shipped) for connections in CONNECTIONS]


def _ratio(
    forest: Forest, ports: dict[str, int], folder: Path, pairs: int, seconds: float, connections: int, shipped: bool
) -> Row:
    ratios: list[float] = []
    seen: dict[str, list[float]] = {"on": [], "off": []}
    for number in range(pairs):
        for mode in ("on", "off") if number % 2 else ("off", "on"):
            load = run_load(ports[mode], "/invocations", forest.body, connections=connections, seconds=seconds)
            seen[mode].append(load.per_second)
        ratios.append(seen["on"][-1] / seen["off"][-1])
        say(f"{connections} connections, pair {number + 1} of {pairs}: {ratios[-1]:.3f}")
    plural = "s" if connections > 1 else ""
    what = f"requests/s recording at {connections} connection{plural}, against not recording"
    detail = {"ratio": spread(ratios), **{mode: spread(values) for mode, values in seen.items()}}
    if not shipped:
        detail["journal bytes"] = {"now": float(sum(path.stat().st_size for path in folder.rglob("*.seg")))}
    suffix = ", with a shipper at work" if shipped else ""
    return Row(what=what + suffix, measured=median(ratios), asked=ASKED, detail=detail)


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
