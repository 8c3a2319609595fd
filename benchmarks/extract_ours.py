"""Prints the CPU seconds that our features of all cycles take; started by benchmarks.features, alone in its process."""

from __future__ import annotations

import json
import time

from mlflow_hydraulic.rig.features import CycleStatistics
from mlflow_hydraulic.rig.find import find_cycles
from mlflow_hydraulic.settings import read_settings


def main() -> None:
    cycles = find_cycles(read_settings(), fetch=False)
    CycleStatistics().fit_transform(cycles)  # warm-up: lazy imports are not features
    start = time.process_time()
    table = CycleStatistics().fit_transform(cycles)
    print(json.dumps({"cpu_s": time.process_time() - start, "columns": table.shape[1]}))


if __name__ == "__main__":
    main()
