"""One row in process: JSON in to JSON out through our dialect and engine, against `mlflow.pyfunc` predict.

Ours reads a request's bytes, scores them and writes the answer's bytes. The peer, in an environment of its own with
MLflow's sklearn flavor of the same forest, is handed a ready DataFrame and needs no JSON at all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.forest import grow_forest
from benchmarks.peers import MLFLOW, peer_python
from benchmarks.report import Row, alternate, run, spread

HERE = Path(__file__).resolve().parent


def measure(rounds: int = 5) -> list[Row]:
    """One row: microseconds of pyfunc over ours."""
    peer = peer_python("mlflow", MLFLOW)
    with tempfile.TemporaryDirectory() as temporary:
        forest = grow_forest(Path(temporary))

        def timed(command: list[str]) -> float:
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            return float(json.loads(done.stdout.splitlines()[-1])["median_us"])

        ours = [sys.executable, "-m", "benchmarks.one_row_ours", str(forest.ours), str(forest.body)]
        theirs = [str(peer), str(HERE / "one_row_pyfunc.py"), str(forest.sklearns), str(forest.body)]
        seen = alternate(rounds, {"ours": lambda: timed(ours), "pyfunc": lambda: timed(theirs)})
    detail = {"data": forest.origin, "rounds": rounds, "us": {name: spread(times) for name, times in seen.items()}}
    ratio = median(seen["pyfunc"]) / median(seen["ours"])
    what = "one row in process, JSON in to JSON out, against pyfunc predict"
    return [Row(what=what, measured=ratio, asked=300, detail=detail)]


if __name__ == "__main__":
    run(measure)
