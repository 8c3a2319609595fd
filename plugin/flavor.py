"""The MLflow flavor "hydraulic": saves, logs and loads a `HydraulicModel`, and answers as `pyfunc`.

`hydraulic train`, notebooks and MLflow itself call it. This module's dotted path is written into every saved model:
it must never move. A saved model is a folder:

    MLmodel, conda.yaml, python_env.yaml, requirements.txt, input_example.json    as MLflow has them
    model.skops, hydraulic.json, background.parquet                               `plugin/saved.py`
    bundle/                                                                       `bundle/read.py`
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME, ModelInfo
from mlflow.models.utils import ModelInputExample, _save_example
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS
from mlflow.tracking._model_registry import DEFAULT_AWAIT_MAX_SLEEP_SECONDS
from mlflow.tracking.artifact_utils import _download_artifact_from_uri
from mlflow.utils.environment import (
    _CONDA_ENV_FILE_NAME,
    _CONSTRAINTS_FILE_NAME,
    _PYTHON_ENV_FILE_NAME,
    _REQUIREMENTS_FILE_NAME,
    _mlflow_conda_env,
    _process_conda_env,
    _process_pip_requirements,
    _PythonEnv,
    _validate_env_arguments,
)
from mlflow.utils.file_utils import get_total_file_size
from mlflow.utils.model_utils import (
    _add_code_from_conf_to_system_path,
    _get_flavor_configuration,
    _validate_and_copy_code_paths,
)

from mlflow_hydraulic.bundle.build import build_bundle
from mlflow_hydraulic.bundle.read import Bundle
from mlflow_hydraulic.plugin.autologging import autolog
from mlflow_hydraulic.plugin.errors import PluginError, translated
from mlflow_hydraulic.plugin.pyfunc_model import HydraulicPyfunc, signature_of
from mlflow_hydraulic.plugin.requirements import package_requirements
from mlflow_hydraulic.plugin.saved import CARD_FILE, ESTIMATOR_FILE, read_model, write_model
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.version import VERSION

__all__ = [
    "FLAVOR_NAME",
    "autolog",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "save_model",
]

FLAVOR_NAME = "hydraulic"
BUNDLE_FOLDER = "bundle"
Json = dict[str, Any]  # Any: YAML and JSON values, as MLflow types them


def get_default_pip_requirements() -> list[str]:
    """What an environment needs to load and score: this package and, pinned, the libraries that the numbers hang on."""
    return package_requirements()


def get_default_conda_env() -> Json:
    """The conda environment with `get_default_pip_requirements`."""
    return dict(_mlflow_conda_env(additional_pip_deps=get_default_pip_requirements()))


@translated()
def save_model(  # noqa: PLR0917 - the order of arguments is the one of MLflow's flavors
    model: HydraulicModel,
    path: str | os.PathLike[str],
    conda_env: Json | str | None = None,
    code_paths: list[str] | None = None,
    mlflow_model: Model | None = None,
    signature: ModelSignature | bool | None = None,
    input_example: ModelInputExample = None,
    pip_requirements: list[str] | str | None = None,
    extra_pip_requirements: list[str] | str | None = None,
    metadata: Json | None = None,
) -> None:
    """Saves `model` as the folder `path`: whole, or not at all.

    Args:
        model: the trained model.
        path: a folder that does not exist or is empty.
        conda_env: a conda environment, as a dictionary or a file, instead of the default one.
        code_paths: files and folders of code that the model needs beside this package.
        mlflow_model: what MLflow's `Model.log` passes on.
        signature: instead of the one that the model's schema gives; False saves none.
        input_example: instead of the most usual background row; False saves none.
        pip_requirements: instead of `get_default_pip_requirements`.
        extra_pip_requirements: beside them.
        metadata: a dictionary to keep in `MLmodel`.

    Raises MlflowException: RESOURCE_ALREADY_EXISTS for a folder that holds something, INVALID_PARAMETER_VALUE for a
    model whose parts do not fit together or that holds a type which is not safe to load.
    """
    _validate_env_arguments(conda_env, pip_requirements, extra_pip_requirements)
    target = Path(path).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise PluginError(
            f"{target} exists already and is not an empty folder: choose another path, or remove it first",
            error_code=RESOURCE_ALREADY_EXISTS,
        )
    mlflow_model = Model() if mlflow_model is None else mlflow_model
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
        folder = Path(beside) / "model"
        folder.mkdir()
        code = _validate_and_copy_code_paths(code_paths, str(folder))
        write_model(model, folder)
        bundle = build_bundle(model, folder / BUNDLE_FOLDER)
        example = model.usual(1) if input_example is None else input_example
        _save_example(mlflow_model, None if example is False else example, str(folder))
        if signature is not False:
            mlflow_model.signature = signature_of(model.schema) if signature in {None, True} else signature
        if metadata is not None:
            mlflow_model.metadata = metadata
        _add_flavors(mlflow_model, model, bundle, code)
        _write_environment(folder, conda_env, pip_requirements, extra_pip_requirements)
        mlflow_model.model_size_bytes = get_total_file_size(str(folder))
        mlflow_model.save(str(folder / MLMODEL_FILE_NAME))
        os.replace(folder, target)  # noqa: PTH105 - replaces an empty folder too


def _add_flavors(mlflow_model: Model, model: HydraulicModel, bundle: Bundle, code: str | None) -> None:
    pyfunc.add_to_model(
        mlflow_model,
        loader_module=__name__,
        conda_env=_CONDA_ENV_FILE_NAME,
        python_env=_PYTHON_ENV_FILE_NAME,
        code=code,
    )
    mlflow_model.add_flavor(
        FLAVOR_NAME,
        code=code,
        data=ESTIMATOR_FILE,
        card=CARD_FILE,
        bundle=BUNDLE_FOLDER,
        bundle_digest=bundle.digest,
        code_version=VERSION,
        target=model.schema.target,
        labels=list(model.schema.labels),
        features=model.features,
        origin=model.origin,
    )


def _write_environment(
    folder: Path,
    conda_env: Json | str | None,
    pip_requirements: list[str] | str | None,
    extra_pip_requirements: list[str] | str | None,
) -> None:
    """The requirements are known, so MLflow's inference (a process that loads the model and watches) is not called."""
    if conda_env is None:
        default = get_default_pip_requirements() if pip_requirements is None else None
        env, pip, constraints = _process_pip_requirements(default, pip_requirements, extra_pip_requirements)
    else:
        env, pip, constraints = _process_conda_env(conda_env)
    (folder / _CONDA_ENV_FILE_NAME).write_text(yaml.safe_dump(env, default_flow_style=False), encoding="utf-8")
    if constraints:
        (folder / _CONSTRAINTS_FILE_NAME).write_text("\n".join(constraints), encoding="utf-8")
    (folder / _REQUIREMENTS_FILE_NAME).write_text("\n".join(pip), encoding="utf-8")
    _PythonEnv.current().to_yaml(str(folder / _PYTHON_ENV_FILE_NAME))


