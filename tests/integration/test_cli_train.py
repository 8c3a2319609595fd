"""`hydraulic train` and `hydraulic data features` as a person types them, on a small file of simulated cycles."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import mlflow_hydraulic.rig.find as finding
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.rig.cycles import SENSOR_COLUMNS, Cycles
from mlflow_hydraulic.rig.features import CycleMeans
from mlflow_hydraulic.rig.write import write_parquet
from tests.labelled import labelled_cycles


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Cycles:
    """Training finds these cycles."""
    cycles = labelled_cycles()
    monkeypatch.setattr(finding, "find_cycles", lambda *_: cycles)
    return cycles


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_a_dry_run_prints_schemes_candidates_and_that_the_data_is_simulated(given: Cycles) -> None:
    result = run("train", "--target", "cool_cond_y", "--quick", "--dry-run")
    assert result.exit_code == 0, result.output
    for words in ("unseen runs", "contiguous time", "<- chosen by unseen runs", "nothing was logged"):
        assert words in result.stdout
    assert f"{len(given)} simulated cycles  ** SIMULATED DATA **" in result.stdout
    assert "SIMULATED DATA: these figures say nothing of a real rig" in result.stderr


@pytest.mark.slow
def test_what_is_registered_is_named_with_the_next_command(
    given: Cycles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    words = ("--register", "Rig_Cooler", "--tracking-uri", uri, "--quick")
    monkeypatch.chdir(tmp_path)  # MLflow puts artifacts of a local store beside it
    result = run("train", "--target", "cool_cond_y", *words)
    again = run("train", "--target", "cool_cond_y", *words, "--json")
    mlflow.set_tracking_uri(before)
    assert result.exit_code == 0, result.output
    assert "mlflow deployments create -t seldon-local --name rig-cooler -m models:/Rig_Cooler/1" in result.stdout
    report = json.loads(again.stdout)
    assert report["model"]["uri"] == "models:/Rig_Cooler/2"
    assert report["origin"] == given.origin == "simulated"
    accuracy = report["measures"]["unseen_runs"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]


def test_mistakes_are_one_line_before_any_training(given: Cycles, free_port: int) -> None:
    assert given is not None
    assert "give either --target or --all-targets" in run("train").output
    assert "give either" in run("train", "--target", "cool_cond_y", "--all-targets").output
    assert "a dry run logs nothing" in run("train", "--all-targets", "--dry-run", "--register", "x").output
    away = run("train", "--target", "cool_cond_y", "--tracking-uri", f"http://127.0.0.1:{free_port}")
    assert away.exit_code != 0
    assert "no MLflow server answers there" in away.output


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "cycles.parquet"
    write_parquet(labelled_cycles(), path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_features_are_written_whole(parquet: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    result = run("data", "features", str(parquet), "-o", str(out))
    assert result.exit_code == 0, result.output
    read = {
        "csv": lambda: pd.read_csv(out, index_col="cycle"),
        "parquet": lambda: pd.read_parquet(out),
        "json": lambda: pd.read_json(out),
    }[suffix]()
    expected = CycleMeans().fit_transform(labelled_cycles()).to_numpy()
    assert list(read.columns) == SENSOR_COLUMNS
    assert abs(read.to_numpy() - expected).max() < 1e-9
    assert not list(tmp_path.glob(f".out.{suffix}-*"))


def test_a_request_for_chosen_cycles(parquet: Path) -> None:
    result = run("data", "features", str(parquet), "--cycles", "1,3-4", "--json-request")
    body = json.loads(result.stdout)["dataframe_split"]
    assert body["columns"] == SENSOR_COLUMNS
    assert len(body["data"]) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--cycles", "3-x"), "is no number and no range"),
        (("--cycles", "120"), "the data has the cycles 0 to 119"),
        (("--cycles", "4-3"), "the data has the cycles 0 to 119"),
        (("-o", "out.xlsx"), "must end in one of .csv, .parquet, .json"),
        (("-o", "/dev/null/out.csv"), "cannot be written"),
    ],
)
def test_mistakes_name_the_way_out(parquet: Path, words: tuple[str, ...], says: str) -> None:
    result = run("data", "features", str(parquet), *words)
    assert result.exit_code != 0
    assert says in result.output
