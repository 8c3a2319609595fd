"""Reads what UCI publishes: 17 tab-separated text files at 100, 10 and 1 Hz, one cycle a row, and profile.txt.

Sensor by sensor, a few MB at a time, each block reduced at once to the exact mean of every second: full-rate samples
of more than one block are never in memory together. Called by `load`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlflow_hydraulic.errors import BadData
from mlflow_hydraulic.rig.assembly import cycles_of_seconds
from mlflow_hydraulic.rig.cells import parse_rows
from mlflow_hydraulic.rig.cycles import Cycles, Origin
from mlflow_hydraulic.rig.labels import check_classes
from mlflow_hydraulic.rig.published import PROFILE, Published, open_published
from mlflow_hydraulic.rig.sensors import CONDITIONS, CYCLE_S, SENSORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CELL_BYTES = 32
SCALE = 1000  # the published numbers have at most 3 decimals


def load_published(path: Path) -> Cycles:
    """`Cycles` of UCI's folder or zip; `BadData` with file, row and column where it is damaged."""
    return read_published(open_published(path))


def read_published(published: Published) -> Cycles:
    """As `load_published`, for files that were found already. Peak memory: about 100 MB beside the imports."""
    profile = read_matrix(published.chunks(PROFILE), PROFILE, len(CONDITIONS))
    parts: dict[str, NDArray[np.float64]] = {}
    for sensor in sorted(SENSORS, key=lambda sensor: sensor.rate_hz):
        name = f"{sensor.name}.txt"
        parts[name] = read_seconds(published.chunks(name), name, sensor.rate_hz)
        if sensor.rate_hz > 1:
            _check_lengths({PROFILE: len(profile)} | {part: len(values) for part, values in parts.items()})
    conditions = check_classes(profile, PROFILE, lambda index: index + 1, range(1, len(CONDITIONS) + 1))
    seconds = np.stack([parts[f"{sensor.name}.txt"] for sensor in SENSORS], axis=1)
    origin: Origin = "simulated" if published.simulated else "measured"
    return cycles_of_seconds(seconds, conditions, origin=origin, source=str(published.path))


def read_seconds(chunks: Iterable[bytes], file: str, rate_hz: int) -> NDArray[np.float64]:
    """The mean of every second of each cycle, shape (cycles, 60), of one sensor's text."""
    parts = [second_means(block, rate_hz) for block in _blocks(chunks, file, rate_hz * CYCLE_S)]
    return np.concatenate(parts)


def read_matrix(chunks: Iterable[bytes], file: str, width: int) -> NDArray[np.float64]:
    """Tab-separated text as it is, shape (rows, width)."""
    return np.concatenate(list(_blocks(chunks, file, width)))


def second_means(samples: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """The exact mean of every second: samples of shape (cycles, 60 * rate_hz) to (cycles, 60).

    Samples with at most 3 decimals are summed as whole thousandths, so the result is the double nearest to the true
    mean and does not depend on the order of summation; samples with more decimals are summed as they are.
    """
    parts = samples.reshape(len(samples), CYCLE_S, rate_hz)
    thousandths = np.rint(parts * SCALE)
    if np.array_equal(thousandths / SCALE, parts):
        return np.asarray(thousandths.sum(axis=2) / (SCALE * rate_hz))
    return np.asarray(parts.mean(axis=2))


def _blocks(chunks: Iterable[bytes], file: str, width: int) -> Iterator[NDArray[np.float64]]:
    done = 0
    for lines in _lines(chunks, file, width):
        yield parse_rows(lines, width, file=file, first_row=done + 1)
        done += len(lines)
    if not done:
        raise BadData(file, "the file is empty: at least one cycle is needed")


def _lines(chunks: Iterable[bytes], file: str, width: int) -> Iterator[list[bytes]]:
    """Whole lines, a chunk of them at a time, without line ends; the last line must have one, or it was cut off."""
    longest = width * MAX_CELL_BYTES
    done, rest = 0, b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        too_long = next((i for i, line in enumerate([*lines, rest]) if len(line) > longest), None)
        if too_long is not None:
            problem = f"the row is longer than {longest} bytes: {width} columns separated by tabs are needed"
            raise BadData(file, problem, done + too_long + 1)
        if lines:
            yield [line.removesuffix(b"\r") for line in lines]
        done += len(lines)
    if rest:
        parse_rows([rest], width, file=file, first_row=done + 1)  # a damaged cell is named before the missing end
        problem = "the last row has no line end, so the file may be cut off; add one if the row is whole"
        raise BadData(file, problem, done + 1, width)


def _check_lengths(rows: dict[str, int]) -> None:
    """All files must have as many rows as most of them have."""
    usual = Counter(rows.values()).most_common(1)[0][0]
    for file, count in rows.items():
        if count < usual:
            raise BadData(file, f"ends after {count} rows, the other files have {usual}", count)
        if count > usual:
            raise BadData(file, f"goes on to row {count}, the other files end after {usual} rows", usual + 1)
