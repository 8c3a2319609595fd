"""Reads the small tables: per-second parquet or CSV, the tutorial's CSV of means, and the profile beside them.

Called by `load`. What simulated cycles say of themselves (parquet metadata, a first line in CSV) is read here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlflow_hydraulic.errors import BadData
from mlflow_hydraulic.rig.assembly import cycles_of_means, cycles_of_seconds
from mlflow_hydraulic.rig.cells import parse_csv
from mlflow_hydraulic.rig.cycles import CONDITION_COLUMNS, SENSOR_COLUMNS, Cycles, Origin
from mlflow_hydraulic.rig.labels import PROFILE_COLUMNS, check_classes, check_runs, integers
from mlflow_hydraulic.rig.sensors import CYCLE_S, SENSORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

SENSOR_NAMES = [sensor.name for sensor in SENSORS]
ORIGIN_KEY = b"origin"
SIMULATED_LINE = "# SIMULATED cycles made by `hydraulic data simulate`: not measured on the rig"
MAX_TABLE_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file of numbers: its columns, its matrix, and the line number of its first row."""

    file: str
    columns: list[str]
    values: NDArray[np.float64]
    first_row: int
    origin: Origin

    def __getitem__(self, names: list[str]) -> NDArray[np.float64]:
        return self.values[:, [self.columns.index(name) for name in names]]

    def row(self, index: int) -> int:
        """The row of the file, from 1, in which row `index` of the matrix stands."""
        return self.first_row + index


def load_table(path: Path) -> Cycles:
    """`Cycles` of a parquet or CSV file: per-second where it has `t_s`, else the tutorial's means."""
    table = read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    if "t_s" in table.columns:
        return _from_seconds(path, table)
    if set(table.columns) & set(SENSOR_COLUMNS):
        return _from_means(path, table)
    raise BadData(
        table.file,
        f"columns {table.columns[:5]} are neither per-second cycles (cycle, t_s, PS1, ...) nor means (psa_bar, ...)",
    )


def read_parquet(path: Path) -> Table:
    """A parquet file of numeric columns; `BadData` where it is torn or a value is missing or not finite."""
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows * file.metadata.num_columns * 8 > MAX_TABLE_BYTES:
                raise BadData(path.name, f"{file.metadata.num_rows} rows are more than a table of cycles may hold")
            data = file.read()
    except (pa.ArrowException, OSError) as error:
        raise BadData(path.name, f"not a readable parquet file: {error}") from error
    if data.num_rows == 0:
        raise BadData(path.name, "the table has no rows: at least one cycle is needed")
    columns = [_parquet_column(path.name, name, data.column(i)) for i, name in enumerate(data.column_names)]
    simulated = (data.schema.metadata or {}).get(ORIGIN_KEY) == b"simulated"
    table = Table(
        file=path.name,
        columns=_once(path.name, data.column_names, None),
        values=np.column_stack(columns),
        first_row=1,
        origin="simulated" if simulated else "measured",
    )
    _check_finite(table)
    return table


def read_csv(path: Path) -> Table:
    """A CSV file with a header, in UTF-8 (a byte order mark is fine); rows are counted as an editor does."""
    text = _text(path)
    comments = 0
    origin: Origin = "measured"
    while text.startswith("#"):
        line, _, text = text.partition("\n")
        origin = "simulated" if "SIMULATED" in line else origin
        comments += 1
    header, _, body = text.partition("\n")
    if not header.strip():
        raise BadData(path.name, "there is no header: the first line must name the columns", comments + 1)
    columns = _once(path.name, [name.strip().strip('"') for name in header.split(",")], comments + 1)
    first_row = comments + 2
    values = parse_csv(body, columns, file=path.name, first_row=first_row)
    return Table(file=path.name, columns=columns, values=values, first_row=first_row, origin=origin)


def profile_beside(path: Path) -> Path | None:
    """`sample_profile.csv` for `sample_*`, else `profile.csv`; None where there is none."""
    prefix = path.name.partition("_")[0]
    names = [f"{prefix}_profile.csv", "profile.csv"] if prefix != "hydraulic" else ["profile.csv"]
    return next((path.with_name(name) for name in names if path.with_name(name).exists()), None)


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise BadData(path.name, f"{path.stat().st_size} bytes are more than a table of cycles may hold")
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        column = raw[: error.start].rpartition(b"\n")[2].count(b",") + 1
        raise BadData(path.name, f"byte {raw[error.start]:#04x} is not UTF-8 text", row, column) from error


def _parquet_column(file: str, name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise BadData(file, f"values of type {kind} are not numbers", column=name)
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy())) + 1
        raise BadData(file, "the cell is empty", row, name)
    values: NDArray[np.float64] = column.to_numpy().astype(np.float64)
    return _widened(values) if pa.types.is_float32(kind) else values


