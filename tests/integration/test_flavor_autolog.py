"""`flavor.autolog()`: from then on training logs what it does, and until it is taken away again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mlflow
import numpy as np
import pytest

from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.plugin import flavor, tracking
from mlflow_hydraulic.rig import train as training
from mlflow_hydraulic.rig.cycles import Cycles
from mlflow_hydraulic.rig.simulate import simulate_cycles
from mlflow_hydraulic.rig.train import TrainingResult
from tests.integration.conftest import Registry

Train = Callable[[], TrainingResult]


@pytest.fixture(scope="module")
def cycles() -> Cycles:
    return simulate_cycles(cycles=240, seed=0)


@pytest.fixture
def train(cycles: Cycles, registry: Registry) -> Iterator[Train]:
    """Trains the quickest candidate, by the name that `autolog` patches."""
    original = training.train

    def run() -> TrainingResult:
        return training.train(cycles, target="cool_cond_y", candidates=("lda",), nested_choice=False)

    yield run
    flavor.autolog(disable=True)
    assert training.train is original


def runs() -> list[mlflow.entities.Run]:
    found = mlflow.search_runs(output_format="list")
    assert isinstance(found, list)
    return found


def test_it_makes_a_run_of_its_own(train: Train, cycles: Cycles) -> None:
    flavor.autolog(extra_tags={"site": "north"})
    result = train()
    (run,) = runs()
    assert mlflow.active_run() is None
    assert run.info.status == "FINISHED"
    assert run.data.params["target"] == "cool_cond_y"
    assert run.data.metrics == pytest.approx(tracking.metrics(result), nan_ok=True)
    assert (run.data.tags["site"], run.data.tags["hydraulic.origin"]) == ("north", "simulated")
    assert run.data.tags["mlflow.autologging"] == "hydraulic"
    again = flavor.load_model(f"runs:/{run.info.run_id}/model")
    rows = result.model.background
    assert np.array_equal(again.predict_proba(rows), result.model.predict_proba(rows))


def test_it_logs_to_the_active_run_and_registers(train: Train) -> None:
    flavor.autolog(registered_model_name="hydraulic-cooler", silent=True)
    with mlflow.start_run() as active:
        train()
        assert mlflow.active_run() is not None
    assert [run.info.run_id for run in runs()] == [active.info.run_id]
    version = mlflow.MlflowClient().get_model_version("hydraulic-cooler", "1")
    assert version.run_id == active.info.run_id


def test_without_models(train: Train) -> None:
    flavor.autolog(log_models=False)
    train()
    assert len(runs()) == 1
    assert mlflow.search_logged_models(output_format="list") == []


def test_disabled_again_and_exclusive(train: Train) -> None:
    flavor.autolog()
    flavor.autolog(disable=True)
    train()
    assert runs() == []
    flavor.autolog(exclusive=True)
    with mlflow.start_run():
        train()
    assert runs()[0].data.params == {}


def test_training_errors_pass_and_the_run_says_failed(train: Train, cycles: Cycles) -> None:
    flavor.autolog()
    with pytest.raises(BadInput, match="no_such_y"):
        training.train(cycles, target="no_such_y")
    assert [run.info.status for run in runs()] == ["FAILED"]


def test_when_logging_fails_training_goes_on(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(result: TrainingResult, cycles: Cycles) -> None:
        raise OSError("the store is away")

    monkeypatch.setattr(tracking, "log_evidence", away)
    flavor.autolog()
    assert train().model.schema.target == "cool_cond_y"
    assert [run.info.status for run in runs()] == ["FAILED"]
