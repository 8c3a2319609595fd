"""Where the registry is, told without MLflow: the same as MLflow tells, for each way to say it."""

from __future__ import annotations

import sys

import mlflow
import pytest

from mlflow_hydraulic.plugin import client
from mlflow_hydraulic.plugin.address import registry_uri


@pytest.mark.parametrize(
    "said",
    [
        {"MLFLOW_TRACKING_URI": "sqlite:///a.db"},
        {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000/mlflow"},
        {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000", "MLFLOW_REGISTRY_URI": "hydraulic+sqlite:///b.db"},
        {"MLFLOW_TRACKING_URI": "postgresql://ml@db/ml", "MLFLOW_REGISTRY_URI": ""},
        {"MLFLOW_REGISTRY_URI": "postgresql://ml@db/ml"},
        {"MLFLOW_TRACKING_URI": "databricks"},
        {"MLFLOW_TRACKING_URI": "databricks://us"},
        {"MLFLOW_TRACKING_URI": "databricks", "MLFLOW_REGISTRY_URI": "sqlite:///c.db"},
    ],
)
def test_it_is_what_mlflow_says(said: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    expected = mlflow.get_registry_uri()
    assert registry_uri() == expected
    monkeypatch.delitem(sys.modules, "mlflow")  # as in a process that never loaded it
    assert registry_uri() == expected


def test_what_a_program_set_counts_more_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///a.db")
    monkeypatch.setattr("mlflow.tracking._model_registry.utils._registry_uri", "sqlite:///set.db")
    assert registry_uri() == "sqlite:///set.db"


def test_where_nothing_is_said_mlflow_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "registry_uri", lambda: "asked")
    monkeypatch.delitem(sys.modules, "mlflow")
    assert registry_uri() == "asked"
