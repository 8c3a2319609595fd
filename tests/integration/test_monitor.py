"""A real scorer that records, asked with the rig's real rows: a fault is red on the right input, no fault is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from sklearn.ensemble import RandomForestClassifier

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.drift.faults import Fault, inject
from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.record.recorder import record_folder
from mlflow_hydraulic.record.store import FILE, Store
from mlflow_hydraulic.rig.load import load_cycles
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.rig.sensors import SENSORS
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.settings import Settings
from tests.integration.conftest import Registry
from tests.support.local import kill_leftovers, until

pytestmark = [pytest.mark.needs_real_data, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
FAULT = Fault(kind="unit", inputs=("psa_bar",))  # a sensor that tells psi


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    yield Settings(home=tmp_path / "home", drain_timeout_s=5.0)
    assert kill_leftovers(tmp_path / "home") == []


def monitor(registry: Registry, settings: Settings, *arguments: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": registry.uri}
    environ |= {"HYDRAULIC_HOME": str(settings.home)}
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "monitor", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    return done.stdout


def shipped(settings: Settings, name: str) -> int:
    """How many rows of a deployment are in the record's store: scorers write a journal, another process ships it."""
    try:
        with Store(record_folder(settings) / FILE, make=False) as record:
            return len(record.window(namespace="prod", deployment=name))
    except NotFound:
        return 0


def test_a_fault_is_red_on_its_input_and_no_fault_is_not(
    rig_data: Path, registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    cycles = load_cycles(rig_data)
    names = [sensor.column for sensor in SENSORS]
    assert cycles.conditions is not None and cycles.run is not None
    means = cycles.means[names]
    labels = cycles.conditions["cool_cond_y"].to_numpy()
    chosen = np.flatnonzero(cycles.run == np.bincount(cycles.run).argmax())[:100]  # consecutive real cycles
    model = HydraulicModel(
        estimator=RandomForestClassifier(10, random_state=0).fit(means, labels),
        schema=Schema(
            inputs=tuple(Field(name=sensor.column, unit=sensor.unit) for sensor in SENSORS),
            target="cool_cond_y",
            labels=(3, 20, 100),
        ),
        features="means",
        origin="real",
        background=means.head(60),
        reference=make_reference(means.to_numpy(), names, run=cycles.run),
    )
    flavor.save_model(model, tmp_path / "model")
    digest = digest_folder(tmp_path / "model")
    shutil.copytree(tmp_path / "model", settings.home / "models" / digest)
    version = ModelVersion(uri="models:/cooler/1", name="cooler", version="1", digest=digest)
    target = LocalTarget(settings)
    faulty = inject(means.to_numpy()[chosen], names, FAULT)
    try:
        for name, rows in (("well", means.to_numpy()[chosen]), ("faulty", faulty)):
            predictor = Predictor(name="default", model=version)
            seen = target.apply(Deployment(name=name, namespace="prod", predictors=(predictor,)), mode="create")
            assert seen.state == "healthy", seen
            for row in rows:
                body = {"dataframe_split": pd.DataFrame([row], columns=names).to_dict("split")}
                requests.post(f"{seen.url}/invocations", json=body, timeout=60).raise_for_status()
        until(lambda: shipped(settings, "well") == shipped(settings, "faulty") == len(chosen), "all rows are shipped")
        found: list[dict[str, Any]] = json.loads(monitor(registry, settings, "--once", "--json"))["found"]
        status = json.loads(monitor(registry, settings, "status", "--json"))
        monitor(registry, settings, "report", "faulty", "--env", "prod", "-o", str(tmp_path / "report.html"))
    finally:
        for name in ("well", "faulty"):
            target.delete("prod", name)
    drift = {
        name: [f for f in found if f["subject"]["deployment"] == name and f["level"] == "drift"]
        for name in ("well", "faulty")
    }
    assert "red" not in {one["colour"] for one in drift["well"]}, drift["well"]
    red = [one for one in drift["faulty"] if one["colour"] == "red"]
    assert red and any(one["features"][:1] == ["psa_bar"] for one in red), drift["faulty"]
    colours = {(one["deployment"], one["level"]): one["colour"] for one in status}
    assert colours["faulty", "drift"] == "red" and colours["well", "drift"] != "red"
    assert "psa_bar" in (tmp_path / "report.html").read_text(encoding="utf-8")
