"""Synthetic load cycles of the rig's shape, for when no measurements are at hand. Called by `find`, `hydraulic data`.

A small physical sketch, not a copy of the data: one load profile of six phases; oil temperature of first order towards
what the cooler allows; viscosity, leakage, valve lag and accumulator pressure bend pressures, flows and power in the
directions in which they do on the rig. Whatever comes from here carries `origin="simulated"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.rig.assembly import cycles_of_seconds, runs_of
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.schedule import WARM_UP, schedule
from mlflow_hydraulic.rig.sensors import CYCLE_S, CYCLES, SENSORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Signals = dict[str, NDArray[np.float64]]

MAX_CYCLES = 100_000
COLD_C, TAU_CYCLES = 35.5, 20.0  # the oil's temperature at the start of a block, and how fast it warms
SETTLED_C = {3: 55.0, 20: 45.5, 100: 36.2}
EFFICIENCY = {3: (19.6, 1.51), 20: (27.2, 1.74), 100: (47.2, 2.17)}  # CE in %, CP in kW
SWITCHES = (0, 9, 19, 29, 39, 49)  # seconds in which the load changes; a phase follows each
# per sensor: its level in each of the six phases, and the mean of the second in which each begins
PROFILES = {
    "PS1": ((191.4, 146.7, 156.4, 166.2, 156.4, 151.5), (174.2, 176.4, 154.3, 164.2, 158.9, 152.9)),
    "PS2": ((0.0, 120.6, 130.5, 140.3, 130.5, 125.5), (12.1, 85.1, 129.1, 138.9, 132.1, 126.6)),
    "PS3": ((0.0, 2.35, 2.31, 2.31, 2.32, 2.33), (0.18, 3.29, 1.92, 1.93, 2.78, 2.56)),
    "EPS1": ((2936.0, 2339.0, 2473.0, 2609.0, 2473.0, 2406.0), (2574.0, 2859.0, 2410.0, 2546.0, 2541.0, 2440.0)),
    "FS1": ((0.0, 7.93, 7.84, 7.80, 7.84, 7.86), (0.99, 8.71, 6.20, 6.29, 9.23, 8.58)),
    "SE": ((0.0, 68.4, 68.9, 69.9, 69.0, 68.5), (68.2, 68.9, 55.2, 57.1, 79.9, 74.2)),
}
# per sensor: change per degC, per grade of leakage; with the valve's lag at 9 s and 10 s; with a weak accumulator at
# each switch. Lag and weakness run from 0 (as new) to 1 (close to failure).
BY_HEAT = {"PS1": -0.23, "PS2": -0.21, "PS3": -0.016, "EPS1": -8.0, "FS1": -0.011, "SE": 0.06}
BY_LEAK = {"PS1": -0.27, "PS2": -0.24, "PS3": -0.045, "EPS1": 21.0, "FS1": -0.175, "SE": -2.2}
BY_LAG = {"PS1": (10.6, 3.3), "PS2": (-37.6, 2.1), "PS3": (-1.35, 0.61), "EPS1": (78.0, 106.0), "FS1": (-4.6, 1.7),
          "SE": (-36.0, -36.0)}  # fmt: skip
BY_WEAKNESS = {
    "PS1": (3.2, -0.35, 0.64, 0.45, -0.14, 0.18),
    "PS2": (0.1, 0.38, 0.47, 0.42, 0.0, 0.16),
    "PS3": (0.0, -0.36, 0.10, 0.08, -0.08, -0.03),
    "EPS1": (49.0, 9.0, 16.0, 14.0, 6.0, 10.0),
    "FS1": (0.0, -0.99, 0.34, 0.29, -0.25, -0.10),
    "SE": (-0.2, -8.8, 2.8, 2.5, -2.4, -1.1),
}
# per sensor: noise of one second, of the switching seconds, and of the slow drift from cycle to cycle
NOISE = {
    "PS1": (0.04, 0.25, 0.25), "PS2": (0.04, 0.35, 0.25), "PS3": (0.02, 0.03, 0.015), "PS4": (0.01, 0.01, 0.02),
    "PS5": (0.008, 0.01, 0.02), "PS6": (0.008, 0.01, 0.02), "FS1": (0.02, 0.2, 0.02), "FS2": (0.01, 0.01, 0.02),
    "TS1": (0.04, 0.04, 0.15), "TS2": (0.03, 0.03, 0.15), "TS3": (0.04, 0.04, 0.15), "TS4": (0.04, 0.04, 0.15),
    "EPS1": (3.0, 7.0, 8.0), "VS1": (0.012, 0.015, 0.008), "CE": (0.22, 0.22, 0.35), "CP": (0.012, 0.012, 0.02),
    "SE": (0.15, 2.5, 0.3),
}  # fmt: skip
DRIFT_MEMORY = 0.97  # correlation of the drift between neighbouring cycles


def simulate_cycles(*, cycles: int = CYCLES, seed: int = 0) -> Cycles:
    """Synthetic `Cycles`, the same for the same arguments; `origin` is "simulated".

    2205 cycles are one campaign in the order of the measured one. Fewer are taken from it at even distances, in order
    and with their run numbers, so that all coolers are there; more are further campaigns.
    """
    if not 1 <= cycles <= MAX_CYCLES:
        raise BadInput(f"cycles={cycles}: must be 1 to {MAX_CYCLES}")
    if seed < 0:
        raise BadInput(f"seed={seed}: must be 0 or more")
    rng = np.random.default_rng(seed)
    conditions = schedule(cycles)
    signals = _signals(conditions, rng)
    taken = np.arange(cycles) * max(len(conditions) if cycles < CYCLES else cycles, cycles) // cycles
    seconds = np.stack([_recorded(sensor.name, signals, taken, rng) for sensor in SENSORS], axis=1)
    return cycles_of_seconds(
        seconds,
        conditions[taken],
        run=runs_of(conditions)[taken],
        origin="simulated",
        source=f"simulated: {cycles} cycles, seed {seed}",
    )


def _signals(conditions: NDArray[np.int64], rng: np.random.Generator) -> Signals:
    """Every sensor without noise, shape (n, 60)."""
    cooler, valve, leakage, pressure = (conditions[:, i] for i in range(4))
    oil = _oil_temperature(conditions, rng)
    lag = ((100 - valve) / 27.0) ** 1.35
    weakness = ((130 - pressure) / 40.0) ** 1.6
    signals = {name: _loaded(name, oil, leakage, lag, weakness) for name in PROFILES}
    return signals | _slow_signals(cooler, oil, leakage)


def _oil_temperature(conditions: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """degC at each cycle: cold at the start of a cooler block, a little colder after each stop of the rig."""
    cooler, pressure = conditions[:, 0], conditions[:, 3]
    oil = np.empty(len(conditions))
    room = _drift(len(conditions), 0.15, rng)
    now = COLD_C
    for i in range(len(oil)):
        if i == 0 or cooler[i] != cooler[i - 1]:
            now = COLD_C
        elif pressure[i] != pressure[i - 1]:
            now -= 0.06 * (now - COLD_C)
        goal = SETTLED_C[int(cooler[i])] + 0.3 * conditions[i, 2] + room[i]
        now += (goal - now) / TAU_CYCLES
        oil[i] = now
    return oil


def _loaded(
    name: str,
    oil: NDArray[np.float64],
    leakage: NDArray[np.int64],
    lag: NDArray[np.float64],
    weakness: NDArray[np.float64],
) -> NDArray[np.float64]:
    """A sensor that follows the load profile, shape (n, 60)."""
    levels, switching = PROFILES[name]
    base = np.repeat(levels, np.diff([*SWITCHES, CYCLE_S]))
    base[list(SWITCHES)] = switching
    under_load = np.where(base == 0, 0.0, np.where(np.arange(CYCLE_S) < 9, 0.3, 1.0))
    heat = BY_HEAT[name] * (oil - 36.0)
    signal = base + under_load * (heat + BY_LEAK[name] * leakage)[:, None]
    signal[:, 9:11] += lag[:, None] * np.array(BY_LAG[name])
    signal[:, list(SWITCHES)] += (weakness * (1 + 0.01 * (oil - 36.0)))[:, None] * np.array(BY_WEAKNESS[name])
    return np.asarray(signal)


def _slow_signals(cooler: NDArray[np.int64], oil: NDArray[np.float64], leakage: NDArray[np.int64]) -> Signals:
    """Temperatures, cooling circuit and vibration: nearly even within a cycle, shape (n, 60)."""
    swing = 0.15 * np.sin(2 * np.pi * np.arange(CYCLE_S) / CYCLE_S - 2.0)
    busy = 0.04 * ((np.arange(CYCLE_S) < 10) | (np.arange(CYCLE_S) // 10 == 3))
    warm = oil - 36.0
    efficiency, power = (np.array([EFFICIENCY[int(c)][i] for c in cooler]) for i in range(2))
    settled = np.array([SETTLED_C[int(c)] for c in cooler])
    cold = np.clip((settled - oil) / (settled - COLD_C), 0, 1)  # 1 at the start of a block, 0 when warmed up
    cooled = (cooler == 100) * np.clip((np.arange(len(oil)) - _starts(cooler)) / WARM_UP * 2 - 1, 0, 1)
    even = {
        "PS4": 10.05 * cooled,
        "PS5": 9.87 - 0.0720 * warm,
        "PS6": 9.75 - 0.0695 * warm,
        "FS2": 10.16 - 0.0550 * warm,
        "CE": efficiency + cold * (40.0 - efficiency) * 0.15,
        "CP": power + cold * 0.1,
        "VS1": 0.54 + 0.0065 * warm + 0.008 * leakage,
    }
    bent = {"TS1": oil, "TS2": oil + 4.2 + 0.15 * (5.5 - 0.07 * warm), "TS3": oil + 1.7, "TS4": oil - 4.9 + 0.02 * warm}
    flat = {name: np.repeat(value[:, None], CYCLE_S, axis=1) for name, value in even.items()}
    flat["VS1"] = flat["VS1"] + busy
    return flat | {name: value[:, None] + swing for name, value in bent.items()}


def _starts(cooler: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each cycle, the index at which its cooler block began."""
    begins = np.concatenate([[True], cooler[1:] != cooler[:-1]])
    return np.maximum.accumulate(np.where(begins, np.arange(len(cooler)), 0))


