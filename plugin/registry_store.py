"""What MLflow loads for the schemes `hydraulic+sqlite`, `hydraulic+postgresql` and `hydraulic+mysql`.

Imports nothing of MLflow at the top: this module is loaded while `import mlflow` is still running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.store.model_registry.abstract_store import AbstractStore


def open_store(store_uri: str, tracking_uri: str | None = None) -> AbstractStore:  # noqa: ARG001 - MLflow passes it
    """MLflow's own SQL registry store for `store_uri`, with the gate and the ledger around every change."""
    from mlflow_hydraulic.plugin.watched_store import make_store

    return make_store(store_uri)
