"""Makes `Cycles` of checked numbers: runs, means, digest. Every loader and the simulation end here."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mlflow_hydraulic.rig.cycles import CONDITION_COLUMNS, SENSOR_COLUMNS, Cycles, Origin

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPONENTS = CONDITION_COLUMNS[:4]  # the stable flag is no component: it does not start a new run
DIGEST_DECIMALS = 6


def cycles_of_seconds(
    seconds: NDArray[np.float64],
    conditions: NDArray[np.int64] | None,
    *,
    run: NDArray[np.int64] | None = None,
    origin: Origin,
    source: str,
) -> Cycles:
    """`Cycles` of per-second means, shape (n, 17, 60), and of conditions, shape (n, 5), that a loader has checked.

    `run` is taken as given (a sample of cycles keeps the numbers of the whole), else derived by `runs_of`.
    """
    seconds = np.ascontiguousarray(seconds, dtype=np.float64)
    return _cycles(seconds.mean(axis=2), conditions, run, seconds=seconds, origin=origin, source=source)


def cycles_of_means(
    means: NDArray[np.float64],
    conditions: NDArray[np.int64] | None,
    *,
    run: NDArray[np.int64] | None = None,
    origin: Origin,
    source: str,
) -> Cycles:
    """`Cycles` without seconds, of per-cycle means, shape (n, 17), and of conditions, shape (n, 5)."""
    return _cycles(means, conditions, run, seconds=None, origin=origin, source=source)


def runs_of(conditions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number, from 0, of the contiguous block in which the four component conditions stay the same.

    >>> runs_of(np.array([[3, 100, 0, 130, 1], [3, 100, 0, 130, 0], [3, 73, 0, 130, 0]]))
    array([0, 0, 1])
    """
    components = conditions[:, : len(COMPONENTS)]
    changed = np.any(components[1:] != components[:-1], axis=1)
    return np.concatenate([[0], np.cumsum(changed)]).astype(np.int64)


def digest_of(numbers: NDArray[np.float64], conditions: NDArray[np.int64] | None) -> str:
    """sha256 over the numbers, hex; sensors are rounded to 6 decimals, so that full-rate text, parquet and CSV of the
    same measurements (which differ in the last bit) have the same digest."""
    digest = hashlib.sha256(repr(numbers.shape).encode())
    digest.update(np.ascontiguousarray(np.round(numbers, DIGEST_DECIMALS) + 0.0, dtype="<f8").tobytes())
    if conditions is not None:
        digest.update(np.ascontiguousarray(conditions, dtype="<i8").tobytes())
    return digest.hexdigest()


def _cycles(
    means: NDArray[np.float64],
    conditions: NDArray[np.int64] | None,
    run: NDArray[np.int64] | None,
    *,
    seconds: NDArray[np.float64] | None,
    origin: Origin,
    source: str,
) -> Cycles:
    labels = None
    if conditions is not None:
        labels = pd.DataFrame(np.asarray(conditions, dtype=np.int64), columns=CONDITION_COLUMNS)
        run = runs_of(conditions) if run is None else np.asarray(run, dtype=np.int64)
    return Cycles(
        means=pd.DataFrame(np.asarray(means, dtype=np.float64), columns=SENSOR_COLUMNS),
        seconds=seconds,
        conditions=labels,
        run=None if conditions is None else run,
        origin=origin,
        source=source,
        digest=digest_of(means if seconds is None else seconds, conditions),
    )
