"""The files of pinned model versions, for the pages: those that are here already, else from MLflow's own stores.

Kept under their digest where controller and deployments keep theirs (HYDRAULIC_HOME/models), and checked against it.
MLflow's server reads its stores itself: over HTTP it would ask itself. Made by `site`.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.errors import NotFound, Unavailable, Untrusted
from mlflow_hydraulic.plugin.artifacts import Artifacts
from mlflow_hydraulic.plugin.models import FETCHING, LOGGED, REGISTERED, put

MOST_BYTES = 500_000_000  # of one version: pages need little of it, and this server is no mirror
MOST_FILES = 2000


@dataclass(frozen=True, slots=True)
class ServersFiles:
    """Of the server that this process is. home: HYDRAULIC_HOME."""

    home: Path

    def folder(self, model: ModelVersion) -> Path:
        """The folder under the version's digest, fetched once.

        `NotFound` where MLflow has no such files, `Untrusted` where they are not those that were pinned, `Unavailable`
        where the store does not answer, or holds more than is fetched for a page.
        """
        here = self.home / "models" / model.digest
        if model.digest and here.is_dir():
            return here
        artifacts = Artifacts(_storage(model))
        _refuse_large(artifacts, model)
        here.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=here.parent, prefix=f"{FETCHING}{os.getpid()}-") as scratch:
            fetched = artifacts.download(Path(scratch))
            digest = digest_folder(fetched)
            if digest != model.digest:
                raise Untrusted(
                    f"{model.uri} was pinned with digest {model.digest[:12]} and has {digest[:12]} now: its artefact "
                    f"was changed after registration"
                )
            put(fetched, here, digest)
        return here


def _storage(model: ModelVersion) -> str:
    """Where MLflow keeps the files. A path of some machine is none of MLflow's."""
    from mlflow.server import handlers

    try:
        if LOGGED.fullmatch(model.uri):
            return str(handlers._get_tracking_store().get_logged_model(model.name).artifact_location)
        if match := REGISTERED.fullmatch(model.uri):
            store = handlers._get_model_registry_store()
            return str(store.get_model_version_download_uri(match["name"], match["version"]))
        if model.uri.startswith("runs:"):
            run, _, path = model.uri.removeprefix("runs:").lstrip("/").partition("/")
            return f"{str(handlers._get_tracking_store().get_run(run).info.artifact_uri).rstrip('/')}/{path}"
    except MlflowException as error:
        raise NotFound(f"{model.uri}: {error.message}") from error
    raise NotFound(f"{model.uri} is none of MLflow's: its files are on the machine that deployed it")


def _refuse_large(artifacts: Artifacts, model: ModelVersion) -> None:
    """Before anything is fetched."""
    size, count, folders = 0, 0, [""]
    while folders:
        for entry in artifacts.entries(folders.pop()):
            if entry.folder:
                folders.append(entry.path)
            size += entry.bytes or 0
            count += 1
        if size > MOST_BYTES or count > MOST_FILES:
            raise Unavailable(f"{model.uri} is larger than what is fetched for a page ({MOST_BYTES // 10**6} MB)")
