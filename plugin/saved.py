"""The files of a saved hydraulic model, and nothing of MLflow; `plugin/flavor.py` calls it.

model.skops          the estimator, in a format that runs no code when it is read
background.parquet   training rows that Shapley values, the baseline and the certificate start from
hydraulic.json       schema, features, origin, and the digests of the two files above
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_hydraulic.errors import BadData, BadInput, Failed, Untrusted
from mlflow_hydraulic.plugin.estimator import dump_estimator, load_estimator
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.schema import Schema
from mlflow_hydraulic.version import VERSION

FORMAT = 1  # counts up when an older version of this package could not read the files any more
ESTIMATOR_FILE = "model.skops"
BACKGROUND_FILE = "background.parquet"
CARD_FILE = "hydraulic.json"


def write_model(model: HydraulicModel, folder: Path) -> None:
    """Writes the three files; `BadInput` when the model's parts do not fit together or are not safe to load again."""
    check_model(model)
    contents = {ESTIMATOR_FILE: dump_estimator(model.estimator), BACKGROUND_FILE: _parquet(model.background)}
    card = {
        "format": FORMAT,
        "code_version": VERSION,
        "estimator": f"{type(model.estimator).__module__}.{type(model.estimator).__qualname__}",
        "features": model.features,
        "origin": model.origin,
        "schema": model.schema.to_dict(),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    contents[CARD_FILE] = (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode()
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def read_model(folder: Path) -> HydraulicModel:
    """The model in `folder`.

    Raises `BadData` for a missing or malformed file, `Untrusted` for one that does not fit its digest or holds what is
    not safe to load, `Failed` for a format newer than this package.
    """
    card = _read_card(folder)
    try:
        digests = dict(card["sha256"])
        model = HydraulicModel(
            estimator=_read_estimator(folder, digests),
            schema=_typed(Schema.from_dict(card["schema"])),
            features=str(card["features"]),
            origin=str(card["origin"]),
            background=_read_background(folder, digests),
        )
        check_model(model)
    except (KeyError, TypeError, ValueError, AttributeError, BadInput) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadData(file=str(folder / CARD_FILE), problem=problem) from error
    return model


def check_model(model: HydraulicModel) -> None:
    """`BadInput` unless schema, estimator and background rows tell the same of columns and classes."""
    names, labels = list(model.schema.names), list(model.schema.labels)
    other = [
        f"{field.name!r} ({field.type})" for field in model.schema.inputs if not (field.numeric and field.required)
    ]
    if not names or other:
        raise BadInput(
            f"inputs {', '.join(other) or '(none)'}: a hydraulic model takes required numbers only; "
            "log other models with MLflow's own flavors"
        )
    learnt = [str(name) for name in getattr(model.estimator, "feature_names_in_", names)]
    if learnt != names:
        raise BadInput(f"the estimator was fitted on columns {learnt}, but the schema names {names}")
    if getattr(model.estimator, "n_features_in_", None) != len(names):
        raise BadInput(f"the estimator is not fitted on the {len(names)} columns of the schema: fit it first")
    classes = np.asarray(getattr(model.estimator, "classes_", [])).tolist()
    if classes != labels:
        raise BadInput(f"the estimator's classes are {classes}, but the schema's labels are {labels}")
    if [str(name) for name in model.background.columns] != names or model.background.empty:
        raise BadInput(f"the background rows need the columns {names} in this order, and at least one row")


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.astype(np.float64).to_parquet(buffer, index=False)
    return buffer.getvalue()


def _read_card(folder: Path) -> dict[str, Any]:  # Any: the value is JSON
    file = folder / CARD_FILE
    try:
        card = json.loads(_read(folder, CARD_FILE))
    except (ValueError, RecursionError) as error:
        raise BadData(file=str(file), problem=f"not readable JSON: {error}") from error
    if not isinstance(card, dict) or not isinstance(card.get("format"), int) or card["format"] < 1:
        raise BadData(file=str(file), problem='needs an object with "format", a number from 1')
    if card["format"] > FORMAT:
        raise Failed(
            f"{file}: written in format {card['format']} by mlflow-hydraulic {card.get('code_version')}, but this is "
            f'{VERSION} and reads formats up to {FORMAT}; "pip install --upgrade mlflow-hydraulic"'
        )
    return card


def _read_estimator(folder: Path, digests: dict[str, str]) -> Any:  # Any: BaseEstimator is untyped
    data = _read_checked(folder, ESTIMATOR_FILE, digests)
    try:
        return load_estimator(data)
    except Untrusted as error:
        raise Untrusted(f"{folder / ESTIMATOR_FILE}: {error}") from error


def _read_background(folder: Path, digests: dict[str, str]) -> pd.DataFrame:
    data = _read_checked(folder, BACKGROUND_FILE, digests)
    try:
        frame: pd.DataFrame = pd.read_parquet(io.BytesIO(data)).astype(np.float64)
    except (ValueError, TypeError, OSError) as error:  # pyarrow's errors are ValueErrors and OSErrors
        raise BadData(file=str(folder / BACKGROUND_FILE), problem=f"not a parquet file of numbers: {error}") from error
    return frame


def _read_checked(folder: Path, name: str, digests: dict[str, str]) -> bytes:
    data = _read(folder, name)
    found = hashlib.sha256(data).hexdigest()
    if found != digests[name]:
        raise Untrusted(
            f"{folder / name}: its sha256 is {found}, but {CARD_FILE} says {digests[name]}: damaged or replaced; "
            "download the model again"
        )
    return data


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise BadData(file=str(folder / name), problem=f"cannot be read: {error.strerror}") from error


def _typed(schema: Schema) -> Schema:
    """`schema`, if what came from JSON has the types that it promises."""
    texts = [schema.target, *(field.name for field in schema.inputs), *(field.type for field in schema.inputs)]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("names and types in the schema must be texts")
    if not all(isinstance(label, (int, float, str)) for label in schema.labels):
        raise TypeError(f"labels {list(schema.labels)} must be numbers or texts")
    return schema
