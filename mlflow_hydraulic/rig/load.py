"""`load_cycles`: the rig's cycles from whatever a user has. Called by training, tests, `find` and `hydraulic data`."""

from __future__ import annotations

from pathlib import Path

from mlflow_hydraulic.errors import BadData, BadInput, NotFound
from mlflow_hydraulic.rig.cache import load_cached
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.published import ZIP_NAME, holds_published
from mlflow_hydraulic.rig.tables import load_table

SIMULATE = "hydraulic data simulate cycles.parquet"

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
    `cache` is a folder in which full-rate text is kept reduced to seconds. Raises `NotFound`, or `BadData` with file,
    row and column.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise NotFound(f"{path}: there is no such file or folder; give the rig's data, or make some: {SIMULATE}")
    try:
        path = _richest(path) if path.is_dir() else path
        if path.is_dir() or path.suffix == ".zip":
            return load_cached(path, cache)
        if path.suffix in {".parquet", ".csv"}:
            return load_table(path)
    except OSError as error:
        raise BadData(path.name, f"cannot be read: {error.strerror or error}") from error
    raise BadInput(f"{path}: must be a folder, or a .zip, .parquet or .csv file")


def _richest(folder: Path) -> Path:
    """All text files, else UCI's zip, else a table; a folder with only some of the text files is reported as such."""
    if holds_published(folder, all_of_them=True):
        return folder
    found = next((folder / name for name in (ZIP_NAME, *TABLES) if (folder / name).is_file()), None)
    if found is not None:
        return found
    if holds_published(folder, all_of_them=False):
        return folder
    raise NotFound(f"{folder}: holds no cycles; looked for PS1.txt ... profile.txt, {ZIP_NAME}, {', '.join(TABLES)}")
