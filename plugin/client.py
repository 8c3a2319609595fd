"""MLflow as this process is pointed at it: client, registry and the registry's URI. Called by the command line.

In MLflow's server itself `own_registry` is the client: of the store that the server has open, with no HTTP between.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow import MlflowClient
from mlflow.tracking._model_registry.client import ModelRegistryClient

from mlflow_hydraulic.plugin.models import fetch
from mlflow_hydraulic.plugin.registry import MlflowRegistry

if TYPE_CHECKING:
    from mlflow_hydraulic.plugin.watched_store import WatchedStore


def open_client() -> MlflowClient:
    """MLflow's client for the tracking and registry URIs of this process."""
    return MlflowClient()


def registry_uri() -> str:
    """MLflow's registry of this process: a server or a database."""
    return str(mlflow.get_registry_uri())


def tracking_uri() -> str:
    """MLflow's address of this process."""
    return str(mlflow.get_tracking_uri())


def open_registry(client: MlflowClient, home: Path, workspace: str) -> MlflowRegistry:
    """The registry behind `client`. home: HYDRAULIC_HOME, where pinned models are kept."""
    return MlflowRegistry(client, lambda uri: fetch(uri, home), workspace)


class OwnRegistry(ModelRegistryClient):  # type: ignore[misc]  # MLflow is untyped
    """MLflow's own registry client on a store that is open already."""

    def __init__(self, store: WatchedStore) -> None:
        self._own = store

    @property
    def store(self) -> Any:  # Any: MLflow's store types are not typed
        return self._own


def own_registry() -> OwnRegistry:
    """The client of the registry store that this very server has open: gate and ledger are around it."""
    from mlflow.server import handlers

    return OwnRegistry(handlers._get_model_registry_store())
