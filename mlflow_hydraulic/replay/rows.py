"""What is replayed: rows with the model's columns, and their true values where the source has them. Called by the CLI.

SOURCE is whatever `rig.load` reads, of which features are computed, or a table (.csv, .parquet) of rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlflow_hydraulic.errors import BadData, BadInput
from mlflow_hydraulic.rig.features import features_of
from mlflow_hydraulic.rig.load import load_cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows in time order. cells: (n, k), columns as `names`. truth: (n,), labels or numbers, or None.

    digest: sha256 of the source. origin: "measured", "simulated", or "a table".
    """

    names: tuple[str, ...]
    cells: NDArray[np.float64]
    truth: NDArray[Any] | None
    origin: str
    digest: str

    def __len__(self) -> int:
        return len(self.cells)


def load_rows(source: Path, *, names: Sequence[str], kind: str, target: str, cache: Path | None) -> Rows:
    """Rows of `source` with the columns `names`; empty: those of the features `kind` ("means", "statistics").

    target: the column with true values; "" for none. `BadInput` names a column that is missing, or no number.
    """
    table = _table(source, names)
    if table is not None:
        return _of_table(source, table, names, target)
    cycles = load_cycles(source, cache=cache)
    frame = features_of(kind).fit_transform(cycles)
    wanted = tuple(names) or tuple(map(str, frame.columns))
    _check(source, wanted, frame)
    truth = None
    if cycles.conditions is not None and target in cycles.conditions:
        truth = cycles.conditions[target].to_numpy()
    cells = frame[list(wanted)].to_numpy(dtype=np.float64)
    return Rows(names=wanted, cells=cells, truth=truth, origin=cycles.origin, digest=cycles.digest)


def kind_of_features(names: Sequence[str]) -> str:
    """Which features a model's inputs are: statistics have a point in their names."""
    return "statistics" if any("." in name for name in names) else "means"


def temperatures(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that are temperatures of the rig, in kelvin or degrees: what a season moves."""
    fields = [*features_of("means").fields(), *features_of("statistics").fields()]
    known = {field.name for field in fields if field.unit == "degC" and not field.name.endswith(".std")}
    return tuple(name for name in names if name in known)


def _table(source: Path, names: Sequence[str]) -> pd.DataFrame | None:
    """The table in `source` where it has all of the columns; None where it is no table of rows."""
    if not source.is_file() or source.suffix not in (".csv", ".parquet") or not names:
        return None
    try:
        if source.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pd.read_parquet(source) if set(names) <= set(pq.read_schema(source).names) else None
        header = pd.read_csv(source, nrows=0, comment="#")
        return pd.read_csv(source, comment="#") if set(names) <= set(header.columns) else None
    except (ValueError, OSError) as error:  # pyarrow's and pandas' errors are ValueErrors
        raise BadData(str(source), f"cannot be read: {error}") from error


def _of_table(source: Path, table: pd.DataFrame, names: Sequence[str], target: str) -> Rows:
    for name in names:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise BadInput(f"{source}: column {name!r} holds something else than numbers: replay sends numbers only")
    return Rows(
        names=tuple(names),
        cells=table[list(names)].to_numpy(dtype=np.float64),
        truth=table[target].to_numpy() if target in table else None,
        origin="a table",
        digest=hashlib.sha256(source.read_bytes()).hexdigest(),
    )


def _check(source: Path, wanted: Sequence[str], frame: pd.DataFrame) -> None:
    missing = [name for name in wanted if name not in frame]
    if missing:
        raise BadInput(
            f"{source}: the model wants column {missing[0]!r}, and {len(missing)} in all that are not there; there are "
            f"{', '.join(map(str, frame.columns[:5]))}, ..."
        )
