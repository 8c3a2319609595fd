"""The streams that `benchmarks.drift` looks at, ours and the peers' alike: real rig cycles and independent noise.

A case is a reference and windows of one length. Real references are all cycles but one stretch (a cooler level with an
accumulator pressure, 133 to 200 consecutive cycles), whose windows are then cycles that nobody has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.faults import Fault, inject
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.sensors import SENSORS

Matrix = NDArray[np.float64]
NAMES = tuple(sensor.column for sensor in SENSORS)
WINDOW = 50  # cycles of a look when detection is measured
EVERY = 10  # cycles between two looks
HEALTHY = 40  # cycles of a stretch before its fault
PLAIN_ROWS = 2000  # of a reference of independent rows
TEMPERATURES = ("tsa_temp", "tsb_temp", "tsc_temp", "tsd_temp")

FAULTS = {
    "+5 K season, all four temperatures": Fault(kind="season", inputs=TEMPERATURES, amount=5.0),
    "offset of 1 sd, psa_bar": Fault(kind="offset", inputs=("psa_bar",), amount=1.0),
    "gain ramp to +10 %, psa_bar": Fault(kind="gain", inputs=("psa_bar",), amount=0.1),
    "noise x2, tsa_temp": Fault(kind="noise", inputs=("tsa_temp",), amount=2.0),
    "correlation break, psa_bar": Fault(kind="correlation", inputs=("psa_bar",)),
    "stuck, fsa_vol_flow": Fault(kind="stuck", inputs=("fsa_vol_flow",)),
    "dropout of 20 %, pump_eff": Fault(kind="missing", inputs=("pump_eff",), amount=0.2),
}
COOLER = "cooler 100 % -> 20 %, reference 100 %"
PLAIN_FAULTS = {
    "shift of 0.5 sd, 1 of 17": Fault(kind="offset", inputs=("f3",), amount=0.5),
    "noise x2, 1 of 17": Fault(kind="noise", inputs=("f3",), amount=2.0),
    "stuck, 1 of 17": Fault(kind="stuck", inputs=("f3",)),
    "dropout of 20 %, 1 of 17": Fault(kind="missing", inputs=("f3",), amount=0.2),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Windows (m, n, k) against a reference (N, k).

    group: what is asked of them. stretch: where they come from. after: (m,), cycles since the fault began at the time
    of the look, 0 and below before it; empty where nothing is wrong.
    """

    group: str
    name: str
    reference: Matrix
    windows: Matrix
    stretch: int = 0
    after: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))


def stretches(cycles: Cycles) -> NDArray[np.int64]:
    """The number of each cycle's stretch, shape (n,): consecutive cycles of a cooler level and accumulator pressure."""
    if cycles.conditions is None:
        raise ValueError(f"{cycles.source} has no conditions")
    kind = cycles.conditions[["cool_cond_y", "hyd_accum_bar_y"]].to_numpy()
    changed: NDArray[np.bool_] = (np.diff(kind, axis=0) != 0).any(axis=1)
    return np.concatenate([[0], np.cumsum(changed)]).astype(np.int64)


def levels(cycles: Cycles) -> NDArray[np.int64]:
    """The cooler's condition of each cycle in percent."""
    if cycles.conditions is None:
        raise ValueError(f"{cycles.source} has no conditions")
    return np.asarray(cycles.conditions["cool_cond_y"].to_numpy(dtype=np.int64))


def warm_ups(cycles: Cycles) -> set[int]:
    """Stretches in which a cooler level begins: a cold start or a changeover, and then the warm-up."""
    stretch, level = stretches(cycles), levels(cycles)
    first = np.concatenate([[0], np.flatnonzero(np.diff(level)) + 1])
    return set(stretch[first].tolist())


