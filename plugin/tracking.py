"""Logs a training result to MLflow: the run, its evidence, the model, and its version in the registry.

`hydraulic train` calls it.
"""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import requests
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.evidence.database import safe_uri
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.plugin.errors import translated
from mlflow_hydraulic.rig.figures import figures
from mlflow_hydraulic.rig.sensors import condition
from mlflow_hydraulic.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.models.model import ModelInfo

    from mlflow_hydraulic.rig.cycles import Cycles
    from mlflow_hydraulic.rig.measures import Interval
    from mlflow_hydraulic.rig.train import TrainingResult

EXPERIMENT = "hydraulic"
LIBRARIES = ("scikit-learn", "skl2onnx", "numpy", "pandas")
EXAMPLE_ROWS = 3
REACH_S = 10.0


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """Where MLflow has it. uri: `models:/name/version` if registered, else `models:/<model id>`."""

    run_id: str
    experiment_id: str
    model_id: str
    uri: str
    name: str | None
    version: str | None


@translated()
def log_training(
    result: TrainingResult,
    cycles: Cycles,
    *,
    experiment: str = EXPERIMENT,
    registered_model_name: str | None = None,
    run_name: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Log everything in one run of `experiment`, which is made if need be.

    A failure half way leaves a run with status FAILED and no registered version: the version comes last.
    """
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=run_name or f"{result.target} {result.chosen}") as run:
        log_evidence(result, cycles, tags=tags)
        info = log_model(result, registered_model_name=registered_model_name)
    return LoggedModel(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        model_id=info.model_id,
        uri=f"models:/{registered_model_name}/{info.registered_model_version}"
        if registered_model_name
        else f"models:/{info.model_id}",
        name=registered_model_name,
        version=str(info.registered_model_version) if registered_model_name else None,
    )


def log_evidence(result: TrainingResult, cycles: Cycles, *, tags: Mapping[str, str] | None = None) -> None:
    """Log everything but the model to the active run; the flavor's `autolog` calls it too."""
    mlflow.set_tags({**origin_tags(result), **code_tags(), **(tags or {})})
    mlflow.log_params(_params(result, cycles))
    mlflow.log_metrics(metrics(result))
    with warnings.catch_warnings():
        # The labels are integers and never missing.
        warnings.filterwarnings("ignore", ".*Inferred schema contains integer column", UserWarning)
        mlflow.log_input(dataset(result, cycles), context="training")
    _log_files(result)


def log_model(result: TrainingResult, *, registered_model_name: str | None = None) -> ModelInfo:
    """Log the model of `result` to the active run; the flavor's `autolog` calls it too."""
    return flavor.log_model(
        result.model,
        name="model",
        registered_model_name=registered_model_name,
        input_example=result.model.usual(EXAMPLE_ROWS),
        params={"target": result.target, "estimator": result.chosen, "features": result.model.features},
        tags=origin_tags(result),
    )


def reach(tracking_uri: str | None) -> None:
    """Point MLflow at its store, if one is named, and see that it answers: `Unavailable` if not."""
    if tracking_uri:
        mlflow.set_tracking_uri(tracking_uri)
    check_reachable(mlflow.get_tracking_uri())


def check_reachable(tracking_uri: str) -> None:
    """`Unavailable` at once if `tracking_uri` is a server that does not answer; MLflow itself retries for minutes."""
    if not tracking_uri.startswith(("http://", "https://")):
        return
    try:
        requests.get(tracking_uri.rstrip("/") + "/health", timeout=REACH_S)
    except requests.RequestException as error:
        raise Unavailable(
            f"{safe_uri(tracking_uri)}: no MLflow server answers there; start one (mlflow server), "
            "or choose another store with --tracking-uri or MLFLOW_TRACKING_URI"
        ) from error


def metrics(result: TrainingResult) -> dict[str, float]:
    """`unseen_runs/accuracy` with `_low` and `_high` (95 % interval), and so on for each scheme and measure.

    `nested_...`: of the whole procedure, the choice of the candidate included.
    """
    found: dict[str, dict[str, Interval]] = {name: value.measures for name, value in result.evaluations.items()}
    found |= {f"nested_{name}": value for name, value in result.nested.items()}
    values = {f"time/{part}_s": seconds for part, seconds in result.timings_s.items()}
    for scheme, measures in found.items():
        for name, interval in measures.items():
            values[f"{scheme}/{name}"] = interval.value
            values[f"{scheme}/{name}_low"] = interval.low
            values[f"{scheme}/{name}_high"] = interval.high
    return values


def dataset(result: TrainingResult, cycles: Cycles) -> PandasDataset:
    """The features and the target as MLflow's dataset, with the cycles' own digest (MLflow shows 36 characters)."""
    frame = result.features.copy()
    labels = result.model.schema.labels
    frame[result.target] = [labels[number] for number in result.truth]
    with warnings.catch_warnings():
        # A path or a sentence fits several of MLflow's kinds of source; the one that it takes is right.
        warnings.filterwarnings("ignore", "The specified dataset source can be interpreted", UserWarning)
        return from_pandas(
            frame,
            # MLflow takes only what looks like a place as a source, which simulated cycles do not have.
            source=cycles.source if cycles.origin == "measured" else CodeDatasetSource({"source": cycles.source}),
            targets=result.target,
            name=f"hydraulic-rig-{cycles.origin}-{result.model.features}",
            digest=cycles.digest[:36] or None,
        )


def origin_tags(result: TrainingResult) -> dict[str, str]:
    """What the model learned from, so that no page can pass simulated off as measured."""
    return {"hydraulic.origin": result.model.origin, "hydraulic.target": result.target}


def code_tags() -> dict[str, str]:
    """Versions of this package and of the libraries that the numbers hang on; the git commit in a checkout."""
    tags = {"hydraulic.version": VERSION}
    tags |= {f"hydraulic.library.{name}": version(name) for name in LIBRARIES}
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags[MLFLOW_GIT_COMMIT] = commit
        tags["hydraulic.git.dirty"] = str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower()
    return tags


def _params(result: TrainingResult, cycles: Cycles) -> dict[str, object]:
    return {
        "target": result.target,
        "features": result.model.features,
        "feature_count": len(result.model.schema.inputs),
        "estimator": result.chosen,
        "candidates": ", ".join(result.candidates["candidate"]),
        "seed": result.seed,
        "cycles": len(cycles),
        "runs": 0 if cycles.run is None else len(set(cycles.run.tolist())),
        "labels": ", ".join(str(label) for label in result.model.schema.labels),
        "unit": condition(result.target).unit,
        "data_source": cycles.source,
        "data_sha256": cycles.digest,
        "data_origin": cycles.origin,
    }


def _log_files(result: TrainingResult) -> None:
    for name, figure in figures(result).items():
        mlflow.log_figure(figure, f"figures/{name}")
    mlflow.log_table(result.candidates, "candidates.json")
    mlflow.log_table(result.importance, "importance.json")
    if result.nested_choices:
        mlflow.log_dict(result.nested_choices, "nested_choices.json")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out_of_fold.parquet"
        result.predictions().to_parquet(path)
        mlflow.log_artifact(str(path))


def _git(*arguments: str) -> str | None:
    """Git's answer about the folder of this package; None outside a checkout, or without git."""
    try:
        answer = subprocess.run(
            ["git", *arguments],  # noqa: S607 - the user's own git
            cwd=Path(__file__).resolve().parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
