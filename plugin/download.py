"""A saved model as a folder on this machine, and what is in it, for the command line.

MLflow's errors come out as this package's, because the command line knows only those.
"""

from __future__ import annotations

from pathlib import Path

import mlflow.artifacts
from mlflow.exceptions import MlflowException

from mlflow_hydraulic.errors import Failed, HydraulicError, NotFound, Unavailable
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.rig.model import HydraulicModel

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND")
AWAY = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")


def model_folder(model: str, into: Path) -> Path:
    """The folder of `model`: itself when it is a folder, else MLflow's URI downloaded into the folder `into`.

    Raises `NotFound`, or `Unavailable` when the registry cannot be reached for now, or `Failed` with MLflow's words.
    """
    if Path(model).is_dir():
        return Path(model)
    if ":" not in model:
        raise NotFound(f"{model}: there is no such folder; give a saved model's folder or a URI such as models:/name/1")
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=model, dst_path=str(into)))
    except MlflowException as error:
        raise _ours(model, error) from error
    except OSError as error:
        raise NotFound(f"{model}: cannot be downloaded: {error}") from error


def saved_model(folder: Path) -> HydraulicModel:
    """The Python model that the flavor `hydraulic` saved in `folder`."""
    try:
        return flavor.load_model(str(folder))
    except MlflowException as error:
        if isinstance(error.__cause__, HydraulicError):
            raise error.__cause__ from error
        raise _ours(str(folder), error) from error


def _ours(what: str, error: MlflowException) -> HydraulicError:
    kind = NotFound if error.error_code in ABSENT else Unavailable if error.error_code in AWAY else Failed
    return kind(f"{what}: {error.message}")
