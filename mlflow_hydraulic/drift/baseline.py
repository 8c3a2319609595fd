"""A reference ready to judge windows: its yardstick, and calibrations by length of window, stored or made when asked.

`monitor` keeps one a model version; `bundle` stores what `to_arrays` gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift import reference as references
from mlflow_hydraulic.drift.blocks import drawn_length
from mlflow_hydraulic.drift.calibration import Calibration, Tail, calibrate
from mlflow_hydraulic.drift.reference import Reference
from mlflow_hydraulic.drift.statistics import BY_NAME
from mlflow_hydraulic.drift.threads import one_thread
from mlflow_hydraulic.drift.yardstick import Yardstick
from mlflow_hydraulic.errors import BadInput

FEWEST = 10  # rows of a window that is judged at all
STEP = 1.1  # lengths of windows that are calibrated: FEWEST times powers of it
SHARE = 8  # a consecutive window is at most 1 / SHARE of the training rows: else there is nothing to calibrate with
STORED = (50, 100, 500)  # rows; calibrated at training

Arrays = dict[str, NDArray[np.generic]]


class Baseline:
    """What windows are compared with. Calibrations are made once for a length; `seed` fixes their bits."""

    def __init__(self, reference: Reference, *, seed: int = 0) -> None:
        self.reference = reference
        with one_thread():
            self.yardstick = Yardstick(reference)
        self.seed = seed
        self._calibrations: dict[int, Calibration] = {}

    @property
    def most(self) -> int:
        """Rows of the longest window that is judged as a whole."""
        n, block = len(self.reference), self.reference.block
        return max(n // SHARE, FEWEST) if block > 1 and drawn_length(block) >= n // SHARE else n

    def judged(self, rows: int) -> int:
        """How many rows of a window of `rows` are judged, its last ones; 0 where they are too few."""
        rows = min(rows, self.most)
        if rows < FEWEST:
            return 0
        if rows in self._calibrations:
            return rows
        stepped = int(FEWEST * STEP ** math.floor(math.log(rows / FEWEST) / math.log(STEP) + 1e-9))
        return max([stepped, *(size for size in self._calibrations if size <= rows)])

    def calibration(self, rows: int) -> Calibration:
        """For windows of so many rows, of which `judged` says that they are."""
        found = self._calibrations.get(rows)
        if found is None:
            with one_thread():
                found = self._calibrations[rows] = calibrate(self.yardstick, rows, seed=self.seed)
        return found

    def keep(self, calibration: Calibration) -> None:
        """Takes a stored calibration instead of making it."""
        self._calibrations[calibration.rows] = calibration

    def prepare(self, sizes: Sequence[int] = STORED) -> None:
        """Calibrates for windows of these sizes, or of the largest that the reference allows."""
        for size in sizes:
            self.calibration(max(min(size, self.most), FEWEST))

    def to_arrays(self) -> Arrays:
        """Everything, as arrays to store."""
        arrays = references.to_arrays(self.reference)
        for rows, calibration in sorted(self._calibrations.items()):
            arrays.update({f"calibration/{rows}/{name}": array for name, array in _stored(calibration).items()})
        return arrays


def baseline_from(arrays: Mapping[str, NDArray[np.generic]], names: Sequence[str], *, seed: int = 0) -> Baseline:
    """What `to_arrays` stored; `BadInput` names the array that does not fit."""
    reference = references.from_arrays(arrays, names)
    baseline = Baseline(reference, seed=seed)
    found: dict[int, Arrays] = {}
    for name, array in arrays.items():
        if name.startswith("calibration/"):
            _, rows, rest = name.split("/", 2)
            if not rows.isdigit() or array.dtype.kind != "f":
                raise BadInput(f"reference: the array {name!r} is no calibration")
            found.setdefault(int(rows), {})[rest] = array
    # Held against what this version would calibrate: an older one may have had other tests.
    calibrations = [read for rows, parts in found.items() if (read := _read(rows, parts))]
    for calibration in calibrations:
        baseline.keep(calibration)
    return baseline


def _stored(calibration: Calibration) -> Arrays:
    head = np.array(
        [
            calibration.worth,
            float(calibration.consecutive),
            calibration.scale,
            calibration.known,
            calibration.block,
        ]
    )
    arrays: Arrays = {"head": head}
    for name, tail in calibration.tails.items():
        arrays[f"{name}/center"] = calibration.center[name]
        arrays[f"{name}/spread"] = calibration.spread[name]
        arrays[f"{name}/weight"] = calibration.weight[name]
        arrays[f"{name}/tail"] = np.array([tail.worth, tail.start, tail.share, tail.slope])
        arrays[f"{name}/sorted"] = tail.sorted
    return arrays


def _read(rows: int, parts: Arrays) -> Calibration | None:
    """A stored calibration; None where it was made by other tests than this version's, and is to be made anew."""
    names = sorted({name.rsplit("/", 1)[0] for name in parts if "/" in name})
    head = np.asarray(parts.get("head", np.empty(0)), dtype=np.float64)
    needed = {f"{name}/{part}" for name in names for part in ("center", "spread", "weight", "tail", "sorted")}
    if head.shape != (5,) or not set(names) <= set(BY_NAME) or not needed <= set(parts) or rows < FEWEST:
        return None
    take = {name: np.asarray(array, dtype=np.float64) for name, array in parts.items()}
    tails = {}
    for name in names:
        if take[f"{name}/tail"].shape != (4,) or not np.isfinite(take[f"{name}/tail"]).all():
            raise BadInput(f"reference: the calibration of {rows} rows, test {name!r}, is not whole")
        worth, start, share, slope = take[f"{name}/tail"].tolist()
        tails[name] = Tail(sorted=take[f"{name}/sorted"], worth=worth, start=start, share=share, slope=slope)
    columns = {name: {part: take[f"{name}/{part}"] for part in ("center", "spread", "weight")} for name in names}
    shapes = {name: {array.shape for array in parts.values()} for name, parts in columns.items()}
    if any(len(found) != 1 for found in shapes.values()):
        raise BadInput(f"reference: the calibration of {rows} rows has arrays of different lengths")
    return Calibration(
        rows=rows,
        worth=float(head[0]),
        consecutive=bool(head[1]),
        center={name: columns[name]["center"] for name in names},
        spread={name: columns[name]["spread"] for name in names},
        weight={name: columns[name]["weight"] for name in names},
        tails=tails,
        scale=float(head[2]),
        known=int(head[3]),
        block=float(head[4]),
    )
