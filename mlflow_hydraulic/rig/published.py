"""The files of UCI's data set as they lie on disk or in the zip: which there are, and each one as a stream of bytes.

Called by `uci` (which reads the numbers) and `fetch` (which verifies the bytes). Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from mlflow_hydraulic.errors import BadData
from mlflow_hydraulic.rig.sensors import SENSORS

PROFILE = "profile.txt"
FILES = (*(f"{sensor.name}.txt" for sensor in SENSORS), PROFILE)
MARKER = "SIMULATED.txt"  # `hydraulic data simulate --format uci` puts it beside the text files
ZIP_NAME = "condition+monitoring+of+hydraulic+systems.zip"
MAX_MEMBER_BYTES = 512 << 20  # the largest published file has 93 MB
MAX_MEMBERS = 1000
CHUNK_BYTES = 4 << 20
READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where each needed file is: member names in the zip `path`, or file names in the folder `path`."""

    path: Path
    places: dict[str, str]
    simulated: bool

    @property
    def zipped(self) -> bool:
        return self.path.is_file()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """One file as a stream; what goes wrong while it is read becomes `BadData` with its name."""
        try:
            if not self.zipped:
                with (self.path / self.places[name]).open("rb") as stream:
                    yield stream
                return
            with zipfile.ZipFile(self.path) as archive, archive.open(self.places[name]) as stream:
                yield stream
        except READ_ERRORS as error:
            where = f"{self.path.name}: " if self.zipped else ""
            raise BadData(f"{where}{name}", f"cannot be read: {error or type(error).__name__}") from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of one file, a few MB at a time."""
        with self.open(name) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk

    def content_key(self) -> str:
        """sha256 over names and bytes of all 18 files, hex: the same for a zip and for the folder in it."""
        whole = hashlib.sha256(b"simulated" if self.simulated else b"measured")
        for name in FILES:
            digest = hashlib.sha256()
            for chunk in self.chunks(name):
                digest.update(chunk)
            whole.update(f"{name} {digest.hexdigest()}\n".encode())
        return whole.hexdigest()


def open_published(path: Path) -> Published:
    """The 18 files in a zip, a folder, or the one folder inside either.

    `BadData` where one is missing, there twice, or too large, and where the zip is torn or holds unsafe names.
    """
    listed = _in_zip(path) if path.is_file() else _in_folder(path)
    places: dict[str, str] = {}
    for place, size in listed:
        name = PurePosixPath(place).name
        if name not in (*FILES, MARKER):
            continue
        if name in places:
            raise BadData(f"{path.name}: {name}", f"is there twice: {places[name]} and {place}")
        if size > MAX_MEMBER_BYTES:
            raise BadData(f"{path.name}: {name}", f"{size} bytes: at most {MAX_MEMBER_BYTES} are read")
        places[name] = place
    for name in FILES:
        if name not in places:
            raise BadData(name, _missing(path, name, [PurePosixPath(place).name for place, _ in listed]))
    return Published(path=path, places=places, simulated=MARKER in places)


def holds_published(folder: Path, *, all_of_them: bool) -> bool:
    """Whether the text files (all, or at least one) lie in `folder` or in one folder inside it."""
    found = {PurePosixPath(place).name for place, _ in _in_folder(folder)} & set(FILES)
    return found == set(FILES) if all_of_them else bool(found)


def _in_zip(path: Path) -> list[tuple[str, int]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except READ_ERRORS as error:
        raise BadData(path.name, f"not a readable zip (cut off while downloading?): {error}") from error
    if len(members) > MAX_MEMBERS:
        raise BadData(
            path.name, f"{len(members)} files: the published zip has about 20, at most {MAX_MEMBERS} are read"
        )
    for info in members:
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        if ".." in parts or info.filename[:1] in {"/", "\\"} or (parts and ":" in parts[0]):
            raise BadData(path.name, f"unsafe name {info.filename!r} in the zip: it leads out of the folder")
    return [(info.filename, info.file_size) for info in members]


def _in_folder(folder: Path) -> list[tuple[str, int]]:
    files = [entry for entry in sorted(folder.iterdir()) if entry.is_file()]
    if not any(entry.name in FILES for entry in files):
        files = [entry for entry in sorted(folder.glob("*/*.txt")) if entry.is_file()]
    return [(entry.relative_to(folder).as_posix(), entry.stat().st_size) for entry in files]


def _missing(path: Path, name: str, found: list[str]) -> str:
    similar = next((other for other in found if other.lower() == name.lower()), None)
    if similar:
        return f"is missing in {path}; there is {similar}: rename it"
    unknown = sorted(other for other in found if other.endswith(".txt") and other not in (*FILES, MARKER))
    return f"is missing in {path}" + (f"; found instead: {', '.join(unknown[:5])}" if unknown else "")
