"""The rig's 17 sensors and 5 conditions, under the names that UCI and the tutorial give them.

Source: N. Helwig, E. Pignanelli, A. Schütze, "Condition monitoring of hydraulic systems", UCI Machine Learning
Repository, 2015, doi:10.24432/C5CW21 (CC BY 4.0).
"""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_hydraulic.errors import BadInput

CYCLES = 2205
CYCLE_S = 60


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor: UCI's name (also its file's), the tutorial's column, unit, sampling rate in Hz."""

    name: str
    column: str
    unit: str
    rate_hz: int

    @property
    def samples(self) -> int:
        """Samples in one cycle of 60 s."""
        return self.rate_hz * CYCLE_S


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition to predict: the tutorial's column, the profile's column, unit, classes in order."""

    column: str
    profile_column: str
    unit: str
    classes: tuple[int, ...]
    meaning: str


SENSORS = (
    Sensor("PS1", "psa_bar", "bar", 100),
    Sensor("PS2", "psb_bar", "bar", 100),
    Sensor("PS3", "psc_bar", "bar", 100),
    Sensor("PS4", "psd_bar", "bar", 100),
    Sensor("PS5", "pse_bar", "bar", 100),
    Sensor("PS6", "psf_bar", "bar", 100),
    Sensor("FS1", "fsa_vol_flow", "l/min", 10),
    Sensor("FS2", "fsb_vol_flow", "l/min", 10),
    Sensor("TS1", "tsa_temp", "degC", 1),
    Sensor("TS2", "tsb_temp", "degC", 1),
    Sensor("TS3", "tsc_temp", "degC", 1),
    Sensor("TS4", "tsd_temp", "degC", 1),
    Sensor("EPS1", "pump_eff", "W", 100),  # the tutorial's name misleads: it is motor power
    Sensor("VS1", "vs_vib", "mm/s", 1),
    Sensor("CE", "cool_eff_pct", "%", 1),
    Sensor("CP", "cool_pwr_pct", "kW", 1),  # the tutorial's name misleads: it is kW
    Sensor("SE", "eff_fact_pct", "%", 1),
)

CONDITIONS = (
    Condition(
        "cool_cond_y",
        "cooler_condition",
        "%",
        (3, 20, 100),
        "cooler: 3 close to failure, 100 full efficiency",
    ),
    Condition("valve_cond_y", "valve_condition", "%", (73, 80, 90, 100), "valve: 73 close to failure, 100 optimal"),
    Condition("pump_leak_y", "pump_leakage", "grade", (0, 1, 2), "pump: 0 no leakage, 2 severe leakage"),
    Condition("hyd_accum_bar_y", "accumulator_bar", "bar", (90, 100, 115, 130), "accumulator: 90 close to failure"),
    Condition("stable_y", "stable_flag", "flag", (0, 1), "0 stable, 1 static conditions not reached yet"),
)

SENSOR_BY_NAME = {sensor.name: sensor for sensor in SENSORS}
CONDITION_BY_COLUMN = {condition.column: condition for condition in CONDITIONS}


def condition(target: str) -> Condition:
    """The condition with the tutorial's column name `target`; `BadInput` names the known ones."""
    try:
        return CONDITION_BY_COLUMN[target]
    except KeyError as error:
        known = ", ".join(CONDITION_BY_COLUMN)
        raise BadInput(f"target={target!r}: the rig has no such condition; choose one of {known}") from error