@translated()
def log_model(  # noqa: PLR0917 - as in save_model
    model: HydraulicModel,
    artifact_path: str | None = None,
    conda_env: Json | str | None = None,
    code_paths: list[str] | None = None,
    registered_model_name: str | None = None,
    signature: ModelSignature | bool | None = None,
    input_example: ModelInputExample = None,
    await_registration_for: int | None = DEFAULT_AWAIT_MAX_SLEEP_SECONDS,
    pip_requirements: list[str] | str | None = None,
    extra_pip_requirements: list[str] | str | None = None,
    metadata: Json | None = None,
    name: str | None = None,
    params: Json | None = None,
    tags: Json | None = None,
    model_type: str | None = None,
    step: int = 0,
    model_id: str | None = None,
    **kwargs: Any,  # Any: goes on to `mlflow.models.Model.log`
) -> ModelInfo:
    """Logs `model` to the active run (or starts one) and, with `registered_model_name`, registers it.

    The arguments are those of `save_model` and of `mlflow.models.Model.log`. `artifact_path` is MLflow's old word for
    `name`.
    """
    return Model.log(
        artifact_path=artifact_path,
        name=name,
        flavor=sys.modules[__name__],
        model=model,
        conda_env=conda_env,
        code_paths=code_paths,
        registered_model_name=registered_model_name,
        signature=signature,
        input_example=input_example,
        await_registration_for=await_registration_for,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
        metadata=metadata,
        params=params,
        tags=tags,
        model_type=model_type,
        step=step,
        model_id=model_id,
        **kwargs,
    )


@translated()
def load_model(model_uri: str | os.PathLike[str], dst_path: str | None = None) -> HydraulicModel:
    """The model at `model_uri`: a path, `runs:/`, `models:/name/1`, `models:/name@alias`, or a store's URI.

    Nothing that the model's files name is run or imported, but for what was saved with `code_paths`. Raises
    MlflowException: INVALID_PARAMETER_VALUE for missing or malformed files, INVALID_STATE for files that do not fit
    their digests or hold a type which is not safe to load, INTERNAL_ERROR for a format newer than this package.
    """
    folder = Path(_download_artifact_from_uri(artifact_uri=str(model_uri), output_path=dst_path))
    conf = _get_flavor_configuration(model_path=str(folder), flavor_name=FLAVOR_NAME)
    _add_code_from_conf_to_system_path(str(folder), conf)
    return read_model(folder)


@translated()
def _load_pyfunc(path: str) -> HydraulicPyfunc:
    """What MLflow calls with the model's folder; the name is MLflow's."""
    return HydraulicPyfunc(read_model(Path(path)))
