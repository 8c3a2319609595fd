"""A training result in a real MLflow store: what the run, the model and the registry hold afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from mlflow_hydraulic.errors import Unavailable
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.plugin.tracking import LoggedModel, check_reachable, log_training
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.train import TrainingResult, train
from tests.labelled import labelled_cycles


@pytest.fixture(scope="module")
def trained() -> tuple[TrainingResult, Cycles]:
    cycles = labelled_cycles()
    return train(cycles, target="cool_cond_y", candidates=("lda-shrunk-auto", "lda")), cycles


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.create_experiment("rig", artifact_location=(tmp_path / "artifacts").as_uri())
    yield tmp_path
    mlflow.set_tracking_uri(before)


@pytest.fixture
def logged(store: Path, trained: tuple[TrainingResult, Cycles]) -> LoggedModel:
    assert store.exists()
    return log_training(*trained, experiment="rig", registered_model_name="cooler", tags={"who": "a test"})


@pytest.mark.slow
def test_the_run_holds_the_evidence(
    logged: LoggedModel, trained: tuple[TrainingResult, Cycles], tmp_path: Path
) -> None:
    result, cycles = trained
    run = mlflow.get_run(logged.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["estimator"] == result.chosen
    assert run.data.params["data_sha256"] == cycles.digest
    assert run.data.tags["hydraulic.origin"] == "simulated"
    assert run.data.tags["who"] == "a test"
    assert "hydraulic.library.scikit-learn" in run.data.tags
    for scheme in ("unseen_runs", "contiguous_time", "random_split", "nested_unseen_runs"):
        low, value, high = (run.data.metrics[f"{scheme}/accuracy{end}"] for end in ("_low", "", "_high"))
        assert low <= value <= high
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.digest == cycles.digest[:36]
    assert given.dataset.name == "hydraulic-rig-simulated-means"
    folder = Path(mlflow.artifacts.download_artifacts(run_id=logged.run_id, dst_path=str(tmp_path / "down")))
    for name in ("confusion_matrix", "calibration", "feature_importance"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    table = json.loads((folder / "candidates.json").read_text())
    assert [row[0] for row in table["data"]] == ["lda-shrunk-auto", "lda"]
    assert len(pd.read_parquet(folder / "out_of_fold.parquet")) == len(cycles)


@pytest.mark.slow
def test_the_registry_holds_the_model(logged: LoggedModel, trained: tuple[TrainingResult, Cycles]) -> None:
    result, _ = trained
    assert (logged.uri, logged.version) == ("models:/cooler/1", "1")
    assert mlflow.MlflowClient().get_model_version("cooler", "1").run_id == logged.run_id
    pyfunc = mlflow.pyfunc.load_model(logged.uri)
    signature = pyfunc.metadata.signature
    assert signature is not None
    assert signature.inputs.input_names() == list(result.model.schema.names)
    example = pyfunc.input_example
    pd.testing.assert_frame_equal(example, result.model.usual(len(example)))
    assert (flavor.load_model(logged.uri).predict(example) == result.model.predict(example)).all()


@pytest.mark.slow
def test_a_model_that_is_not_registered_has_an_address_too(store: Path, trained: tuple[TrainingResult, Cycles]) -> None:
    assert store.exists()
    logged = log_training(*trained, experiment="rig")
    assert (logged.name, logged.version, logged.uri) == (None, None, f"models:/{logged.model_id}")
    assert mlflow.pyfunc.load_model(logged.uri).predict(trained[0].features).shape == (len(trained[1]),)


@pytest.mark.slow
def test_a_failure_half_way_leaves_a_failed_run_and_no_version(
    store: Path, trained: tuple[TrainingResult, Cycles], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(flavor, "log_model", full)
    with pytest.raises(OSError, match="No space left"):
        log_training(*trained, experiment="rig", registered_model_name="cooler")
    (run,) = mlflow.search_runs(experiment_names=["rig"], output_format="list")
    assert run.info.status == "FAILED"
    with pytest.raises(MlflowException):
        mlflow.MlflowClient().get_registered_model("cooler")


def test_a_server_that_is_away_is_found_out_at_once(free_port: int) -> None:
    with pytest.raises(Unavailable, match=r"no MLflow server answers there.*--tracking-uri"):
        check_reachable(f"http://127.0.0.1:{free_port}")
    check_reachable("sqlite:///mlflow.db")
