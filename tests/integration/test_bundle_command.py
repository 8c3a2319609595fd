"""`hydraulic bundle` on models that MLflow saved and registered: by folder, by URI, honest and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner, Result
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.bundle.read import read_bundle
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.plugin import flavor
from tests.unit.bundle_models import make_model


def hydraulic(*words: object) -> Result:
    return CliRunner().invoke(main, ["bundle", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    flavor.save_model(make_model(RandomForestClassifier(5, random_state=0, n_jobs=2)), tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_model_is_verified_after_loading(saved: Path) -> None:
    done = hydraulic("verify", saved)
    assert done.exit_code == 0, done.output
    assert "verified: the bundle is what this Python model gives" in done.output
    value = json.loads(hydraulic("verify", "--json", saved).stdout)
    assert value["verified"] is True
    assert value["summary"]["largest_difference"] == 0
    assert value["digest"] == read_bundle(saved / "bundle").digest
    assert hydraulic("digest", saved).stdout.split() == [digest_folder(saved)]


def test_a_registered_model_is_shown_verified_and_built_by_its_uri(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    with mlflow.start_run():
        model = make_model(RandomForestClassifier(3, random_state=0))
        flavor.log_model(model, name="model", registered_model_name="cooler")
    assert "certificate: passed" in hydraulic("show", "models:/cooler/1").output
    assert hydraulic("verify", "models:/cooler/1").exit_code == 0
    assert hydraulic("build", "models:/cooler/1", "-o", tmp_path / "made").exit_code == 0
    assert read_bundle(tmp_path / "made").certificate is not None
    again = hydraulic("build", "models:/cooler/1", "-o", tmp_path / "made")
    assert again.exit_code == 5
    absent = hydraulic("verify", "models:/cooler/7")
    assert absent.exit_code == 4
    assert "models:/cooler/7" in absent.output


def test_the_bundle_of_another_model_has_exit_code_7(saved: Path, tmp_path: Path) -> None:
    flavor.save_model(make_model(RandomForestClassifier(5, random_state=1)), tmp_path / "other")
    for file in (saved / "bundle").iterdir():
        file.write_bytes((tmp_path / "other" / "bundle" / file.name).read_bytes())
    done = hydraulic("verify", saved)
    assert done.exit_code == 7
    assert "digests: estimator" in done.output
    value = json.loads(hydraulic("verify", "--json", saved).stdout)
    assert value["verified"] is False
    assert "digests: estimator" in value["problem"]


def test_a_model_without_graph_says_so_and_is_verified(tmp_path: Path) -> None:
    flavor.save_model(make_model(HistGradientBoostingClassifier(max_iter=2, random_state=0)), tmp_path / "saved")
    shown = hydraulic("show", tmp_path / "saved")
    assert ("served by pyfunc" in shown.output) or ("model.onnx" in shown.output)
    done = hydraulic("verify", tmp_path / "saved")
    assert done.exit_code == 0, done.output


def test_a_folder_that_is_no_saved_model_is_named(tmp_path: Path) -> None:
    done = hydraulic("verify", tmp_path)
    assert done.exit_code == 4
    assert "holds no bundle" in done.output
    typo = hydraulic("show", "nowhere")
    assert typo.exit_code == 4
    assert "there is no such folder" in typo.output
