"""Each input of a window on its own, for reports: the test in which it deviates most, by how much, and how surely.

`check` judges and makes findings; this only describes, with the same statistics and calibrations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.drift.picture import Picture, picture_of
from mlflow_hydraulic.drift.statistics import TESTS, statistics
from mlflow_hydraulic.drift.threads import one_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDrift:
    """test, effect, unit: where the input deviates most. p_value: corrected for all inputs and all tests of the look.

    importance: the share of the model's decision that rests on it.
    """

    name: str
    test: str
    effect: float
    unit: str
    p_value: float
    importance: float
    picture: Picture


def each_input(
    baseline: Baseline, inputs: NDArray[np.float64], probabilities: NDArray[np.float64] | None
) -> list[InputDrift]:
    """Every input, the surest deviation first; none of a window that is too short to judge."""
    judged = baseline.judged(len(inputs))
    if not judged:
        return []
    calibration, rows = baseline.calibration(judged), inputs[-judged:]
    with one_thread():
        scores = baseline.yardstick.scores(rows, None if probabilities is None else probabilities[-judged:])
        found = statistics(scores, baseline.yardstick)
    tests = [test for test in TESTS if test.name in found and test.name in calibration.tails]
    alone = [test for test in tests if test.family in ("inputs", "quality")]
    deviations = {test.name: calibration.deviations(test.name, found[test.name]) for test in alone}
    told = []
    for column, name in enumerate(baseline.reference.names):
        chances = {
            test.name: calibration.tails[test.name].p_value(float(deviations[test.name][column]))
            for test in alone
            if len(deviations[test.name]) > column and np.isfinite(found[test.name][column])
        }
        test = next(
            test for test in alone if test.name == min(chances, key=lambda key: chances[key], default="missing")
        )
        change = float(found[test.name][column] - calibration.center[test.name][column])
        told.append(
            InputDrift(
                name=name,
                test=test.name,
                effect=math.exp(min(change, 700.0)) if test.logarithm else change,
                unit=test.unit,
                p_value=min(chances.get(test.name, 1.0) * len(tests), 1.0),
                importance=float(baseline.reference.importance[column]),
                picture=picture_of(baseline, rows, column),
            )
        )
    return sorted(told, key=lambda one: one.p_value)
