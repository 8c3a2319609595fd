"""Prints the median time of one `mlflow.pyfunc` predict on a ready one-row DataFrame; benchmarks.one_row starts it.

Takes a model folder and a JSON file with `dataframe_split`. Imports nothing of this project: the peer lives elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median

import mlflow.pyfunc
import pandas as pd

CALLS = 200


def main() -> None:
    model = mlflow.pyfunc.load_model(sys.argv[1])
    split = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))["dataframe_split"]
    row = pd.DataFrame(split["data"], columns=split["columns"])
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        model.predict(row)
        times.append(time.perf_counter() - start)
    print(json.dumps({"median_us": median(times[CALLS // 10 :]) * 1e6}))


if __name__ == "__main__":
    main()
