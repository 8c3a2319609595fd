"""The model that the benchmarks serve: a random forest of 100 trees on the rig's 17 means, saved for both sides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestClassifier

from benchmarks.peers import MLFLOW
from benchmarks.report import say
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.rig.find import find_cycles
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.rig.sensors import SENSORS, condition
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.settings import read_settings

TARGET = "cool_cond_y"


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Where the same fitted forest lies twice, and a request for one row of it.

    ours: saved by this project's flavor, with its bundle.
    sklearns: saved by MLflow's own sklearn flavor.
    row: one cycle that was measured (or simulated: see `origin`).
    body: that row as MLflow's `dataframe_split`, in a file for the load generator.
    """

    model: HydraulicModel
    ours: Path
    sklearns: Path
    row: pd.DataFrame
    body: Path
    origin: str


def grow_forest(folder: Path) -> Forest:
    """Train on all cycles that are here (never downloads) and save under `folder`."""
    cycles = find_cycles(read_settings(), fetch=False)
    assert cycles.conditions is not None
    say(f"random forest of 100 trees on {len(cycles)} {cycles.origin} cycles from {cycles.source}")
    X, y = cycles.means, cycles.conditions[TARGET]
    estimator = RandomForestClassifier(100, random_state=0).fit(X, y)
    schema = Schema(
        inputs=tuple(Field(name=sensor.column, unit=sensor.unit) for sensor in SENSORS),
        target=TARGET,
        labels=condition(TARGET).classes,
    )
    background = X.sample(300, random_state=0)
    model = HydraulicModel(
        estimator=estimator, schema=schema, features="means", origin=cycles.origin, background=background
    )
    flavor.save_model(model, path=folder / "ours")
    mlflow.sklearn.save_model(
        estimator,
        path=folder / "sklearns",
        signature=infer_signature(X, y),
        skops_trusted_types=["sklearn.tree._tree.Tree"],
        pip_requirements=MLFLOW,
    )
    row = X.iloc[[1000 % len(X)]]
    body = folder / "row.json"
    body.write_text(json.dumps({"dataframe_split": row.to_dict(orient="split", index=False)}), encoding="utf-8")
    return Forest(
        model=model,
        ours=folder / "ours",
        sklearns=folder / "sklearns",
        row=row,
        body=body,
        origin=cycles.origin,
    )
