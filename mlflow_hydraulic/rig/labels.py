"""Checks of the labels in a profile: known classes, whole numbers, runs that keep their conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlflow_hydraulic.errors import BadData
from mlflow_hydraulic.rig.sensors import CONDITIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROFILE_COLUMNS = tuple(condition.profile_column for condition in CONDITIONS)


def check_classes(
    values: NDArray[np.float64], file: str, row: Callable[[int], int], columns: Sequence[str | int]
) -> NDArray[np.int64]:
    """The five conditions as whole numbers, shape (n, 5); `BadData` names the first cell with an unknown class.

    `row(i)` is the row of the file in which row `i` of `values` stands; `columns` are the file's names of the five.
    """
    for i, condition in enumerate(CONDITIONS):
        unknown = np.flatnonzero(~np.isin(values[:, i], condition.classes))
        if len(unknown):
            at = int(unknown[0])
            known = ", ".join(map(str, condition.classes))
            problem = f"{values[at, i]:g} is no class of {condition.profile_column}: known are {known}"
            raise BadData(file, problem, row(at), columns[i])
    return values.astype(np.int64)


def check_runs(run: NDArray[np.int64], conditions: NDArray[np.int64], file: str, row: Callable[[int], int]) -> None:
    """`BadData` unless the four component conditions stay the same within a run, and a run is one block."""
    same_run = run[1:] == run[:-1]
    changed = np.any(conditions[1:, :4] != conditions[:-1, :4], axis=1)
    wrong = np.flatnonzero(same_run & changed)
    if len(wrong):
        at = int(wrong[0]) + 1
        raise BadData(file, f"the conditions change within run {run[at]}", row(at), "run")
    starts = np.concatenate([[0], np.flatnonzero(~same_run) + 1])
    _, first = np.unique(run[starts], return_index=True)
    again = np.setdiff1d(np.arange(len(starts)), first)
    if len(again):
        at = int(starts[again[0]])
        raise BadData(file, f"run {run[at]} comes a second time: a run is one block of cycles", row(at), "run")


def integers(values: NDArray[np.float64], file: str, row: Callable[[int], int], column: str) -> NDArray[np.int64]:
    """Whole numbers from 0; `BadData` names the first that is none."""
    wrong = np.flatnonzero((values != np.floor(values)) | (values < 0) | (values >= 2**53))
    if len(wrong):
        at = int(wrong[0])
        raise BadData(file, f"{values[at]:g} is not a whole number from 0", row(at), column)
    return values.astype(np.int64)
