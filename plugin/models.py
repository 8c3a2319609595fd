"""From a model URI to a pinned version with its files on this machine. Called by the deployments clients.

A moving name (`models:/cooler@champion`, `models:/cooler/Production`) becomes a version number at once. The files lie
in HYDRAULIC_HOME/models/<digest>/, fetched once and put there whole; HYDRAULIC_HOME/models/index/ remembers which
version of which registry they are, so that what is here already is not fetched again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import requests

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.bundle.plain_yaml import read_yaml
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.errors import BadData, BadInput, Failed, HydraulicError, NotFound, Refused, Unavailable

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as Registered
    from mlflow.exceptions import MlflowException

REGISTERED = re.compile(r"models:/+(?P<name>[^/@]+)(?:/(?P<version>[^/@]+)|@(?P<alias>[^/@]+))")
NO_ROOM = re.compile(rf"\[Errno (?:{errno.ENOSPC}|{errno.EDQUOT}|{errno.EFBIG})\]")
FETCHING = ".fetching-"  # then the process's number
LOGGED = re.compile(r"models:/+(?P<name>m-[0-9a-f]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """A URI with nothing in it that moves. `key` names the files for ever; None where they may change, as a path."""

    uri: str
    name: str
    version: str
    key: str | None


def fetch(uri: str, home: Path) -> ModelVersion:
    """The version that `uri` means now, its files fetched and fit to be served.

    Raises `NotFound` for a model, version, alias or file that is not there, `BadInput` for a URI that is none and for a
    model without a signature, `Failed` when it cannot be stored.
    """
    pinned = pin(uri)
    known = _known(home, pinned)
    digest = known or _download(home, pinned)
    check_servable(home / "models" / digest, uri)
    return ModelVersion(uri=pinned.uri, name=pinned.name, version=pinned.version, digest=digest)


def pin(uri: str) -> Pinned:
    """`uri` with its alias, stage or "latest" resolved to a version number."""
    if LOGGED.fullmatch(uri):
        return Pinned(uri=uri, name=uri.rsplit("/", 1)[-1], version="0", key=None)
    if uri.startswith("models:"):
        return _registered(uri)
    if urlparse(uri).scheme in ("", "file"):
        path = Path(urlparse(uri).path if uri.startswith("file:") else uri).expanduser()
        if not (path / "MLmodel").is_file():
            raise NotFound(f"model {uri!r}: there is no file MLmodel in {path}: give a model's folder or an MLflow URI")
        path = path.resolve()
        return Pinned(uri=str(path), name=_plain(path.name), version="0", key=None)
    return Pinned(uri=uri, name=_plain(uri.rstrip("/").rsplit("/", 1)[-1]), version="0", key=None)


def sweep(home: Path) -> None:
    """Remove what fetches that were killed have left in `home`. Call it before a process's own first fetch."""
    for folder in (home / "models").glob(f"{FETCHING}*-*"):
        pid = folder.name.removeprefix(FETCHING).partition("-")[0]
        if pid == str(os.getpid()) or not _alive(pid):
            shutil.rmtree(folder, ignore_errors=True)


