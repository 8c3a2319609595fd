"""One digest for a folder: what a deployment pins, what the ledger names, what is checked before a model serves.

Called by the flavor, the bundle and the deployment targets.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from mlflow_hydraulic.errors import BadInput, NotFound, Untrusted

CHUNK = 1 << 20  # bytes
# MLflow writes this file beside a model that it downloads from the registry; it is no part of the model.
ADDED_BY_DOWNLOAD = "registered_model_meta"
# Lines of MLmodel that tell when and by which run a model was saved, and nothing of what it does. Only a plain scalar
# on one line is left out: whatever else stands there counts, so nothing that MLflow acts on can hide in it.
VOLATILE_LINE = re.compile(
    rb"^(?:artifact_path|model_id|model_uuid|run_id|utc_time_created):(?: [\w.:/'+ -]*)?\r?\n?$", re.ASCII
)


def digest_folder(path: Path) -> str:
    """The sha256, 64 hex digits, of every file under `path`: its content and its relative path.

    It is the sha256 of what `sha256sum` prints for all files, sorted by path. It stays the same through upload,
    registry and download, and for the same model saved again: times, permissions, empty folders, the lines of `MLmodel`
    that name time and run, MLflow's `registered_model_meta` and Python's `__pycache__/*.pyc` do not count. (Whoever
    runs code from a model's folder sets PYTHONPYCACHEPREFIX, so that no byte code there is read either.)

    Raises `NotFound` without such a folder, `BadInput` for one without files, `Untrusted` for a link that leaves the
    folder or leads to a folder, for devices and pipes, and for line breaks in names.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "model.txt").write_text("3, 20, 100")
    ...     digest_folder(Path(folder))[:16]
    '699fe7c947fe0321'
    """
    if not path.is_dir():
        raise NotFound(f"{path}: there is no such folder, so it has no digest")
    root = path.resolve()
    lines = [f"{_digest_file(file, name)}  {name}\n" for name, file in sorted(_files(root, root))]
    if not lines:
        raise BadInput(f"{path}: the folder holds no files: nothing to make a digest of")
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _files(root: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """(relative path with slashes, file) of every file that counts, in no order."""
    with os.scandir(folder) as entries:
        for entry in entries:
            file = Path(entry.path)
            name = file.relative_to(root).as_posix()
            if entry.is_dir(follow_symlinks=False):
                yield from _files(root, file)
            elif not _left_out(file, name):
                _check(root, file, name)
                yield name, file


def _left_out(file: Path, name: str) -> bool:
    return name == ADDED_BY_DOWNLOAD or (file.parent.name == "__pycache__" and file.suffix == ".pyc")


def _check(root: Path, file: Path, name: str) -> None:
    if "\n" in name or "\r" in name:
        raise Untrusted(f"{name!r} in {root}: a file name must not hold a line break; rename the file")
    target = Path(os.path.realpath(file))  # Path.resolve raises on a link to itself
    if not target.is_relative_to(root):
        raise Untrusted(f"{name} in {root}: the link leads out of the folder, to {target}; put a copy there")
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise Untrusted(f"{name} in {root}: cannot be read: {error}") from error
    if not stat.S_ISREG(mode):
        raise Untrusted(f"{name} in {root}: only files and folders count, no links to folders, devices or pipes")


def _digest_file(file: Path, name: str) -> str:
    sha256 = hashlib.sha256()
    with file.open("rb") as stream:
        if name == "MLmodel":
            for line in stream:
                if not VOLATILE_LINE.match(line):
                    sha256.update(line)
        else:
            while chunk := stream.read(CHUNK):
                sha256.update(chunk)
    return sha256.hexdigest()
