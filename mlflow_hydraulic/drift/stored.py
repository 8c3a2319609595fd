"""A baseline as the bytes of `drift.npz`, and back; `bundle` keeps them under a digest."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlflow_hydraulic.drift.reference import Reference, from_arrays
from mlflow_hydraulic.errors import BadData

NAME = "drift.npz"
Arrays = dict[str, NDArray[np.generic]]


def pack(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The arrays as an .npz without compression; the same arrays give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.save(member, arrays[name], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return content.getvalue()


def unpack(content: bytes) -> Arrays:
    """The arrays of `pack`; `BadData` for anything else. Compressed members are refused: they may be of any size."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise BadData(NAME, "holds compressed members: it was not written by this program")
            return {
                entry.filename.removesuffix(".npy"): np.load(io.BytesIO(archive.read(entry)), allow_pickle=False)
                for entry in archive.infolist()
            }
    except (
        zipfile.BadZipFile,
        ValueError,
        EOFError,
        MemoryError,
        SyntaxError,
        OverflowError,
        NotImplementedError,
    ) as error:
        raise BadData(NAME, f"is no archive of arrays: {error}") from error


def read_reference(content: bytes, names: Sequence[str]) -> Reference:
    """The reference alone, which flagging rows needs; a calibrated `Baseline` is made by `baseline.baseline_from`."""
    return from_arrays(unpack(content), names)