def check_servable(folder: Path, uri: str) -> None:
    """Raises where MLmodel says that no scorer could serve this: no pyfunc flavor, no signature."""
    import yaml

    try:
        card = read_yaml((folder / "MLmodel").read_text(encoding="utf-8"))
        flavors = dict(card["flavors"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BadData(str(folder / "MLmodel"), f"not a readable MLmodel file ({error}): log the model again") from error
    if "python_function" not in flavors:
        raise BadInput(f"model {uri!r} has no flavor python_function, only {sorted(flavors)}: it cannot be served")
    if not card.get("signature"):
        raise BadInput(
            f"model {uri!r} has no signature, so nobody knows its columns: log it again with signature=, or "
            "input_example=, or use mlflow.models.set_signature"
        )


def _registered(uri: str) -> Pinned:
    match = REGISTERED.fullmatch(uri)
    if match is None:
        raise BadInput(f"model {uri!r}: write models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/STAGE")
    name, version, alias = match["name"], match["version"], match["alias"]
    found = _find(uri, name, version, alias)
    facts = [_registry(), name, found.version, found.source, str(found.creation_timestamp), str(found.run_id)]
    return Pinned(
        uri=f"models:/{name}/{found.version}",
        name=name,
        version=str(found.version),
        key=hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest(),
    )


def _find(uri: str, name: str, version: str | None, alias: str | None) -> Registered:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        if alias is not None:
            return client.get_model_version_by_alias(name, alias)
        if version is not None and version.isdigit():
            return client.get_model_version(name, version)
        client.get_registered_model(name)
        versions = list(client.search_model_versions(f"name='{name}'"))
    except MlflowException as error:
        raise _ours(f"model {uri!r}, registry {_registry()}", error) from error
    stage = (version or "").lower()
    fits = [v for v in versions if stage == "latest" or str(v.current_stage).lower() == stage]
    if not fits:
        have = ", ".join(f"{v.version} ({v.current_stage})" for v in versions) or "none"
        raise NotFound(f"model {uri!r}: no version of {name!r} is {version!r}; versions are {have}")
    return max(fits, key=lambda v: int(v.version))


def _ours(what: str, error: MlflowException, *, asks_mlflow: bool = True) -> HydraulicError:
    """MLflow says INVALID_PARAMETER_VALUE for an alias that is not there; what it cannot reach is an INTERNAL_ERROR.

    Of a full disk it leaves only the text.
    """
    if NO_ROOM.search(error.message):
        return Failed(f"{what}: there is no room for it: {error.message}; make room, or set HYDRAULIC_HOME")
    absent = error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
    hint = "is MLFLOW_TRACKING_URI right?" if asks_mlflow else "are the address and the storage's credentials right?"
    return (NotFound if absent else Unavailable)(f"{what}: {error.message}; {hint}")


def _of_network(what: str, error: OSError) -> HydraulicError:
    """Of a server of plain HTTP: refused and missing are its answers, everything else may pass."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    kind = {401: Refused, 403: Refused, 404: NotFound}.get(status or 0, Unavailable)
    return kind(f"{what}: {error}")


def _registry() -> str:
    import mlflow

    return str(mlflow.get_registry_uri())


def _known(home: Path, pinned: Pinned) -> str | None:
    """The digest of files that are here already and still whole."""
    if pinned.key is None:
        return None
    try:
        digest = json.loads((home / "models" / "index" / f"{pinned.key}.json").read_text(encoding="utf-8"))["digest"]
        folder = home / "models" / str(digest)
        return str(digest) if folder.is_dir() and digest_folder(folder) == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _download(home: Path, pinned: Pinned) -> str:
    """Fetches to a folder beside, then renames: nobody ever sees half a model. Two at once do no harm."""
    import mlflow
    from mlflow.exceptions import MlflowException

    models = home / "models"
    try:
        (models / "index").mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=models, prefix=f"{FETCHING}{os.getpid()}-") as scratch:
            fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=pinned.uri, dst_path=scratch))
            if not fetched.is_relative_to(scratch):  # MLflow gives a local path as it is
                fetched = Path(shutil.copytree(fetched, Path(scratch) / "copy"))
            digest = digest_folder(fetched)
            put(fetched, models / digest, digest)
        if pinned.key is not None:
            _remember(models / "index" / f"{pinned.key}.json", {"digest": digest, "uri": pinned.uri})
    except MlflowException as error:
        asks_mlflow = pinned.uri.startswith(("models:", "runs:", "mlflow-artifacts:"))
        raise _ours(f"model {pinned.uri!r} cannot be fetched", error, asks_mlflow=asks_mlflow) from error
    except (requests.RequestException, ConnectionError, TimeoutError) as error:  # OSErrors too, but not of the disk
        raise _of_network(f"model {pinned.uri!r} cannot be fetched", error) from error
    except OSError as error:
        raise Failed(
            f"model {pinned.uri!r} cannot be stored in {models}: {error}; make room, or set HYDRAULIC_HOME"
        ) from error
    return digest


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def put(fetched: Path, final: Path, digest: str) -> None:
    """Give what was fetched its name, by its digest; another process may be quicker with the same files."""
    if final.is_dir():
        if digest_folder(final) == digest:
            return
        final.rename(final.with_name(f".damaged-{digest}-{id(final)}"))  # its files were changed here; keep them aside
    try:
        fetched.rename(final)
    except OSError:
        if not final.is_dir():  # else another process was quicker, with the same files
            raise


def _remember(path: Path, value: dict[str, Any]) -> None:  # Any: the value is JSON
    temporary = path.with_suffix(f".{id(value)}.tmp")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "model"
