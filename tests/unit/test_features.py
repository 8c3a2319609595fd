"""Features against naive per-cycle numpy and scipy, their names and units, and what they refuse."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.rig.cycles import SENSOR_COLUMNS, Cycles
from mlflow_hydraulic.rig.features import CycleMeans, CycleStatistics, features_of, request_body
from mlflow_hydraulic.rig.sensors import SENSORS


def cycles_of(seconds: NDArray[np.float64]) -> Cycles:
    means = pd.DataFrame(seconds.mean(axis=2), columns=SENSOR_COLUMNS)
    return Cycles(
        means=means, seconds=seconds, conditions=None, run=None, origin="simulated", source="made up", digest="0"
    )


def random_cycles(n: int, seed: int = 0) -> Cycles:
    random = np.random.default_rng(seed)
    seconds = random.normal(100, 5, size=(n, 17, 60)) * random.uniform(0.1, 20, size=(1, 17, 1))
    seconds[:, 3] = 0.0  # PS4 stands still, as on the rig
    return cycles_of(seconds)


def naive(values: NDArray[np.float64]) -> dict[str, float]:
    """Statistics of one sensor in one cycle, shape (60,), by the textbook."""
    moving = values.max() > values.min()
    return {
        "mean": values.mean(),
        "std": values.std() if moving else 0.0,
        "min": values.min(),
        "max": values.max(),
        "skew": float(scipy.stats.skew(values)) if moving else 0.0,
        "kurtosis": float(scipy.stats.kurtosis(values, fisher=False)) if moving else 0.0,
        "slope": np.polyfit(np.arange(60), values, 1)[0] if moving else 0.0,
        **{f"mean_{start:02d}_{start + 5:02d}": values[start : start + 5].mean() for start in range(0, 60, 5)},
    }


def test_statistics_are_those_of_the_textbook() -> None:
    cycles = random_cycles(70)  # more than one chunk
    assert cycles.seconds is not None
    found = CycleStatistics().fit_transform(cycles)
    expected = [
        {
            f"{column}.{name}": value
            for column, sensor in zip(SENSOR_COLUMNS, cycle, strict=True)
            for name, value in naive(sensor).items()
        }
        for cycle in cycles.seconds
    ]
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected), rtol=1e-8, atol=1e-9)


def test_a_sensor_that_stands_still_has_plain_numbers() -> None:
    seconds = np.tile(np.linspace(0.1, 7.3, 17)[None, :, None], (2, 1, 60))  # 0.1 is no binary fraction
    frame = CycleStatistics().fit_transform(cycles_of(seconds))
    for name in ("std", "skew", "kurtosis", "slope"):
        assert (frame[[f"{column}.{name}" for column in SENSOR_COLUMNS]] == 0).all(axis=None)
    assert (frame["psa_bar.mean"] == 0.1).all()


@settings(deadline=None, max_examples=60)
@given(arrays(np.float64, (1, 17, 60), elements=st.floats(-1e60, 1e60)))
def test_any_finite_cycle_gives_finite_features_in_their_order(seconds: NDArray[np.float64]) -> None:
    frame = CycleStatistics().fit_transform(cycles_of(seconds))
    assert np.isfinite(frame.to_numpy()).all()
    for column in SENSOR_COLUMNS:
        low, mean, high = (frame[f"{column}.{name}"][0] for name in ("min", "mean", "max"))
        assert low <= mean <= high, column
        assert frame[f"{column}.std"][0] >= 0
        skew, kurtosis = frame[f"{column}.skew"][0], frame[f"{column}.kurtosis"][0]
        assert kurtosis == 0 or kurtosis >= skew**2 + 1 - 1e-3  # K. Pearson's inequality


def test_a_cycle_has_the_same_bits_alone_as_among_others() -> None:
    cycles = random_cycles(150)
    assert cycles.seconds is not None
    together = CycleStatistics().fit_transform(cycles).to_numpy()
    for number in (0, 63, 64, 149):
        alone = CycleStatistics().fit_transform(cycles_of(cycles.seconds[number : number + 1])).to_numpy()
        assert alone.tobytes() == together[number].tobytes()


@pytest.mark.parametrize("segments", [1, 6, 12, 60])
def test_names_units_and_shape(segments: int) -> None:
    transformer = CycleStatistics(segments=segments)
    frame = transformer.fit_transform(random_cycles(3))
    assert frame.shape == (3, 17 * (7 + segments))
    assert list(frame.columns) == list(transformer.get_feature_names_out())
    assert len(set(frame.columns)) == frame.shape[1]
    assert (frame.dtypes == np.float64).all()
    units = {field.name: field.unit for field in transformer.fields()}
    assert (units["psa_bar.std"], units["psa_bar.slope"], units["psa_bar.skew"]) == ("bar", "bar/s", None)
    assert units[f"tsa_temp.mean_00_{60 // segments:02d}"] == "degC"


def test_means_are_the_tutorials_columns() -> None:
    cycles = random_cycles(4)
    frame = features_of("means").fit_transform(cycles)
    assert list(frame.columns) == [sensor.column for sensor in SENSORS]
    pd.testing.assert_frame_equal(frame, cycles.means)
    assert [field.unit for field in CycleMeans().fields()] == [sensor.unit for sensor in SENSORS]


def test_they_are_scikit_learns() -> None:
    transformer = clone(CycleStatistics(segments=6))
    assert transformer.get_params() == {"segments": 6}
    chain = make_pipeline(transformer, StandardScaler()).set_output(transform="pandas")
    frame = chain.fit_transform(random_cycles(5))
    assert list(frame.columns) == list(chain[0].get_feature_names_out())


def test_means_alone_have_no_statistics_and_the_message_says_what_to_do() -> None:
    cycles = dataclasses.replace(random_cycles(2), seconds=None, source="means.csv")
    with pytest.raises(BadInput, match=r"means\.csv holds only the mean.*--features means"):
        CycleStatistics().fit_transform(cycles)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e61])
def test_a_value_that_is_no_number_is_named(bad: float) -> None:
    cycles = random_cycles(3)
    assert cycles.seconds is not None
    cycles.seconds[2, 1, 7] = bad
    with pytest.raises(BadInput, match="second 7 of cycle 2, sensor psb_bar"):
        CycleStatistics().fit_transform(cycles)
    cycles.means.loc[1, "tsa_temp"] = bad
    with pytest.raises(BadInput, match="cycle 1, sensor tsa_temp"):
        CycleMeans().fit_transform(cycles)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(BadInput, match="choose one of means, statistics"):
        features_of("medians")
    with pytest.raises(BadInput, match="segments=7: must divide"):
        CycleStatistics(segments=7).fit_transform(random_cycles(1))


def test_no_cycles_give_no_rows() -> None:
    assert CycleStatistics().fit_transform(random_cycles(0)).shape == (0, 323)


def test_a_request_holds_the_chosen_cycles() -> None:
    frame = CycleMeans().fit_transform(random_cycles(5))
    body = json.loads(json.dumps(request_body(frame, [4, 0])))["dataframe_split"]
    assert body["columns"] == SENSOR_COLUMNS
    assert body["data"] == frame.iloc[[4, 0]].to_numpy().tolist()
    with pytest.raises(BadInput, match="cycle 5: the data has the cycles 0 to 4"):
        request_body(frame, [5])
