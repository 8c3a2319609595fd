"""Prints the CPU seconds that tsfresh takes for the same cycles; benchmarks.features starts it where tsfresh lives.

Takes a .npy file of float64 (cycles, sensors, seconds). Imports nothing of this project: the peer lives elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
from tsfresh import extract_features
from tsfresh.feature_extraction import MinimalFCParameters


def extract(table: pd.DataFrame) -> pd.DataFrame:
    features: pd.DataFrame = extract_features(
        table,
        column_id="cycle",
        column_sort="t",
        default_fc_parameters=MinimalFCParameters(),
        n_jobs=0,  # in this process: no pool to start, and its CPU time is all there is
        disable_progressbar=True,
    )
    return features


def main() -> None:
    warnings.simplefilter("ignore")
    seconds = np.load(sys.argv[1])
    cycles, sensors, length = seconds.shape
    table = pd.DataFrame({f"s{sensor}": seconds[:, sensor, :].ravel() for sensor in range(sensors)})
    table["cycle"] = np.repeat(np.arange(cycles), length)
    table["t"] = np.tile(np.arange(length), cycles)
    extract(table[table.cycle < 3])  # warm-up, as ours has one
    start = time.process_time()
    features = extract(table)
    print(json.dumps({"cpu_s": time.process_time() - start, "columns": features.shape[1]}))


if __name__ == "__main__":
    main()
