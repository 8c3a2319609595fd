"""A folder of artifacts as MLflow's server reads it itself: what it serves as a proxy, and stores that it reaches.

Called by `catalogue` inside a request. What cannot be reached is `Unavailable`, what is not there `NotFound`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from mlflow_hydraulic.errors import BadInput, HydraulicError, NotFound, Unavailable


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder, by its path within the folder of artifacts. bytes: None where the store does not tell."""

    path: str
    folder: bool
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The folder at `uri`, as MLflow's tables name it."""

    uri: str

    def entries(self, path: str = "") -> Sequence[Entry]:
        """What lies in the subfolder `path`, sorted."""
        with self._told():
            store, root = self._store()
            found = store.list_artifacts("/".join(part for part in (root, path) if part) or None)
        cut = len(root) + 1 if root else 0
        return sorted((Entry(one.path[cut:], one.is_dir, one.file_size) for one in found), key=lambda one: one.path)

    def read(self, path: str, most: int) -> bytes:
        """The content of a file of at most `most` bytes."""
        parent = path.rpartition("/")[0]
        entry = next((one for one in self.entries(parent) if one.path == path and not one.folder), None)
        if entry is None:
            raise NotFound(f"{path!r}: there is no such file among the artifacts (any more)")
        _refuse_large(path, entry.bytes, most)
        with self._told(), tempfile.TemporaryDirectory(prefix="hydraulic-artifact-") as scratch:
            store, root = self._store()
            whole = f"{root}/{path}" if root else path
            file = Path(store.download_artifacts(whole, dst_path=scratch))
            _refuse_large(path, file.stat().st_size, most)
            return file.read_bytes()

    def download(self, into: Path) -> Path:
        """All of it, as a folder within `into`."""
        with self._told():
            store, root = self._store()
            return Path(store.download_artifacts(root, dst_path=str(into)))

    def _store(self) -> tuple[Any, str]:  # Any: MLflow's repositories are untyped
        """The store, and where in it the folder lies."""
        from mlflow.server import handlers
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if handlers._is_servable_proxied_run_artifact_root(self.uri):
            root = handlers._get_proxied_run_artifact_destination_path(self.uri)
            return handlers._get_artifact_repo_mlflow_artifacts(), root.strip("/")
        opened = getattr(
            handlers, "_get_artifact_repository_for_uri", get_artifact_repository
        )  # checks hosts, since 3.17
        return opened(self.uri), ""

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except HydraulicError:
            raise
        except FileNotFoundError as error:
            raise NotFound("the artifacts are not there (any more): they were deleted from their store") from error
        except MlflowException as error:
            raise Unavailable(f"the artifacts cannot be read: {error.message[:300]}") from error
        except Exception as error:  # each kind of store has a client with errors of its own
            raise Unavailable(f"the artifacts' store does not answer ({type(error).__name__}); try again") from error


def _refuse_large(path: str, size: int | None, most: int) -> None:
    if size is not None and size > most:
        raise BadInput(f"{path!r} has {size} bytes: at most {most} are shown here; MLflow's own page has the file")