def _recorded(name: str, signals: Signals, taken: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """What the sensor would have written of the cycles `taken`: drift and noise added, never negative, rounded as the
    mean of a second of published samples is."""
    each, switching, slow = NOISE[name]
    signal = signals[name]
    sigma = np.full(CYCLE_S, each)
    sigma[list(SWITCHES)] = switching
    # a closed valve is exactly 0 flow, whatever the rest of the rig does
    noise = rng.normal(size=signal.shape) * sigma + _drift(len(signal), slow, rng)[:, None]
    recorded = np.maximum(np.where(signal > 0, signal + noise, 0.0), 0.0)[taken]
    sensor = next(sensor for sensor in SENSORS if sensor.name == name)
    decimals = 3 if sensor.unit == "W" else 2 + len(str(sensor.rate_hz))
    return np.asarray(np.round(recorded, decimals), dtype=np.float64)


def _drift(n: int, sigma: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A first-order autoregressive series of standard deviation `sigma`, shape (n,)."""
    steps = rng.normal(size=n) * sigma * float(np.sqrt(1 - DRIFT_MEMORY**2))
    series: NDArray[np.float64] = np.empty(n, dtype=np.float64)
    now = rng.normal() * sigma
    for i, step in enumerate(steps):
        now = DRIFT_MEMORY * now + step
        series[i] = now
    return series
