"""`load_cycles`: the rig's cycles from whatever a user has. Called by training, tests, `find` and `hydraulic data`."""

from __future__ import annotations

from pathlib import Path

from mlflow_hydraulic.errors import BadInput, NotFound
from mlflow_hydraulic.rig.cycles import Cycles

# richest first: names that a folder may hold
TABLES = (
    "hydraulic_1hz.parquet",
    "hydraulic_1hz.csv",
    "hydraulic_cycle_means_h2o.csv",
    "sample_cycles_1hz.parquet",
    "sample_cycles_1hz.csv",
)


def load_cycles(source: str | Path, *, cache: Path | None = None) -> Cycles:
    """Load cycles from a folder or a file.

    A folder: the richest source in it is taken. A file: UCI's zip, per-second parquet or CSV, or the tutorial's CSV.
    `cache` is a folder for the reduced full-rate text. Raises `NotFound`, or `BadData` with file, row and column.
    """
    from mlflow_hydraulic.rig.tables import load_table

    path = Path(source).expanduser()
    if not path.exists():
        raise NotFound(
            f"{path}: there is no such file or folder; give the rig's data, or make some: hydraulic data simulate"
        )
    if path.is_dir():
        path = _richest(path)
    if path.suffix in {".parquet", ".csv"}:
        return load_table(path)
    raise BadInput(f"{path}: must be a folder, .zip, .parquet or .csv")


def _richest(folder: Path) -> Path:
    for name in TABLES:
        if (folder / name).is_file():
            return folder / name
    raise NotFound(f"{folder}: holds no cycles; looked for PS1.txt ... profile.txt, {', '.join(TABLES)}")
