"""One look at one window: every test against the calibrated baseline, within the user's false-alarm budget.

`monitor` calls `check_window` and turns results into findings. Pure: the same arguments give the same results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.baseline import FEWEST, Baseline
from mlflow_hydraulic.drift.budget import Budget
from mlflow_hydraulic.drift.calibration import Calibration
from mlflow_hydraulic.drift.picture import Picture, picture_of
from mlflow_hydraulic.drift.statistics import TESTS, Family, Test, statistics
from mlflow_hydraulic.drift.threads import one_thread
from mlflow_hydraulic.drift.words import sentence
from mlflow_hydraulic.errors import BadInput

Colour = Literal["grey", "green", "orange", "red"]
MOST_FEATURES = 8  # named in a result

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult:
    """What one test said of one window.

    colour: red is within the budget and has an effect that matters; orange is softer in one of both. cause: one
    sentence. effect, unit: how much, of the entry that deviates most. p_value: the chance of such a deviation in a
    normal window, corrected for all inputs and all tests of the look. deviation: in weighted standard deviations over
    normal windows; orange_from, red_from: its thresholds. features: the most deviating first, `deviations` theirs.
    rows: how many were judged. picture: numbers to draw, of the first feature.
    """

    test: str
    family: Family
    colour: Colour
    cause: str
    effect: float
    unit: str
    p_value: float
    deviation: float
    orange_from: float
    red_from: float
    rows: int
    features: tuple[str, ...] = ()
    deviations: tuple[float, ...] = ()
    picture: Picture | None = None


def check_window(
    baseline: Baseline,
    inputs: NDArray[np.float64],
    *,
    probabilities: NDArray[np.float64] | None = None,
    labels: tuple[object, ...] = (),
    budget: Budget | None = None,
    elapsed_s: float | None = None,
) -> list[DriftResult]:
    """Every test's result, the worst first; one grey result where the window has too few rows.

    inputs: (n, k), scored rows in time order, NaN for a missing cell. probabilities: (n, c), None for a regression.
    labels: names of the classes. elapsed_s: since the look before; None: as the budget says.
    Raises `BadInput` for shapes that do not fit the baseline.
    """
    budget = budget or Budget()
    rows = np.asarray(inputs, dtype=np.float64)
    names = baseline.reference.names
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise BadInput(f"window of shape {rows.shape}: must have the {len(names)} inputs of the baseline")
    if probabilities is not None and len(probabilities) != len(rows):
        raise BadInput(f"{len(probabilities)} rows of probabilities for {len(rows)} rows of inputs: must be as many")
    judged = baseline.judged(len(rows))
    if not judged:
        return [_too_few(len(rows))]
    calibration = baseline.calibration(judged)
    rows = rows[-judged:]
    with one_thread():
        scores = baseline.yardstick.scores(rows, None if probabilities is None else probabilities[-judged:])
        found = statistics(scores, baseline.yardstick)
    tests = [test for test in TESTS if test.name in found and test.name in calibration.tails]
    look = _Look(
        baseline=baseline,
        calibration=calibration,
        rows=rows,
        shares=sum(test.share for test in tests),
        red=budget.level(elapsed_s),
        orange=budget.orange_level(elapsed_s),
        labels=labels,
    )
    results = [_judged(test, found[test.name], look) for test in tests]
    # Of two alarms the one that names inputs helps more.
    return sorted(results, key=lambda result: (-_ORDER[result.colour], not result.features, result.p_value))


_ORDER = {"grey": 0, "green": 1, "orange": 2, "red": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What all tests of one look have in common. red, orange: the look's levels; shares: of all its tests."""

    baseline: Baseline
    calibration: Calibration
    rows: NDArray[np.float64]
    shares: float
    red: float
    orange: float
    labels: tuple[object, ...]


