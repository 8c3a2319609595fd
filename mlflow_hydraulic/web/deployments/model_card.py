"""What a deployed version takes, and a real row of it, for sample requests and for trying one.

Schema and row come from the version's files, which lie under their digest in HYDRAULIC_HOME or are fetched through
MLflow (`house.files`); where they cannot be had, from the last prediction that was recorded here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.bundle.manifest import DRIFT
from mlflow_hydraulic.bundle.plain_yaml import read_yaml
from mlflow_hydraulic.bundle.read import read_bundle
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.errors import HydraulicError, NotFound
from mlflow_hydraulic.evidence.sight import Part, Said
from mlflow_hydraulic.record.opening import open_record
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.scoring.values import Cells, ModelCard
from mlflow_hydraulic.web.house import House

TARGET = "prediction"
EXAMPLES = ("serving_input_example.json", "input_example.json")
LARGEST_EXAMPLE = 2_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Known:
    """The card, with one row as its sample, and where that row is from; "" where there is none: then it is of zeros.

    flags: whether its scorers know the training data, so that they flag rows unlike it.
    """

    card: ModelCard
    source: str
    flags: bool = False


def main_part(said: Said) -> Part:
    """The predictor that most callers reach; `NotFound` where nothing is known of any."""
    answering = [part for part in said.predictors if part.role != "challenger"]
    if not answering:
        raise NotFound("nobody knows which version this deployment is to serve: look again when it was seen")
    return max(answering, key=lambda part: part.traffic)


def known(house: House, said: Said, deployment: str) -> Known:
    """The card of the version that most callers reach; `NotFound` where neither files nor record tell of it."""
    part = main_part(said)
    try:
        found = read_card(folder_of(house, part))
    except HydraulicError as error:
        recorded = _recorded(house, said, deployment)
        if recorded is None:
            raise NotFound(
                f"what version {part.version} of {part.model!r} takes cannot be told here: {error}; no prediction of "
                f'it is recorded here either. Its own words are at its endpoint, "/openapi.json"'
            ) from error
        found = recorded
    if not found.source and (recorded := _recorded(house, said, deployment)):
        found = replace(recorded, flags=found.flags)
    return replace(found, card=replace(found.card, name=part.model, version=part.version, digest=part.digest))


def folder_of(house: House, part: Part) -> Path:
    """The version's files on this machine; fetched where the house can."""
    here = house.settings.home / "models" / part.digest
    if part.digest and here.is_dir() and _is_whole(here, part.digest):
        return here
    if house.files is None or not part.digest:
        raise NotFound(f"its files are not in {house.settings.home / 'models'}")
    model = ModelVersion(uri=part.uri, name=part.model, version=part.version, digest=part.digest)
    return house.files.folder(model)


@lru_cache(maxsize=256)
def _is_whole(folder: Path, digest: str) -> bool:
    return digest_folder(folder) == digest


@lru_cache(maxsize=256)  # the files under a digest never change
def read_card(folder: Path) -> Known:
    """What a saved model's folder tells: by its bundle, else by its signature."""
    bundle = read_bundle(folder / "bundle", verify_digests=False) if (folder / "bundle").is_dir() else None
    schema = bundle.schema if bundle else schema_of(folder)
    row, flags = example_row(folder, schema), bundle is not None and DRIFT in bundle.files
    if row is not None:
        return Known(_card(schema, row, bundle.origin if bundle else "unknown"), "the model's input example", flags)
    if bundle and len(bundle.sample):
        return Known(_card(schema, bundle.sample[:1], bundle.origin), "one of the model's training rows", flags)
    return Known(_card(schema, _no_rows(schema), "unknown"), "", flags)


def schema_of(folder: Path) -> Schema:
    """By the signature in MLmodel; `NotFound` for a model without one that a request can spell."""
    import yaml

    try:
        text = (folder / "MLmodel").read_text(encoding="utf-8")
        signature = (read_yaml(text) or {}).get("signature") or {}
        columns = json.loads(signature.get("inputs") or "[]")
        fields = tuple(_fields(columns))
    except (OSError, ValueError, yaml.YAMLError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise NotFound(f"its MLmodel has no signature that can be read ({type(error).__name__})") from error
    if not fields:
        raise NotFound("its MLmodel names no columns: log the model with a signature")
    return Schema(inputs=fields, target=TARGET)


def _fields(columns: Iterable[Mapping[str, Any]]) -> Iterable[Field]:  # Any: JSON
    kinds: Mapping[str, Any] = {
        "float64": "double",
        "float32": "float",
        "int64": "long",
        "int32": "integer",
        "bool": "boolean",
    }
    for index, column in enumerate(columns):
        if column["type"] == "tensor":
            spec = column["tensor-spec"]
            kind = kinds[spec["dtype"]]
            yield from (Field(name=str(i), type=kind) for i in range(int(spec["shape"][1])))
        elif column["type"] in ("double", "float", "long", "integer", "boolean", "string"):
            name = str(column.get("name", index))
            yield Field(name=name, type=column["type"], required=bool(column.get("required", True)))
        else:
            raise ValueError(f"a column of type {column['type']}")


def example_row(folder: Path, schema: Schema) -> Cells | None:
    """The first row of the input example that was logged with the model, shape (1, inputs); None for none that fits."""
    for name in EXAMPLES:
        try:
            if (folder / name).stat().st_size > LARGEST_EXAMPLE:
                continue
            cells = _row(json.loads((folder / name).read_text(encoding="utf-8")), schema)
        except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
            continue  # an example of another form is only an example
        if cells is not None:
            return cells
    return None


def _row(example: Any, schema: Schema) -> Cells | None:  # Any: JSON
    """The first row of `dataframe_split`, `inputs`, or of a frame written with orient="split"."""
    table: dict[str, Any] = example.get("dataframe_split", example) if isinstance(example, dict) else {"data": example}
    if "columns" in table:
        first = dict(zip(map(str, table["columns"]), table["data"][0], strict=True))
        row = [first[name] for name in schema.names]
    else:
        rows = table["inputs"] if "inputs" in table else table["data"]
        row = [rows[name][0] for name in schema.names] if isinstance(rows, dict) else list(rows[0])
    if len(row) != len(schema.inputs):
        return None
    if schema.numeric:
        return np.array([[np.nan if cell is None else float(cell) for cell in row]], dtype=np.float64)
    return np.array([row], dtype=object)


def _recorded(house: House, said: Said, deployment: str) -> Known | None:
    """By the last prediction that was recorded on this machine; None where there is none."""
    try:
        with open_record(house.settings, ship=False) as store:
            window = store.window(target=said.target, namespace=said.namespace, deployment=deployment, last_rows=1)
    except HydraulicError:
        return None
    if not len(window):
        return None
    schema, row = window.schema, window.inputs
    if not schema.numeric:
        texts = window.categories
        cells = [
            texts[f.name][0] if f.name in texts else v for f, v in zip(schema.inputs, row[0].tolist(), strict=True)
        ]
        row = np.array([cells], dtype=object)
    return Known(_card(schema, row, "unknown"), "the last recorded prediction")


def _no_rows(schema: Schema) -> Cells:
    return np.empty((0, len(schema.inputs)), dtype=np.float64 if schema.numeric else object)


def _card(schema: Schema, sample: Cells, origin: str) -> ModelCard:
    return ModelCard(name="", version="", digest="", engine="", schema=schema, origin=origin, sample=sample)
