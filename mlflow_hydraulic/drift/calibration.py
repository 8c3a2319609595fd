"""What windows of a given length look like when nothing is wrong: from windows of the training series as they come.

Made once for a length of window (some 0.5 s), at training or at the first look; `check` reads it. A test looks at all
its inputs at once through the largest of their standardised deviations, so that many inputs raise no more alarms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaincinv

from mlflow_hydraulic.drift.blocks import draw_windows
from mlflow_hydraulic.drift.statistics import BY_NAME, RARE, RATES, TESTS, Test, statistics
from mlflow_hydraulic.drift.yardstick import Yardstick

WINDOWS = 2000
CAUTION = 0.05  # the tail's slope is taken at the limit that the true one exceeds in so many cases
LIGHTEST = 2.0  # the slope of normal tails: P(M > t) falls as exp(-t^2 / 2)
LEAST_WEIGHT = 0.75  # of the deviations of an input without importance; the most important one has 1

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tail:
    """How the largest deviation M of a test is spread over normal windows.

    sorted: the M of the calibration windows. worth: how many independent windows these are. Beyond `start`, which a
    share of `share` of them exceed, P(M > t) = share * exp(-(t^2 - start^2) / slope).
    """

    sorted: Vector
    worth: float
    start: float
    share: float
    slope: float

    def p_value(self, deviation: float) -> float:
        """The chance that a normal window deviates so much."""
        if not deviation > self.start:
            above = len(self.sorted) - np.searchsorted(self.sorted, deviation, side="left")
            return float(min((above / len(self.sorted) * self.worth + 1) / (self.worth + 1), 1.0))
        return self.share * math.exp(-min((deviation**2 - self.start**2) / self.slope, 700.0))

    def threshold(self, level: float) -> float:
        """The deviation that a normal window exceeds with the chance `level`."""
        if level >= self.share:
            return float(np.quantile(self.sorted, 1 - level))
        return math.sqrt(self.start**2 + self.slope * math.log(self.share / level))


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Windows of `rows` rows when nothing is wrong.

    center, spread: of each entry of each test's statistic. weight: of each entry, by importance. tails: by test.
    scale: what the statistic of `shape` is divided by, because the training rows are a sample too. known: how many
    training rows there are; block: how long they remember. consecutive: whether windows were the training series' own,
    or put together from blocks.
    """

    rows: int
    worth: float
    consecutive: bool
    center: dict[str, Vector]
    spread: dict[str, Vector]
    weight: dict[str, Vector]
    tails: dict[str, Tail]
    scale: float
    known: int
    block: float

    def deviations(self, name: str, statistic: Vector) -> Vector:
        """Each entry of a new window's statistic in weighted standard deviations over normal windows, 0 and up."""
        value = statistic / self.scale if name == "shape" else statistic
        return _deviations(BY_NAME[name], value, self.center[name], self.spread[name]) * self.weight[name]

    def p_value(self, name: str, statistic: Vector) -> float:
        """The chance that the largest deviation of a normal window is as large as this window's."""
        p_value = self.tails[name].p_value(float(self.deviations(name, statistic).max()))
        return max(p_value, self._rare(name, statistic)) if name in RARE else p_value

    def _rare(self, name: str, statistic: Vector) -> float:
        """The binomial chance of such a rate in any input; what n rows never showed may be in one of n + 1.

        Windows of the training rows cannot tell how often comes what none of them has. Rows are out of range in
        company, as many as the series remembers; cells that are missing or stuck count one by one.
        """
        block = self.block if name == "outside" else 1.0
        rate = np.clip(self.center[name], 1 / (self.known / block + 1), 1.0)
        rows = max(self.rows / block, 1.0)
        counts = np.clip(statistic * rows, 0.0, rows)
        chances = np.where(counts > 0, betainc(np.maximum(counts, 1e-9), rows - counts + 1, rate), 1.0)
        return float(min(chances.min() * len(chances), 1.0))


