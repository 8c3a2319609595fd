"""The value that every loader returns and every feature transformer takes: load cycles with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlflow_hydraulic.rig.sensors import CONDITIONS, SENSORS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Origin = Literal["measured", "simulated"]


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Load cycles of the rig.

    means: float64, shape (n, 17), columns as `Sensor.column`, the mean of each sensor over the cycle.
    seconds: float64, shape (n, 17, 60), the mean of each second, sensors in the order of `SENSORS`; None where the
        source holds only means (the tutorial's table).
    conditions: int64, columns as `Condition.column`; None for cycles without labels.
    run: int64, shape (n,), the number of the contiguous block in which the four component conditions stay the same;
        cross-validation keeps a block together. None together with `conditions`.
    origin: "measured", or "simulated" for what `simulate` made; it follows the data into models, tags and pages.
    source: where it came from, for people.
    digest: sha256 over the numbers, hex.
    """

    means: pd.DataFrame
    seconds: NDArray[np.float64] | None
    conditions: pd.DataFrame | None
    run: NDArray[np.int64] | None
    origin: Origin
    source: str
    digest: str

    def __len__(self) -> int:
        return len(self.means)


SENSOR_COLUMNS = [sensor.column for sensor in SENSORS]
CONDITION_COLUMNS = [condition.column for condition in CONDITIONS]
