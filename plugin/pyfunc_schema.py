"""What an MLflow model takes, as a `Schema`: from its signature, else from scikit-learn. For the pyfunc engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.types import ColSpec, TensorSpec

from mlflow_hydraulic.errors import Failed
from mlflow_hydraulic.schema import Field, FieldType, Label, Schema
from mlflow_hydraulic.scoring.values import Cells

TARGET = "prediction"
TENSOR_TYPES: dict[str, FieldType] = {
    "float64": "double",
    "float32": "float",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
}
KNOWN: tuple[str, ...] = get_args(FieldType)


def input_schema(model: PyFuncModel, folder: Path, *, labels: tuple[Label, ...]) -> tuple[Schema, str]:
    """The schema, and in which form the model wants its rows: "columns" (a DataFrame) or "tensor" (an array).

    `Failed` for a model without signature whose columns nobody knows, and for columns that no request can spell.
    """
    signature = model.metadata.signature
    target = _target(signature)
    inputs = None if signature is None else signature.inputs
    if inputs is None:
        return Schema(inputs=_learnt(model, folder), target=target, labels=labels), "columns"
    specs = list(inputs.inputs)
    if inputs.is_tensor_spec():
        return _tensors(specs, folder, target, labels)
    fields = tuple(_field(spec, index, folder) for index, spec in enumerate(specs))
    return Schema(inputs=fields, target=target, labels=labels), "columns"


def example_cells(model: PyFuncModel, schema: Schema) -> Cells:
    """The rows of the model's input example, where it has a usable one: for sample requests and explanations."""
    empty = np.empty((0, len(schema.inputs)), dtype=np.float64 if schema.numeric else object)
    path = getattr(model.metadata, "saved_input_example_info", None)
    if path is None:
        return empty
    try:
        example = model.input_example
        frame = example if isinstance(example, pd.DataFrame) else pd.DataFrame(example, columns=list(schema.names))
        rows: Cells = frame[list(schema.names)].to_numpy(dtype=empty.dtype)
    except (MlflowException, KeyError, ValueError, TypeError, OSError):  # an example of another form is only an example
        return empty
    return rows


def _field(spec: Any, index: int, folder: Path) -> Field:  # Any: MLflow's ColSpec, whose members are untyped
    name = spec.name if spec.name is not None else str(index)
    kind = str(getattr(spec.type, "name", spec.type))
    if not isinstance(spec, ColSpec) or kind not in KNOWN:
        raise Failed(
            f"{folder}: column {name!r} has the type {spec.type}: a scorer reads {', '.join(KNOWN)}; log the model "
            "with a signature of such columns"
        )
    return Field(name=str(name), type=kind, required=bool(spec.required))  # type: ignore[arg-type]  # in KNOWN


def _tensors(specs: list[Any], folder: Path, target: str, labels: tuple[Label, ...]) -> tuple[Schema, str]:
    """One matrix (-1, k), whose columns are called "0", "1", ...; or one vector for each named input."""
    for spec in specs:
        if str(spec.type) not in TENSOR_TYPES:
            raise Failed(f"{folder}: the signature's tensor of {spec.type}: a scorer reads {', '.join(TENSOR_TYPES)}")
    if len(specs) == 1 and isinstance(specs[0], TensorSpec) and len(specs[0].shape) == 2 and specs[0].shape[1] > 0:
        kind = TENSOR_TYPES[str(specs[0].type)]
        fields = tuple(Field(name=str(index), type=kind) for index in range(specs[0].shape[1]))
        return Schema(inputs=fields, target=target, labels=labels), "tensor"
    shapes = ", ".join(str(spec.shape) for spec in specs)
    raise Failed(
        f"{folder}: the signature has tensors of shape {shapes}: a scorer reads one of shape (-1, columns); "
        "log the model with a signature of columns"
    )


def _learnt(model: PyFuncModel, folder: Path) -> tuple[Field, ...]:
    """The columns that a scikit-learn model was fitted on, taken as numbers."""
    try:
        raw = model.get_raw_model()
    except (MlflowException, AttributeError, NotImplementedError):  # the flavor does not hand its model out
        raw = None
    names = getattr(raw, "feature_names_in_", None)
    if names is None:
        count = getattr(raw, "n_features_in_", None)
        names = None if count is None else [str(index) for index in range(count)]
    if names is None:
        raise Failed(
            f"{folder}: the model has no signature, so nobody knows which columns it takes; log it again with "
            "signature=infer_signature(X, y) or with input_example=X.head()"
        )
    return tuple(Field(name=str(name)) for name in names)


def _target(signature: Any) -> str:  # Any: MLflow's ModelSignature or None
    """The name of the only output; "prediction" when the signature names none, or several."""
    outputs = None if signature is None else signature.outputs
    names = [] if outputs is None else [spec.name for spec in outputs.inputs]
    return str(names[0]) if len(names) == 1 and names[0] is not None else TARGET
