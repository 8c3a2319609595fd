"""Run by `benchmarks.drift` in NannyML's environment: `drift_nannyml.py CASES.npz`; prints JSON.

For each case whether any column or the reconstruction error is alerted, window by window: univariate drift, missing
values and data reconstruction, everything at its defaults, a chunk a window.
"""

import json
import os
import sys
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.filterwarnings("ignore")

import nannyml as nml  # noqa: E402 - after the variable above, which it reads when it is imported
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402


def alerts(reference: pd.DataFrame, windows: np.ndarray) -> list[bool]:
    rows, names = windows.shape[1], list(reference.columns)
    stream = pd.DataFrame(windows.reshape(-1, len(names)), columns=names)
    found = np.zeros(len(windows), dtype=bool)
    for kind in (nml.UnivariateDriftCalculator, nml.MissingValuesCalculator, nml.DataReconstructionDriftCalculator):
        result = kind(column_names=names, chunk_size=rows).fit(reference).calculate(stream)
        frame = result.filter(period="analysis").to_df()
        flagged = [frame[column].to_numpy(dtype=bool) for column in frame.columns if column[-1] == "alert"]
        found |= np.any(flagged, axis=0)
    return [bool(one) for one in found]


def main() -> None:
    arrays = np.load(sys.argv[1])
    found = []
    for number in range(int(arrays["cases"])):
        names = [f"c{column}" for column in range(arrays[f"{number}/reference"].shape[1])]
        reference = pd.DataFrame(arrays[f"{number}/reference"], columns=names)
        found.append({"any": alerts(reference, arrays[f"{number}/windows"])})
    print(f"nannyml: {len(found)} cases", file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
