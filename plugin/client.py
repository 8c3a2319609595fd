"""MLflow as this process is pointed at it: client, registry and the registry's URI. Called by the command line."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow import MlflowClient

from mlflow_hydraulic.plugin.models import fetch
from mlflow_hydraulic.plugin.registry import MlflowRegistry


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
