"""Features of load cycles, as scikit-learn transformers: the tutorial's 17 means, and statistics of each sensor.

`train` fits models on them; `hydraulic data features` writes them; a served model takes their columns as inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.rig.cycles import SENSOR_COLUMNS, Cycles
from mlflow_hydraulic.rig.sensors import CYCLE_S, SENSORS
from mlflow_hydraulic.schema import Field

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

FeatureKind = Literal["means", "statistics"]
FEATURE_KINDS: tuple[FeatureKind, ...] = get_args(FeatureKind)
MOMENTS = ("mean", "std", "min", "max", "skew", "kurtosis", "slope")
CHUNK = 64  # cycles worked on at once: their 0.5 MB stay in the processor's cache
CONSTANT = 1e-12  # a spread below this part of the sensor's magnitude is rounding, not signal
LARGEST = 1e60  # no sensor's value; its fourth power is still a float64
SMALLEST = 1e-140  # no sensor's variance; its square is still a float64


class CycleMeans(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """`Cycles` to the tutorial's 17 columns: the mean of each sensor over the cycle, in the sensor's unit."""

    def fit(self, X: Cycles, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Nothing to learn; returns itself."""
        return self

    def transform(self, X: Cycles) -> pd.DataFrame:
        """Float64, shape (n, 17); `BadInput` names the first cell that is no finite number."""
        frame: pd.DataFrame = X.means[SENSOR_COLUMNS].astype(np.float64).reset_index(drop=True)
        _check_finite(X, frame.to_numpy()[:, :, None])
        return frame

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:  # noqa: ARG002
        return np.array([field.name for field in self.fields()], dtype=object)

    def fields(self) -> tuple[Field, ...]:
        """The columns with their units, in their order."""
        return tuple(Field(name=sensor.column, unit=sensor.unit) for sensor in SENSORS)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class CycleStatistics(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """`Cycles` to statistics of each sensor over the cycle, from its 60 means of a second.

    A sensor has mean, std (of the population), min, max, skew, kurtosis (plain: 3 for a normal distribution), slope
    (least squares, per second) and `segments` means of equal parts of the cycle (`psa_bar.mean_05_10`: seconds 5 to
    10). A sensor that stands still has 0 for std, skew, kurtosis and slope.
    """

    def __init__(self, segments: int = 12) -> None:
        self.segments = segments

    def fit(self, X: Cycles, y: object = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Nothing to learn; returns itself."""
        return self

    def transform(self, X: Cycles) -> pd.DataFrame:
        """Float64, shape (n, 17 * (7 + segments)); `BadInput` if `X` holds only means, or a value is not finite."""
        if X.seconds is None:
            raise BadInput(
                f"{X.source} holds only the mean of each cycle, and statistics need its {CYCLE_S} seconds: "
                'use features "means" (--features means), or give the 1 Hz or the full-rate data'
            )
        seconds = np.asarray(X.seconds, dtype=np.float64)
        _check_finite(X, seconds)
        values = np.empty((len(X), len(SENSORS), len(MOMENTS) + self._segments()))
        for start in range(0, len(X), CHUNK):
            _statistics(seconds[start : start + CHUNK], out=values[start : start + CHUNK])
        width = values.shape[1] * values.shape[2]
        frame: pd.DataFrame = pd.DataFrame(values.reshape(len(X), width), columns=self.get_feature_names_out())
        return frame

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:  # noqa: ARG002
        return np.array([field.name for field in self.fields()], dtype=object)

    def fields(self) -> tuple[Field, ...]:
        """The columns with their units, in their order; skew and kurtosis have none."""
        width = CYCLE_S // self._segments()
        parts = [f"mean_{start:02d}_{start + width:02d}" for start in range(0, CYCLE_S, width)]
        units = {"skew": None, "kurtosis": None, "slope": "{}/s"}
        return tuple(
            Field(name=f"{sensor.column}.{name}", unit=unit.format(sensor.unit) if unit else None)
            for sensor in SENSORS
            for name, unit in ((name, units.get(name, "{}")) for name in (*MOMENTS, *parts))
        )

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _segments(self) -> int:
        if self.segments < 1 or CYCLE_S % self.segments:
            raise BadInput(f"segments={self.segments}: must divide the {CYCLE_S} seconds of a cycle evenly")
        return self.segments


def features_of(kind: str) -> CycleMeans | CycleStatistics:
    """The transformer for "means" or "statistics"."""
    if kind == "means":
        return CycleMeans()
    if kind == "statistics":
        return CycleStatistics()
    raise BadInput(f"features={kind!r}: choose one of {', '.join(FEATURE_KINDS)}")


def request_body(frame: pd.DataFrame, cycles: Iterable[int]) -> dict[str, dict[str, list[object]]]:
    """The chosen rows as a body for `POST /invocations` (MLflow's `dataframe_split`)."""
    chosen = list(cycles)
    outside = [cycle for cycle in chosen if not 0 <= cycle < len(frame)]
    if outside:
        raise BadInput(f"cycle {outside[0]}: the data has the cycles 0 to {len(frame) - 1}")
    rows = frame.iloc[chosen]
    return {"dataframe_split": {"columns": [str(name) for name in rows.columns], "data": rows.to_numpy().tolist()}}


def _statistics(x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Statistics of `x`, shape (n, sensors, seconds), into `out`, shape (n, sensors, 7 + segments).

    Sums go by einsum and by slices, never by BLAS: a cycle gets the same bits alone as among others.
    """
    n = x.shape[-1]
    low, high = x.min(axis=-1), x.max(axis=-1)
    mean = np.einsum("csn->cs", x) / n
    centred = x - mean[..., None]
    squared = centred * centred
    variance = np.einsum("csn->cs", squared) / n
    moving = (np.sqrt(variance) > CONSTANT * np.maximum(np.abs(low), np.abs(high))) & (variance > SMALLEST)
    safe = np.where(moving, variance, 1.0)
    time = np.arange(n) - (n - 1) / 2
    moments = (
        np.sqrt(variance),
        np.einsum("csn,csn->cs", squared, centred) / n / safe**1.5,
        np.einsum("csn,csn->cs", squared, squared) / n / safe**2,
        np.einsum("csn,n->cs", centred, time) / np.einsum("n,n->", time, time),
    )
    out[..., 0], out[..., 2], out[..., 3] = np.clip(mean, low, high), low, high
    for column, moment in zip((1, 4, 5, 6), moments, strict=True):
        out[..., column] = np.where(moving, moment, 0.0)
    width = n // (out.shape[-1] - len(MOMENTS))
    parts = x.reshape(*x.shape[:-1], -1, width)
    segments = parts[..., 0].copy()
    for second in range(1, width):
        segments += parts[..., second]
    out[..., len(MOMENTS) :] = segments / width


def _check_finite(cycles: Cycles, values: NDArray[np.float64]) -> None:
    """`values`: shape (n, sensors, seconds or 1)."""
    wrong = ~(np.abs(values) <= LARGEST)  # so NaN is wrong too
    if not wrong.any():
        return
    cycle, sensor, second = (int(place[0]) for place in np.nonzero(wrong))
    where = f"second {second} of " if values.shape[-1] > 1 else ""
    raise BadInput(
        f"{cycles.source}: {where}cycle {cycle}, sensor {SENSOR_COLUMNS[sensor]}: "
        f"{values[cycle, sensor, second]} is no measurement; remove the cycle or mend the data"
    )