def calibrate(yardstick: Yardstick, rows: int, *, seed: int = 0, windows: int = WINDOWS) -> Calibration:
    """The calibration for windows of `rows` rows; the same seed gives the same bits."""
    reference = yardstick.reference
    index, worth, consecutive = draw_windows(reference.breaks, rows, reference.block, windows, seed=seed)
    seen = [statistics(yardstick.own.take(chosen), yardstick) for chosen in index]
    share = min(rows / len(reference), 1.0)
    # A window put together from blocks lacks the sampling error of the training rows themselves; a consecutive one
    # was itself part of the training rows it is compared with.
    wider = 1 / (1 - min(share, 0.5)) if consecutive else math.sqrt(1 + share)
    center, spread, weight, tails = {}, {}, {}, {}
    for test in TESTS:
        if test.name not in seen[0]:
            continue
        values = _filled(np.array([found[test.name] for found in seen]))
        floor = _floor(test, values, rows, len(reference))
        middle, width = values.mean(axis=0), np.maximum(values.std(axis=0), floor)
        weight[test.name] = _weights(test.name, values.shape[1], reference.importance, yardstick.pairs)
        if consecutive:
            without = _without_own_time(values, index[:, 0], max(rows, reference.block))
            deviations = _deviations(test, values, without[0], np.maximum(without[1], floor))
        else:
            deviations = _deviations(test, values, middle, width)
        tails[test.name] = _tail((deviations * weight[test.name]).max(axis=1), worth)
        center[test.name] = middle
        spread[test.name] = width if test.name == "shape" else width * wider
    return Calibration(
        rows=rows,
        worth=worth,
        consecutive=consecutive,
        center=center,
        spread=spread,
        weight=weight,
        tails=tails,
        scale=1.0 if consecutive else wider,
        known=len(reference),
        block=reference.block,
    )


def _filled(values: Vector) -> Vector:
    """Windows in which an input has no cells count as the mean of the others."""
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    known = np.where(gaps, 0.0, values).sum(axis=0) / np.maximum((~gaps).sum(axis=0), 1)
    return np.where(gaps, known, values)


def _deviations(test: Test, values: Vector, center: Vector, spread: Vector) -> Vector:
    deviation = (values - center) / spread
    deviation = np.nan_to_num(deviation)  # an entry without a value does not deviate
    return np.asarray(np.abs(deviation) if test.both else np.maximum(deviation, 0.0))


def _floor(test: Test, values: Vector, rows: int, known: int) -> float | Vector:
    """A spread over windows below this is an accident of the training rows.

    Of a rate that was r in training: the binomial one, r taken no nearer to 0 than one event in all training rows.
    """
    if test.name not in RATES:
        return test.floor
    rate = np.clip(values.mean(axis=0), 1 / (known + 2), 1 - 1 / (known + 2))
    return np.asarray(np.sqrt(rate * (1 - rate) / rows))


def _without_own_time(values: Vector, start: NDArray[np.int64], apart: float) -> tuple[Vector, Vector]:
    """Mean and standard deviation over the windows that begin at least `apart` rows away, for each window.

    A window must not set the measure by which it is judged (jackknife over blocks: H. Künsch, 1989). Where none is
    so far away, all are taken.
    """
    low = np.searchsorted(start, start - apart, side="right")
    high = np.searchsorted(start, start + apart, side="left")
    centred = values - values.mean(axis=0)
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(centred, axis=0)])
    squares = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(centred**2, axis=0)])
    others = len(values) - (high - low)
    alone = others < 2
    low, high = np.where(alone, 0, low), np.where(alone, 0, high)
    others = np.where(alone, len(values), others)[:, None]
    mean = (sums[-1] - sums[high] + sums[low]) / others
    variance = (squares[-1] - squares[high] + squares[low]) / others - mean**2
    return mean + values.mean(axis=0), np.sqrt(np.maximum(variance, 0.0))


def _weights(name: str, entries: int, importance: Vector, pairs: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Vector:
    """By importance, for tests of inputs; the importance of inputs that say the same is shared, so none counts 0."""
    k = len(importance)
    each = LEAST_WEIGHT + (1 - LEAST_WEIGHT) * importance / importance.max()
    if name == "correlation":
        return np.asarray(np.maximum(each[pairs[0]], each[pairs[1]]))
    inputs = entries == k and BY_NAME[name].family in ("inputs", "together")
    return np.asarray(each if inputs else np.ones(entries))


def _tail(largest: Vector, worth: float) -> Tail:
    """The exponential tail of M^2, peaks over a threshold (J. Pickands, Annals of Statistics 3, 1975).

    The slope is the mean excess at its upper confidence limit: few independent windows give far thresholds.
    """
    ordered = np.sort(largest)
    share = float(np.clip(10 / worth, 0.05, 0.5))
    start = float(np.quantile(ordered, 1 - share))
    excess = ordered[ordered > start] ** 2 - start**2
    exceeding = max(share * worth, 1.0)
    caution = exceeding / float(gammaincinv(exceeding, CAUTION))
    slope = max(float(excess.mean()) if len(excess) else 0.0, LIGHTEST) * caution
    return Tail(sorted=ordered, worth=worth, start=start, share=share, slope=slope)
