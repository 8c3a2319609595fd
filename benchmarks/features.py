"""Features of all cycles: our per-cycle statistics against tsfresh's MinimalFCParameters, CPU time of each.

tsfresh runs in an environment of its own (it needs pandas < 3). Each round is one process of ours and one of theirs on
the same seconds; what is timed is the extraction alone, never the import or the reading of data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.peers import TSFRESH, peer_python
from benchmarks.report import Row, alternate, run, say, spread
from mlflow_hydraulic.rig.find import find_cycles
from mlflow_hydraulic.settings import read_settings

HERE = Path(__file__).resolve().parent


def measure(rounds: int = 3) -> list[Row]:
    """One row: tsfresh's CPU seconds over ours."""
    peer = peer_python("tsfresh", TSFRESH)
    cycles = find_cycles(read_settings(), fetch=False)
    if cycles.seconds is None:
        raise RuntimeError(f"{cycles.source} holds only means: name data with seconds in HYDRAULIC_DATA")
    say(f"{len(cycles)} {cycles.origin} cycles x 17 sensors x 60 s from {cycles.source}")
    with tempfile.TemporaryDirectory() as temporary:
        seconds = Path(temporary, "seconds.npy")
        np.save(seconds, cycles.seconds)
        last: dict[str, dict[str, float]] = {}

        def extraction(name: str, command: list[str]) -> float:
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            last[name] = json.loads(done.stdout.splitlines()[-1])
            return last[name]["cpu_s"]

        ours = [sys.executable, "-m", "benchmarks.extract_ours"]
        theirs = [str(peer), str(HERE / "extract_tsfresh.py"), str(seconds)]
        seen = alternate(
            rounds,
            {"ours": lambda: extraction("ours", ours), "tsfresh": lambda: extraction("tsfresh", theirs)},
        )
    detail = {
        "data": cycles.origin,
        "rounds": rounds,
        "cpu_s": {name: spread(values) for name, values in seen.items()},
        "features": {name: int(value["columns"]) for name, value in last.items()},
    }
    what = f"features of {len(cycles)} cycles, CPU time, against tsfresh's minimal set"
    return [Row(what=what, measured=median(seen["tsfresh"]) / median(seen["ours"]), asked=100, detail=detail)]


if __name__ == "__main__":
    run(measure)
