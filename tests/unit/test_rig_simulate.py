"""Simulated cycles: deterministic, of the rig's shape, and bent by faults in the directions of the rig."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.load import load_cycles
from mlflow_hydraulic.rig.sensors import CONDITIONS, SENSORS
from mlflow_hydraulic.rig.simulate import simulate_cycles


@pytest.fixture(scope="module")
def campaign() -> Cycles:
    return simulate_cycles(seed=4)


def means_by(cycles: Cycles, condition: str) -> pd.DataFrame:
    """Means per class of the stable cycles."""
    assert cycles.conditions is not None
    stable = cycles.conditions["stable_y"] == 0
    grouped: pd.DataFrame = cycles.means[stable].groupby(cycles.conditions[condition][stable]).mean()
    return grouped


def test_shape_labels_and_seed(campaign: Cycles) -> None:
    assert campaign.seconds is not None and campaign.seconds.shape == (2205, 17, 60)
    assert campaign.origin == "simulated" and campaign.source.startswith("simulated")
    assert np.isfinite(campaign.seconds).all() and (campaign.seconds >= 0).all()
    assert simulate_cycles(seed=4).digest == campaign.digest != simulate_cycles(seed=5).digest
    assert campaign.conditions is not None
    for condition in CONDITIONS:
        assert set(campaign.conditions[condition.column]) == set(condition.classes)


@pytest.mark.parametrize("cycles", [1, 2, 50, 96, 2206, 5000])
def test_any_number_of_cycles(cycles: int) -> None:
    made = simulate_cycles(cycles=cycles)
    assert len(made) == cycles
    assert made.conditions is not None
    if cycles >= 50:
        assert set(made.conditions["cool_cond_y"]) == {3, 20, 100}


def test_faults_bend_the_sensors_as_on_the_rig(campaign: Cycles) -> None:
    cooler = means_by(campaign, "cool_cond_y")
    assert cooler["tsa_temp"].is_monotonic_decreasing
    assert cooler["cool_eff_pct"].is_monotonic_increasing and cooler["cool_pwr_pct"].is_monotonic_increasing
    assert cooler.loc[[3, 20], "psd_bar"].eq(0).all() and cooler["psd_bar"].to_numpy()[-1] > 5
    leakage = means_by(campaign, "pump_leak_y")
    assert leakage["fsa_vol_flow"].is_monotonic_decreasing and leakage["psa_bar"].is_monotonic_decreasing
    assert campaign.seconds is not None and campaign.conditions is not None
    flow_at_switch = pd.Series(campaign.seconds[:, [s.name for s in SENSORS].index("FS1"), 9])
    assert flow_at_switch.groupby(campaign.conditions["valve_cond_y"]).mean().is_monotonic_increasing
    pressure_at_start = pd.Series(campaign.seconds[:, 0, 0])
    assert pressure_at_start.groupby(campaign.conditions["hyd_accum_bar_y"]).mean().is_monotonic_decreasing


def test_warm_up_and_autocorrelation(campaign: Cycles) -> None:
    oil = campaign.means["tsa_temp"]
    assert oil[0] < 38 and oil[200] > 53
    power = campaign.means["pump_eff"]
    assert power.autocorr(1) > 0.8


def test_the_order_is_that_of_the_measured_campaign(campaign: Cycles, rig_data: object) -> None:
    measured = load_cycles(str(rig_data))
    assert campaign.conditions is not None and measured.conditions is not None
    assert campaign.run is not None and measured.run is not None
    pd.testing.assert_frame_equal(campaign.conditions, measured.conditions)
    assert np.array_equal(campaign.run, measured.run)


@pytest.mark.parametrize("wrong", [{"cycles": 0}, {"cycles": 10**9}, {"seed": -1}])
def test_wrong_arguments(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="must be"):
        simulate_cycles(**wrong)