def _widened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers that were stored in 32 bits, as the 3 decimals that the rig wrote, where that loses nothing."""
    rounded = np.round(values, 3)
    same: bool = np.array_equal(rounded.astype(np.float32), values.astype(np.float32))
    return rounded if same else values


def _once(file: str, names: list[str], row: int | None) -> list[str]:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise BadData(file, "the column occurs twice", row, twice)
    return list(names)


def _check_finite(table: Table) -> None:
    bad = np.argwhere(~np.isfinite(table.values))
    if len(bad):
        row, column = bad[0]
        value = table.values[row, column]
        raise BadData(table.file, f"{value} is not a finite number", table.row(int(row)), table.columns[column])


def _check_columns(table: Table, needed: list[str], optional: list[str]) -> None:
    missing = [name for name in needed if name not in table.columns]
    unknown = [name for name in table.columns if name not in needed and name not in optional]
    if missing:
        found = f"; found instead: {', '.join(unknown)}" if unknown else ""
        raise BadData(table.file, f"the column is missing{found}", column=missing[0])
    if unknown:
        raise BadData(table.file, f"unknown column; known are {', '.join([*needed, *optional])}", column=unknown[0])


def _from_seconds(path: Path, table: Table) -> Cycles:
    inside = [name for name in table.columns if name in PROFILE_COLUMNS]
    labelled = [*PROFILE_COLUMNS] if inside else []
    _check_columns(table, ["cycle", "t_s", *SENSOR_NAMES, *labelled], ["run"] if inside else [])
    numbers = _cycle_numbers(table)
    seconds = table[SENSOR_NAMES].reshape(len(numbers), CYCLE_S, len(SENSORS)).transpose(0, 2, 1)
    conditions, run = _inside(table, labelled) if inside else _beside(path, numbers)
    return cycles_of_seconds(seconds, conditions, run=run, origin=table.origin, source=str(path))


def _cycle_numbers(table: Table) -> NDArray[np.int64]:
    """The number of each cycle; `BadData` unless every cycle is 60 rows with t_s 0 to 59, and comes once."""
    cycle, t_s = table[["cycle"]][:, 0], table[["t_s"]][:, 0]
    wrong = np.flatnonzero(t_s != np.arange(len(t_s)) % CYCLE_S)
    if len(wrong):
        problem = f"is {t_s[wrong[0]]:g}, must be {wrong[0] % CYCLE_S}: a cycle is 60 rows with t_s 0 to 59, in order"
        raise BadData(table.file, problem, table.row(int(wrong[0])), "t_s")
    if len(t_s) % CYCLE_S:
        problem = f"the file ends after {len(t_s) % CYCLE_S} s of the last cycle: {CYCLE_S} rows are needed"
        raise BadData(table.file, problem, table.row(len(t_s) - 1), "t_s")
    numbers = integers(cycle, table.file, table.row, "cycle")
    blocks = numbers.reshape(-1, CYCLE_S)
    mixed = np.flatnonzero(numbers != np.repeat(blocks[:, 0], CYCLE_S))
    if len(mixed):
        problem = f"is {numbers[mixed[0]]} within cycle {blocks[mixed[0] // CYCLE_S, 0]}"
        raise BadData(table.file, problem, table.row(int(mixed[0])), "cycle")
    _check_unique(blocks[:, 0], table, CYCLE_S)
    return blocks[:, 0]


def _check_unique(numbers: NDArray[np.int64], table: Table, rows_each: int) -> None:
    _, first = np.unique(numbers, return_index=True)
    again = np.setdiff1d(np.arange(len(numbers)), first)
    if len(again):
        problem = f"cycle {numbers[again[0]]} occurs twice"
        raise BadData(table.file, problem, table.row(int(again[0]) * rows_each), "cycle")


def _inside(table: Table, labelled: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Conditions that stand in the per-second table itself, the same in all 60 rows of a cycle."""
    names = [*labelled, "run"] if "run" in table.columns else labelled
    values = table[names]
    first = np.repeat(values[::CYCLE_S], CYCLE_S, axis=0)
    mixed = np.argwhere(values != first)
    if len(mixed):
        row, column = mixed[0]
        problem = f"is {values[row, column]:g}, but {first[row, column]:g} at the start of the cycle"
        raise BadData(table.file, problem, table.row(int(row)), names[column])
    return _labels(table, names, CYCLE_S)


def _beside(path: Path, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Conditions from the profile beside the table, matched by cycle number."""
    found = profile_beside(path)
    if found is None:
        return None, None
    profile = read_csv(found)
    _check_columns(profile, ["cycle", *PROFILE_COLUMNS], ["run"])
    listed = integers(profile[["cycle"]][:, 0], profile.file, profile.row, "cycle")
    _check_unique(listed, profile, 1)
    absent = np.setdiff1d(numbers, listed)
    if len(absent):
        raise BadData(profile.file, f"cycle {absent[0]} of {path.name} is not listed", column="cycle")
    conditions, run = _labels(profile, [name for name in profile.columns if name != "cycle"], 1)
    order = np.argsort(listed)
    place = order[np.searchsorted(listed, numbers, sorter=order)]
    return conditions[place], None if run is None else run[place]


def _labels(table: Table, names: list[str], step: int) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    def row(index: int) -> int:
        return table.row(index * step)

    conditions = check_classes(table[list(PROFILE_COLUMNS)][::step], table.file, row, list(PROFILE_COLUMNS))
    if "run" not in names:
        return conditions, None
    run = integers(table[["run"]][::step, 0], table.file, row, "run")
    check_runs(run, conditions, table.file, row)
    return conditions, run


def _from_means(path: Path, table: Table) -> Cycles:
    labelled = CONDITION_COLUMNS if set(table.columns) & set(CONDITION_COLUMNS) else []
    _check_columns(table, [*SENSOR_COLUMNS, *labelled], [])
    conditions = None
    if labelled:
        conditions = check_classes(table[labelled], table.file, table.row, labelled)
    return cycles_of_means(table[SENSOR_COLUMNS], conditions, origin=table.origin, source=str(path))
