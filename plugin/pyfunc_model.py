"""A hydraulic model as MLflow's `pyfunc` calls it, and the signature that it promises; `plugin/flavor.py` calls it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec
from mlflow.types import Schema as MlflowSchema
from numpy.typing import NDArray

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plugin.errors import translated
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.schema import Schema

METHOD = "predict_method"
Method = Literal["predict", "predict_proba"]
METHODS: tuple[Method, ...] = ("predict", "predict_proba")


class HydraulicPyfunc:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, model: HydraulicModel) -> None:
        self.model = model

    def get_raw_model(self) -> HydraulicModel:
        return self.model

    @translated()
    def predict(
        self,
        data: pd.DataFrame | NDArray[Any],
        params: dict[str, Any] | None = None,  # Any: MLflow's own type of params
    ) -> NDArray[np.generic] | pd.DataFrame:
        """Class labels, shape (n,); with `{"predict_method": "predict_proba"}` a frame, a column for each class.

        Columns may be a superset in any order. Raises MLflow's INVALID_PARAMETER_VALUE for a missing column, for a
        cell that is no finite number (its row counts from 0), and for an unknown method.
        """
        method = (params or {}).get(METHOD, "predict")
        if method not in METHODS:
            raise BadInput(f'{METHOD}={method!r}: must be "predict" or "predict_proba"')
        if method == "predict_proba" and not self.model.schema.labels:
            raise BadInput(f"{METHOD}='predict_proba': this model is a regression of {self.model.schema.target!r}")
        rows = read_rows(data, self.model.schema)
        return self._labels(rows) if method == "predict" else self._probabilities(rows)

    def _labels(self, rows: pd.DataFrame) -> NDArray[np.generic]:
        if rows.empty:
            return np.asarray(self.model.schema.labels or [0.0])[:0]
        return self.model.predict(rows)

    def _probabilities(self, rows: pd.DataFrame) -> pd.DataFrame:
        names = list(self.model.schema.output_names)
        values = self.model.predict_proba(rows) if len(rows) else np.empty((0, len(names)))
        frame: pd.DataFrame = pd.DataFrame(values, columns=names, index=rows.index)
        return frame


def read_rows(data: pd.DataFrame | NDArray[Any], schema: Schema) -> pd.DataFrame:
    """The schema's columns of `data`, in its order, as finite float64; `BadInput` says what is wrong where."""
    frame = data if isinstance(data, pd.DataFrame) else _frame(data, schema)
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise BadInput(f"columns {missing} are missing: the model needs {list(schema.names)}")
    twice = [name for name in schema.names if list(frame.columns).count(name) > 1]
    if twice:
        raise BadInput(f"columns {twice} occur more than once: name each column once")
    values = np.column_stack([_numbers(frame[name], name) for name in schema.names])
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise BadInput(
            f"row {row}, column {schema.names[column]!r}: {values[row, column]} is no number that the model can use; "
            f"fill or drop the row ({len(bad)} such cells)"
        )
    rows: pd.DataFrame = pd.DataFrame(values, columns=list(schema.names), index=frame.index)
    return rows


def _frame(data: object, schema: Schema) -> pd.DataFrame:
    matrix = np.asarray(data)
    if matrix.ndim != 2 or matrix.shape[1] != len(schema.names):
        raise BadInput(f"data of shape {matrix.shape}: without column names it must be (rows, {len(schema.names)})")
    frame: pd.DataFrame = pd.DataFrame(matrix, columns=list(schema.names))
    return frame


def _numbers(column: pd.Series, name: str) -> NDArray[np.float64]:
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise BadInput(f"column {name!r}: {error}; every cell must be a number") from error


def signature_of(schema: Schema) -> ModelSignature:
    """Inputs by name, the label (or value) as output, and the one parameter."""
    return ModelSignature(
        inputs=MlflowSchema([ColSpec(DataType[f.type], f.name, required=f.required) for f in schema.inputs]),
        outputs=MlflowSchema([ColSpec(_output_type(schema), schema.target)]),
        params=ParamSchema([ParamSpec(METHOD, DataType.string, "predict")]),
    )


def _output_type(schema: Schema) -> DataType:
    kind = np.asarray(schema.labels or [0.0]).dtype.kind
    return {"i": DataType.long, "f": DataType.double, "b": DataType.boolean}.get(kind, DataType.string)
