"""Small labelled cycles for tests of training: made up, quick, with runs as on the rig."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlflow_hydraulic.rig.cycles import CONDITION_COLUMNS, SENSOR_COLUMNS, Cycles
from mlflow_hydraulic.rig.sensors import CONDITIONS


def labelled_cycles(runs: int = 24, length: int = 5, seed: int = 0) -> Cycles:
    """`runs` blocks of `length` cycles; each condition shifts sensors of its own, with noise upon it."""
    random = np.random.default_rng(seed)
    run = np.repeat(np.arange(runs), length)
    grades = {c.column: random.permutation(np.arange(runs) % len(c.classes))[run] for c in CONDITIONS}
    seconds = random.normal(50, 1, size=(runs * length, 17, 60)) + random.normal(0, 0.3, size=(runs, 17, 1))[run]
    for number, grade in enumerate(grades.values()):
        seconds[:, number * 3 : number * 3 + 3] += 2.0 * grade[:, None, None]
    seconds[:, 16] = 0.0
    conditions = pd.DataFrame({c.column: np.array(c.classes)[grades[c.column]] for c in CONDITIONS}, dtype=np.int64)
    return Cycles(
        means=pd.DataFrame(seconds.mean(axis=2), columns=SENSOR_COLUMNS),
        seconds=seconds,
        conditions=conditions[CONDITION_COLUMNS],
        run=run.astype(np.int64),
        origin="simulated",
        source="made up",
        digest="0" * 64,
    )
