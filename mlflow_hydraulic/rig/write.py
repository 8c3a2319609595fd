"""Writes cycles: parquet, CSV, and text as UCI publishes it. What is simulated says so in every one of them.

Called by `cache` and `hydraulic data`. A file is whole or not there: written under another name, then renamed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlflow_hydraulic.errors import BadData, BadInput, Failed
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.labels import PROFILE_COLUMNS
from mlflow_hydraulic.rig.published import MARKER, PROFILE
from mlflow_hydraulic.rig.sensors import CYCLE_S, SENSORS, Sensor
from mlflow_hydraulic.rig.tables import ORIGIN_KEY, SENSOR_NAMES, SIMULATED_LINE

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGEST_KEY = b"digest"
README = f"{SIMULATED_LINE.removeprefix('# ')}. Loaders look for this file, and call what lies beside it simulated.\n"
RIPPLE = 3  # amplitude of the simulated full-rate ripple, in units of the last decimal


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; on success it becomes `path`, on failure it is removed.

    `Failed` where the disk refuses: full, read-only, a folder in the way.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    except OSError as error:
        raise Failed(f"{path}: cannot be written: {error.strerror or error}; choose another place") from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    with suppress(OSError):  # the folder itself may be what is missing
        part.unlink(missing_ok=True)


def write_parquet(cycles: Cycles, path: Path) -> None:
    """One self-contained file: per-second rows (or means), conditions and run beside them, origin in the metadata."""
    table = pa.Table.from_pandas(frame_of(cycles), preserve_index=False)
    notes = {ORIGIN_KEY: cycles.origin.encode(), DIGEST_KEY: cycles.digest.encode()}
    if cycles.origin == "simulated":
        notes[b"note"] = README.encode()
    with whole_file(path) as part:
        pq.write_table(table.replace_schema_metadata(notes), part, compression="zstd")


def write_csv(cycles: Cycles, path: Path) -> None:
    """The same columns as the parquet; simulated cycles have a first line that says so."""
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as text:
        if cycles.origin == "simulated":
            text.write(SIMULATED_LINE + "\n")
        frame_of(cycles).to_csv(text, index=False, lineterminator="\n")


def write_uci(cycles: Cycles, folder: Path, *, progress: Callable[[Sensor], None] = lambda _: None) -> None:
    """The 18 text files of the published form into a new or empty folder; `progress` hears of each finished sensor.

    Full-rate samples of a second carry a small ripple around its mean and add up to it exactly.
    """
    if cycles.seconds is None or cycles.conditions is None:
        raise BadInput(f"{cycles.source}: only cycles with seconds and conditions can be written as UCI's text files")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder}: must be a new or empty folder")
    if cycles.origin == "simulated":  # first, so that a folder cut off halfway is never taken for measurements
        _write_text(folder / MARKER, [README])
    for i, sensor in enumerate(SENSORS):
        _write_text(folder / f"{sensor.name}.txt", sensor_lines(cycles.seconds[:, i, :], sensor))
        progress(sensor)
    rows = cycles.conditions.to_numpy()
    _write_text(folder / PROFILE, ("\t".join(map(str, row)) + "\n" for row in rows.tolist()))


def frame_of(cycles: Cycles) -> pd.DataFrame:
    """The table that files hold: a row per second (cycle, t_s, sensors, conditions, run), or per cycle."""
    if cycles.seconds is None:
        return cycles.means if cycles.conditions is None else cycles.means.join(cycles.conditions)
    n = len(cycles)
    frame: pd.DataFrame = pd.DataFrame(
        cycles.seconds.transpose(0, 2, 1).reshape(n * CYCLE_S, len(SENSORS)), columns=SENSOR_NAMES
    )
    frame.insert(0, "cycle", np.repeat(np.arange(n, dtype=np.int32), CYCLE_S))
    frame.insert(1, "t_s", np.tile(np.arange(CYCLE_S, dtype=np.int8), n))
    if cycles.conditions is None or cycles.run is None:
        return frame
    labels = np.repeat(cycles.conditions.to_numpy(), CYCLE_S, axis=0).astype(np.int16)
    for i, name in enumerate(PROFILE_COLUMNS):
        frame[name] = labels[:, i]
    frame["run"] = np.repeat(cycles.run, CYCLE_S)
    return frame


def stored_digest(path: Path) -> str | None:
    """The digest that `write_parquet` noted in the file, or None."""
    try:
        found = (pq.read_schema(path).metadata or {}).get(DIGEST_KEY)
    except (pa.ArrowException, OSError) as error:
        raise BadData(path.name, f"not a readable parquet file: {error}") from error
    return None if found is None else found.decode()


def decimals_of(sensor: Sensor) -> int:
    """Most decimals of the published samples: 1 for the motor's power, else 3."""
    return 1 if sensor.unit == "W" else 3


def _write_text(path: Path, lines: Iterator[str] | list[str]) -> None:
    with whole_file(path) as part, part.open("w", encoding="ascii", newline="") as text:
        text.writelines(lines)


def sensor_lines(seconds: NDArray[np.float64], sensor: Sensor) -> Iterator[str]:
    """One sensor's text, a line a cycle, of per-second means of shape (n, 60)."""
    unit = 10 ** decimals_of(sensor)
    for row in seconds:
        samples = _samples(np.rint(row * unit * sensor.rate_hz).astype(np.int64), sensor.rate_hz)
        yield "\t".join([f"{value:.9g}" for value in (samples / unit).tolist()]) + "\n"


def _samples(sums: NDArray[np.int64], rate_hz: int) -> NDArray[np.int64]:
    """Whole numbers, `rate_hz` a second, whose sum in each second is `sums`, shape (60,) to (60 * rate_hz,)."""
    base, rest = np.divmod(sums, rate_hz)
    samples = base[:, None] + (np.arange(rate_hz) < rest[:, None])
    if rate_hz > 1:  # the ripple of neighbours cancels; it never makes a pressure negative
        sign = np.where(np.arange(rate_hz) % 2, -1, 1)
        samples = samples + sign * np.minimum(RIPPLE, np.maximum(base, 0))[:, None]
    return samples.reshape(-1)
