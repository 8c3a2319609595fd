"""Where a model's files lie, for init containers that do not ask MLflow. Called by the targets on Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.plugin.errors import from_mlflow
from mlflow_hydraulic.plugin.models import LOGGED, REGISTERED

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Storage:
    """Asks MLflow behind `client`."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def of(self, model: ModelVersion) -> str:
        """The URI of the model's folder, as the server keeps it: often `mlflow-artifacts:/...`, the server's own proxy.

        A URI that is no name of MLflow's is the answer itself. Raises what `from_mlflow` makes of MLflow's errors.
        """
        uri = model.uri
        with from_mlflow(f"the storage of {uri} cannot be told"):
            if LOGGED.fullmatch(uri):
                return str(self._client.get_logged_model(model.name).artifact_location)
            if match := REGISTERED.fullmatch(uri):
                return str(self._client.get_model_version_download_uri(match["name"], match["version"]))
            if uri.startswith("runs:"):
                run, _, path = uri.removeprefix("runs:").lstrip("/").partition("/")
                return f"{str(self._client.get_run(run).info.artifact_uri).rstrip('/')}/{path}"
        return uri