def _judged(test: Test, statistic: Vector, look: _Look) -> DriftResult:
    tail = look.calibration.tails[test.name]
    deviations = look.calibration.deviations(test.name, statistic)
    largest = int(deviations.argmax())
    deviation = float(deviations[largest])
    p_value = look.calibration.p_value(test.name, statistic)
    center = float(look.calibration.center[test.name][largest])
    effect, matters = _effect(test, center if np.isnan(statistic[largest]) else float(statistic[largest]), center)
    colour: Colour = "green"
    corrected = p_value * look.shares / test.share
    if corrected <= look.orange and deviation > 0:
        colour = "red" if corrected <= look.red and matters else "orange"
    orange_from = tail.threshold(look.orange * test.share / look.shares)
    about = _about(_entries(test, look, len(deviations)), deviations, orange_from)
    names = look.baseline.reference.names
    picture = None
    if colour != "green" and about and about[0][0] in names:
        picture = picture_of(look.baseline, look.rows, names.index(about[0][0]))
    result = DriftResult(
        test=test.name,
        family=test.family,
        colour=colour,
        cause="",
        effect=effect,
        unit=test.unit,
        p_value=min(corrected, 1.0),
        deviation=deviation,
        orange_from=orange_from,
        red_from=tail.threshold(look.red * test.share / look.shares),
        rows=len(look.rows),
        features=tuple(name for name, _ in about),
        deviations=tuple(value for _, value in about),
        picture=picture,
    )
    return replace(result, cause=_cause(result))


def _effect(test: Test, statistic: float, center: float) -> tuple[float, bool]:
    """The effect in the test's unit, and whether it matters; a ratio below 1 matters as its inverse does."""
    if test.logarithm:
        ratio = math.exp(min(statistic - center, 700.0))
        return ratio, max(ratio, 1 / max(ratio, 1e-300)) >= test.matters
    if test.name == "correlation":
        change = math.tanh(statistic) - math.tanh(center)
        return change, abs(change) >= test.matters
    return statistic - center, abs(statistic - center) >= test.matters


def _about(entries: list[tuple[str, ...]], deviations: Vector, orange_from: float) -> list[tuple[str, float]]:
    """What the test is about, the most deviating first: those beyond the orange threshold, or the first alone."""
    by_name: dict[str, float] = {}
    order = np.argsort(-deviations, kind="stable")
    for place in order[: 4 * MOST_FEATURES]:
        for name in entries[place]:
            by_name.setdefault(name, float(deviations[place]))
    beyond = [item for item in by_name.items() if item[1] >= orange_from]
    return (beyond or list(by_name.items())[: len(entries[order[0]])])[:MOST_FEATURES]


def _entries(test: Test, look: _Look, count: int) -> list[tuple[str, ...]]:
    """What each entry of the test's statistic is about: an input, two, a class, or nothing in particular."""
    yardstick, names = look.baseline.yardstick, look.baseline.reference.names
    if test.family == "predictions":
        known = [str(label) for label in look.labels]
        classes = known if len(known) == yardstick.classes else [str(place) for place in range(yardstick.classes)]
        return [*((f"class {name}",) for name in classes), ("largest probability",)]
    if test.name == "correlation":
        first, second = yardstick.pairs
        return [(names[i], names[j]) for i, j in zip(first, second, strict=True)]
    if test.name == "distance":
        return [()] * count
    return [(name,) for name in names]


def _cause(result: DriftResult) -> str:
    return sentence(
        result.test, result.effect, result.rows, result.p_value, result.features, deviates=result.colour != "green"
    )


def no_baseline(reason: str) -> DriftResult:
    """The grey result of a model without a baseline; `reason` tells why and the way out."""
    return replace(_too_few(0), test="baseline", cause=reason)


def _too_few(rows: int) -> DriftResult:
    return DriftResult(
        test="rows",
        family="inputs",
        colour="grey",
        cause=f"{rows} rows in the window: drift is judged from {FEWEST} rows on; take a longer window",
        effect=math.nan,
        unit="",
        p_value=1.0,
        deviation=0.0,
        orange_from=math.inf,
        red_from=math.inf,
        rows=rows,
    )
