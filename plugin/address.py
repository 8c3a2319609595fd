"""Which registry this process works with, told without MLflow's seconds of import where the environment says it.

Called by the command line, whose commands on the evidence database need nothing else of MLflow.
"""

from __future__ import annotations

import os
import sys


def registry_uri() -> str:
    """As `mlflow.get_registry_uri()`. MLflow itself is asked where it is loaded, or has its own default to say."""
    said = os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI") or ""
    if "mlflow" in sys.modules or not said or said.startswith("databricks"):
        from mlflow_hydraulic.plugin import client

        return client.registry_uri()
    return said
