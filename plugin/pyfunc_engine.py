"""Scores any MLflow model that has no portable graph, through MLflow's pyfunc. `hydraulic serve` loads it when needed.

What the model takes comes from its signature. Without one, scikit-learn's `feature_names_in_` stand in for it.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.tracking.artifact_utils import _download_artifact_from_uri
from numpy.typing import NDArray

from mlflow_hydraulic.bundle.read import Bundle
from mlflow_hydraulic.errors import Failed, NotFound
from mlflow_hydraulic.plugin.pyfunc_schema import example_cells, input_schema
from mlflow_hydraulic.schema import Label, Schema
from mlflow_hydraulic.scoring.values import Cells, ModelCard, RequestProblem, Scores

REGISTERED = re.compile(r"models:/+([^/@]+)(?:/([^/@]+)|@([^/@]+))")
DTYPES: dict[str, Any] = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
}
NEVER_NULL = ("long", "integer", "boolean")  # MLflow's columns of these types hold a value in each row, or are absent
CALLERS_FAULT = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
NAMED_COLUMNS, TENSOR = "columns", "tensor"

log = logging.getLogger(__name__)


class PyfuncEngine:
    """One loaded pyfunc. It never runs on the event loop, and each request has a call of its own: MLflow promises
    neither that rows are independent nor that a call is quick."""

    loop_rows = 0
    shares_calls = False

    def __init__(self, model: PyFuncModel, schema: Schema, *, form: str) -> None:
        self._model = model
        self._schema = schema
        self._form = form
        self._estimator = _classifier(model) if schema.labels else None

    def score(self, cells: Cells) -> Scores:
        """Labels or values, and a classifier's probabilities. Shape of `cells`: (n, inputs), columns as the schema."""
        data = self._data(cells)
        try:
            labels = _column(self._model.predict(data), len(cells))
        except MlflowException as error:
            if error.error_code in CALLERS_FAULT:  # the model's own schema or checks refuse these rows
                raise RequestProblem(400, f"the model refuses the rows: {error.message[:500]}") from error
            raise
        if self._estimator is None:
            return Scores(labels, None)
        return Scores(labels, np.asarray(self._estimator.predict_proba(data), dtype=np.float64))

    def _data(self, cells: Cells) -> pd.DataFrame | NDArray[Any]:
        if self._form == TENSOR:
            matrix: NDArray[Any] = np.asarray(cells, dtype=DTYPES.get(self._schema.inputs[0].type, "object"))
            return matrix
        columns: dict[str, Any] = {}
        for index, field in enumerate(self._schema.inputs):
            values = cells[:, index]
            missing = pd.isna(values)
            if not field.required and missing.all():
                continue  # an optional column that no row has is left out, as MLflow's own server does
            if field.type in NEVER_NULL and missing.any():
                rule = "a column of this type must have a value in each row or be left out of all"
                raise RequestProblem(400, f"is missing; {rule}", row=int(missing.argmax()), field=field.name)
            columns[field.name] = pd.Series(values).astype(DTYPES.get(field.type, "object"))
        frame: pd.DataFrame = pd.DataFrame(columns, index=range(len(cells)))
        return frame


def load_pyfunc(
    folder: Path, *, name: str, version: str, digest: str, bundle: Bundle | None = None
) -> tuple[ModelCard, PyfuncEngine]:
    """The model in `folder`, with what is known of it. `Failed` says why it cannot be served and what to do."""
    try:
        model = mlflow.pyfunc.load_model(str(folder))
    except Exception as error:
        # Loading runs the model's own code and its libraries: anything may come, and all of it means the same.
        raise Failed(f"{folder}: MLflow cannot load the model: {type(error).__name__}: {error}") from error
    if bundle is not None:
        schema, form = bundle.schema, NAMED_COLUMNS
        sample: Cells = bundle.sample
        background: Cells = bundle.background
    else:
        schema, form = input_schema(model, folder, labels=_labels(model))
        sample = background = example_cells(model, schema)
    card = ModelCard(
        name=name,
        version=version,
        digest=digest,
        engine="pyfunc",
        schema=schema,
        origin="unknown" if bundle is None else bundle.origin,
        sample=sample,
        background=background,
    )
    return card, PyfuncEngine(model, schema, form=form)


def fetch_model(uri: str) -> tuple[Path, str, str]:
    """The folder that MLflow downloads `uri` to, and the name and version that it has in the registry."""
    named = REGISTERED.fullmatch(uri)
    name, version = (named[1], named[2] or "0") if named else (uri.rstrip("/").rsplit("/", 1)[-1] or "model", "0")
    try:
        if named and named[3]:
            version = str(mlflow.MlflowClient().get_model_version_by_alias(name, named[3]).version)
            uri = f"models:/{name}/{version}"
        folder = Path(_download_artifact_from_uri(uri))
    except (MlflowException, OSError) as error:
        raise NotFound(f"{uri}: MLflow cannot fetch it: {error}; is MLFLOW_TRACKING_URI set?") from error
    if not (folder / "MLmodel").is_file():
        raise NotFound(f"{uri}: no MLflow model is there (no file MLmodel)")
    return folder, name, version


def _classifier(model: PyFuncModel) -> Any:  # Any: whatever was logged
    """The object whose `predict_proba` gives the probabilities; None when the model has none."""
    try:
        raw = model.get_raw_model()
    except (MlflowException, AttributeError, NotImplementedError):  # the flavor does not hand its model out
        return None
    return raw if callable(getattr(raw, "predict_proba", None)) else None


def _labels(model: PyFuncModel) -> tuple[Label, ...]:
    """A classifier's classes in the order of its probabilities; empty for everything else."""
    classes = getattr(_classifier(model), "classes_", None)
    if classes is None or np.asarray(classes).ndim != 1:  # several outputs have a list of class arrays
        return ()
    return tuple(np.asarray(classes).tolist())


def _column(predicted: Any, rows: int) -> NDArray[Any]:  # Any: a pyfunc may return what it likes
    """One value a row. A table of several columns gives a list a row."""
    values = np.asarray(predicted)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 0 or len(values) != rows:
        shape = f"shape {values.shape}"
        raise Failed(f"the model answered {rows} rows with {shape}: a scorer needs one prediction a row")
    if values.ndim > 1:
        table = np.empty(rows, dtype=object)
        table[:] = values.reshape(rows, -1).tolist()
        return table
    return values
