"""Run by `benchmarks.drift` in Evidently's environment: `drift_evidently.py CASES.npz`; prints JSON.

For each case: whether any column is flagged and whether the data set is (half of the columns), window by window, with
the seconds of each report. Everything at its defaults.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

warnings.filterwarnings("ignore")


def look(reference: pd.DataFrame, window: pd.DataFrame) -> tuple[bool, bool, float]:
    started = time.perf_counter()
    metrics = Report([DataDriftPreset()]).run(window, reference).dict()["metrics"]
    took = time.perf_counter() - started
    share = next(metric["value"] for metric in metrics if metric["metric_name"].startswith("DriftedColumnsCount"))
    return share["count"] > 0, share["share"] >= 0.5, took


def main() -> None:
    arrays = np.load(sys.argv[1])
    found = []
    for number in range(int(arrays["cases"])):
        names = [f"c{column}" for column in range(arrays[f"{number}/reference"].shape[1])]
        reference = pd.DataFrame(arrays[f"{number}/reference"], columns=names)
        looks = [look(reference, pd.DataFrame(window, columns=names)) for window in arrays[f"{number}/windows"]]
        print(f"evidently: case {number + 1} of {int(arrays['cases'])}", file=sys.stderr, flush=True)
        any_column, data_set, took = (list(values) for values in zip(*looks, strict=True))
        found.append({"any": any_column, "set": data_set, "s": took})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
