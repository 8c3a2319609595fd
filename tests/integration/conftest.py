"""Fixtures of the tests that run real MLflow: a small model, and a tracking store with a registry in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.rig.sensors import SENSORS
from mlflow_hydraulic.schema import Field, Schema


def make_rows(count: int, seed: int = 0) -> pd.DataFrame:
    """Invented sensor means, shape (count, 17): the first column decides the class."""
    values = np.random.default_rng(seed).normal(100, 10, (count, len(SENSORS)))
    rows: pd.DataFrame = pd.DataFrame(values, columns=[sensor.column for sensor in SENSORS])
    return rows


def make_labels(rows: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.digitize(rows["psa_bar"], [95, 105]).choose([3, 20, 100])


@pytest.fixture(scope="session")
def small_model() -> HydraulicModel:
    """A forest of ten trees that tells cooler conditions 3, 20 and 100 apart in invented data."""
    rows = make_rows(300)
    return HydraulicModel(
        estimator=RandomForestClassifier(10, random_state=0).fit(rows, make_labels(rows)),
        schema=Schema(
            inputs=tuple(Field(name=sensor.column, unit=sensor.unit) for sensor in SENSORS),
            target="cool_cond_y",
            labels=(3, 20, 100),
        ),
        features="means",
        origin="simulated",
        background=rows.head(60),
    )


@pytest.fixture(scope="session")
def small_saved(small_model: HydraulicModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_model` as saved by the flavor; tests must not change it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    flavor.save_model(small_model, folder)
    return folder


@dataclass(frozen=True)
class Registry:
    """A tracking store and registry of its own: `uri` for MLFLOW_TRACKING_URI of other processes."""

    uri: str
    artifacts: Path


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: making them takes seconds, a copy takes none."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def registry(_empty_store: Path, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry that `mlflow` in this process uses while the test runs."""
    file = tmp_path / "mlflow.db"
    file.write_bytes(_empty_store.read_bytes())
    here = Registry(uri=f"sqlite:///{file}", artifacts=tmp_path / "artifacts")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(here.uri)
    mlflow.set_registry_uri(here.uri)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("rig", artifact_location=here.artifacts.as_uri()))
    yield here
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(None)