def quiet_cases(cycles: Cycles, rows: int, step: int = 10) -> Iterator[Case]:
    """Nothing is wrong: consecutive windows of each stretch, held out of the reference, and all of them held in."""
    x, stretch = _means(cycles), stretches(cycles)
    opens = warm_ups(cycles)
    for number in np.unique(stretch).tolist():
        windows = _windows(x[stretch == number], rows, step)
        group = "held out, a level begins" if number in opens else "held out"
        yield Case(group=group, name=f"{rows}", reference=x[stretch != number], windows=windows, stretch=number)
    every = [_windows(x[stretch == number], rows, step) for number in np.unique(stretch)]
    yield Case(group="seen", name=f"{rows}", reference=x, windows=np.concatenate(every))


def faulty_cases(cycles: Cycles) -> Iterator[Case]:
    """A fault after `HEALTHY` cycles of each held-out stretch in which no level begins."""
    x, stretch, level = _means(cycles), stretches(cycles), levels(cycles)
    for number in sorted(set(np.unique(stretch).tolist()) - warm_ups(cycles)):
        inside, reference = stretch == number, x[stretch != number]
        spread = reference.std(axis=0)
        for name, fault in FAULTS.items():
            if fault.kind == "correlation":  # values of the whole record change places: what is seen of each stays
                broken = inject(x, NAMES, fault, seed=number)[inside]
                rows = np.concatenate([x[inside][:HEALTHY], broken[HEALTHY:]])
            else:
                rows = x[inside].copy()
                rows[HEALTHY:] = inject(rows[HEALTHY:], NAMES, fault, spread=spread, seed=number)
            yield _case(name, reference, _before(x, inside), rows, number)
        if level[inside][0] == 100:
            before = x[inside][:HEALTHY]
            rows = np.concatenate([before, x[level == 20][200:293]])
            yield _case(COOLER, x[(level == 100) & ~inside], _before(x, inside), rows, number)


def plain_cases(rows: int, references: int, repeats: int) -> Iterator[Case]:
    """17 independent normal inputs; nothing is wrong, and then each of the plain faults."""
    names = [f"f{column}" for column in range(17)]
    for number in range(references):
        random = np.random.default_rng([rows, number])
        reference = random.normal(size=(PLAIN_ROWS, 17))
        windows = random.normal(size=(repeats, rows, 17))
        yield Case(group="independent", name=f"{rows}", reference=reference, windows=windows, stretch=number)
        if number >= 4:
            continue
        some = windows[:25]
        for name, fault in PLAIN_FAULTS.items():
            wrong = [inject(window, names, fault, spread=np.ones(17), seed=place) for place, window in enumerate(some)]
            yield Case(group=f"independent: {name}", name=f"{rows}", reference=reference, windows=np.array(wrong))
        broken = some.copy()
        broken[:, :, 3] = 0.8 * broken[:, :, 4] + 0.6 * broken[:, :, 3]
        yield Case(
            group="independent: correlation 0 -> 0.8, 1 pair", name=f"{rows}", reference=reference, windows=broken
        )


def _means(cycles: Cycles) -> Matrix:
    return np.asarray(cycles.means[list(NAMES)].to_numpy(dtype=np.float64))


def _windows(rows: Matrix, length: int, step: int) -> Matrix:
    starts = range(0, len(rows) - length + 1, step)
    return np.array([rows[start : start + length] for start in starts])


def _before(x: Matrix, inside: NDArray[np.bool_]) -> Matrix:
    """The cycles before the stretch, so that the first looks have whole windows."""
    first = int(np.flatnonzero(inside)[0])
    return x[first - WINDOW + EVERY : first]


def _case(name: str, reference: Matrix, before: Matrix, rows: Matrix, stretch: int) -> Case:
    """Looks at the last `WINDOW` cycles every `EVERY` cycles."""
    stream = np.concatenate([before, rows])
    ends = np.arange(WINDOW, len(stream) + 1, EVERY)
    return Case(
        group="fault",
        name=name,
        reference=reference,
        windows=np.array([stream[end - WINDOW : end] for end in ends]),
        stretch=stretch,
        after=ends - len(before) - HEALTHY,
    )
