"""What the monitor asks of MLflow about a pinned version: its files, and what its run measured. Wired by `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.errors import Untrusted
from mlflow_hydraulic.plugin.errors import from_mlflow
from mlflow_hydraulic.plugin.models import fetch
from mlflow_hydraulic.rig.measures import MEASURES, Interval

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEME = "unseen_runs"  # of the back-tests: cycles of runs that the model had not seen


def files_of(model: ModelVersion, home: Path) -> Path:
    """The folder of a pinned version's files, fetched where they are not here; `Untrusted` where they are others.

    A version that nobody knows the digest of (made by hand, on Kubernetes) is taken as the registry has it.
    """
    folder = home / "models" / model.digest
    if model.digest and folder.is_dir() and digest_folder(folder) == model.digest:
        return folder
    found = fetch(model.uri, home)
    if model.digest and found.digest != model.digest:
        raise Untrusted(
            f"{model.uri}: its files have the digest {found.digest[:12]}, and what answers was deployed with "
            f"{model.digest[:12]}: it is judged by nothing else; deploy the version anew"
        )
    return home / "models" / found.digest


def measures_of(client: MlflowClient, model: ModelVersion) -> dict[str, Interval]:
    """What the run of a registered version measured on unseen runs, by measure; those that it logged with bounds."""
    if not model.uri.startswith("models:/") or model.version == "0":
        return {}
    with from_mlflow(f"the run of {model.uri} cannot be read"):
        run_id = client.get_model_version(model.name, model.version).run_id
        logged = client.get_run(run_id).data.metrics if run_id else {}
    found = {}
    for name in MEASURES:
        keys = [f"{SCHEME}/{name}{end}" for end in ("", "_low", "_high")]
        if all(key in logged for key in keys):
            found[name] = Interval(*(float(logged[key]) for key in keys))
    return found
