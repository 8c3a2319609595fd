"""What a window of scored rows says, as one vector for each test.

`calibration` asks it of training windows, `check` of new ones.

Each test has its side, the effect from which on it matters to people, and a floor for its standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.yardstick import Scores, Yardstick

Family = Literal["inputs", "together", "predictions", "quality"]
TINY = 1e-3

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test of a window.

    name, family: as findings name it. both: whether too little is as odd as too much. matters: the effect from which
    on it may be red. unit: of the effect. floor: of the standard deviation over windows. logarithm: whether the
    statistic is a logarithm, so that the effect is a ratio. share: of the look's level, beside the 1 of other tests:
    what is hardly ever seen when nothing is wrong needs little of it.
    """

    name: str
    family: Family
    both: bool
    matters: float
    unit: str
    floor: float
    logarithm: bool = False
    share: float = 1.0

    __test__ = False  # pytest: this is no test case


TESTS = (
    Test(name="location", family="inputs", both=True, matters=0.2, unit="training sd", floor=0.01),
    Test(name="spread", family="inputs", both=True, matters=1.2, unit="times", floor=0.02, logarithm=True),
    Test(name="roughness", family="inputs", both=True, matters=1.5, unit="times", floor=0.05, logarithm=True),
    Test(name="shape", family="inputs", both=False, matters=0.1, unit="share (KS)", floor=0.005),
    Test(name="nearest kind", family="inputs", both=True, matters=0.1, unit="training sd", floor=0.005),
    Test(name="relation", family="together", both=True, matters=0.5, unit="sd of the relation", floor=0.02),
    Test(name="relation spread", family="together", both=False, matters=1.3, unit="times", floor=0.02, logarithm=True),
    Test(name="relation change", family="together", both=False, matters=1.5, unit="times", floor=0.05, logarithm=True),
    Test(name="correlation", family="together", both=True, matters=0.2, unit="of correlation", floor=0.005),
    Test(name="distance", family="together", both=False, matters=1.3, unit="times", floor=0.02, logarithm=True),
    Test(name="missing", family="quality", both=False, matters=0.02, unit="of rows", floor=0.0, share=0.25),
    Test(name="stuck", family="quality", both=False, matters=0.2, unit="of rows", floor=0.0, share=0.25),
    Test(name="outside", family="quality", both=False, matters=0.02, unit="of rows", floor=0.0, share=0.25),
    Test(name="class share", family="predictions", both=True, matters=0.1, unit="of rows", floor=0.0),
    Test(name="probability", family="predictions", both=True, matters=0.05, unit="of probability", floor=0.005),
    Test(name="prediction by kind", family="predictions", both=True, matters=0.1, unit="of probability", floor=0.005),
)
BY_NAME = {test.name: test for test in TESTS}
RATES = frozenset({"missing", "stuck", "outside", "class share"})
RARE = frozenset({"missing", "stuck", "outside"})  # mostly never seen in training


def statistics(scores: Scores, yardstick: Yardstick) -> dict[str, Vector]:
    """One vector for each test that applies: an entry an input, a pair, a class, or one for all.

    NaN where a window has too few cells of an input to say: that they are missing is for the test of that name.
    """
    n = len(scores.z)
    present = scores.present.sum(axis=0)
    here = np.maximum(present, 1)
    mean = scores.z.sum(axis=0) / here
    deviation = np.where(scores.present, scores.z - mean, 0.0)
    variance = (deviation**2).sum(axis=0) / here
    stepped = scores.stepped.sum(axis=0)
    steps = np.maximum(stepped, 1)
    cumulated = np.cumsum(yardstick.counts(scores.place), axis=1)
    seen, moved = present > 0, stepped > 0
    found = {
        "location": np.where(seen, mean, np.nan),
        "spread": np.where(present > 1, 0.5 * np.log(variance + TINY**2), np.nan),
        "roughness": np.where(moved, np.log(scores.step.sum(axis=0) / steps + TINY), np.nan),
        "shape": np.where(seen, np.abs(cumulated - yardstick.cumulated).max(axis=1), np.nan),
        "nearest kind": np.where(seen, scores.residual.sum(axis=0) / here, np.nan),
        "relation": scores.relation.mean(axis=0),
        "relation spread": np.log((scores.relation**2).mean(axis=0) + TINY),
        "relation change": np.where(moved, np.log(scores.jump.sum(axis=0) / steps + 0.05), np.nan),
        "distance": np.atleast_1d(scores.distance.mean()),
        "missing": 1 - present / n,
        "stuck": scores.equal.sum(axis=0) / steps,
        "outside": scores.outside.mean(axis=0),
    }
    i, j = yardstick.pairs
    if len(i):
        size = np.sqrt(variance + TINY**2)
        covariance = np.einsum("np,np->p", deviation[:, i], deviation[:, j]) / n
        correlation = np.arctanh(np.clip(covariance / (size[i] * size[j]), -0.999, 0.999))
        found["correlation"] = np.where((present[i] > 3) & (present[j] > 3), correlation, np.nan)
    if scores.probabilities.shape[1]:
        labels = scores.probabilities.argmax(axis=1)
        found["class share"] = np.bincount(labels, minlength=scores.probabilities.shape[1]) / n
        found["probability"] = np.append(scores.probabilities.mean(axis=0), scores.probabilities.max(axis=1).mean())
        found["prediction by kind"] = scores.surprise.mean(axis=0)
    return found
