"""`hydraulic replay` against real scorers and a real deployment: each row once, whoever is killed; accuracy tried."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from mlflow_hydraulic.accuracy.measures import measures
from mlflow_hydraulic.accuracy.store import ActualStore
from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.record.opening import open_record
from mlflow_hydraulic.settings import Settings
from tests.integration.conftest import make_labels, make_rows
from tests.servers import ROOT
from tests.services import free_port
from tests.support.local import kill_leftovers, until
from tests.support.recorded import ids

ROWS = 60


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A table of rows with their true values."""
    rows = make_rows(ROWS, seed=5)
    rows["cool_cond_y"] = make_labels(rows)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def environ(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HYDRAULIC_")}
    return {**kept, "PYTHONPATH": str(ROOT), "HYDRAULIC_HOME": str(home), **more}


@contextmanager
def scorer(model: Path, home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "serve", str(model), "--port", str(port)]
    with (home / "serve.log").open("ab") as log:
        process = subprocess.Popen(command, env=environ(home, HYDRAULIC_RECORD="on"), stderr=log)
    try:
        until(lambda: process.poll() is not None or answers(port), f"the scorer: {home / 'serve.log'}")
        assert process.poll() is None, (home / "serve.log").read_text()
        yield process
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def started(home: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "replay", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environ(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home
    )


def done(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    said, told = process.communicate(timeout=120)
    assert process.returncode == code, (process.returncode, said, told)
    return said, told


def refused(home: Path, *arguments: object) -> str:
    """What is said to who sends rows that were sent."""
    result = CliRunner(env={"HYDRAULIC_HOME": str(home)}).invoke(main, ["replay", *map(str, arguments)])
    assert result.exit_code == 5 and "--again" in result.output
    return result.output


def recorded(home: Path) -> list[str]:
    with open_record(Settings(home=home)) as store:
        return ids(store)


def sent(home: Path) -> int:
    """Rows that are answered, as the replay wrote down."""
    logs = list((home / "replay").glob("*.log"))
    return sum(log.read_text().count("\nd ") for log in logs)


def test_each_row_once_though_server_and_replay_are_killed(source: Path, small_saved: Path, tmp_path: Path) -> None:
    port = free_port()
    arguments = (source, "--to", f"http://127.0.0.1:{port}", "--rate", "30/s", "--actuals", "share=0.5,repeat=0.2")
    with scorer(small_saved, tmp_path, port) as serving:
        first = started(tmp_path, *arguments)
        until(lambda: sent(tmp_path) >= 5, "some rows")
        serving.kill()
        serving.wait(30)
        with scorer(small_saved, tmp_path, port):  # the replay waited for it
            before = sent(tmp_path)
            until(lambda: sent(tmp_path) > before + 3 or first.poll() is not None, "rows after the server is back")
            first.kill()
            first.communicate(timeout=60)
            assert "--resume" in refused(tmp_path, *arguments)
            second = started(tmp_path, *arguments, "--resume")
            before = sent(tmp_path)
            until(lambda: sent(tmp_path) > before + 3 or second.poll() is not None, "rows after --resume")
            second.send_signal(signal.SIGINT)
            _, told = done(second, 130)
            assert "stopped before row" in told and "SIMULATED" in told
            said, _ = done(started(tmp_path, *arguments, "--resume", "--json"))
            facts = json.loads(said)
            assert facts["finished"] and facts["repeated"] == 0 and facts["refused"] == {}
            assert "were sent to" in refused(tmp_path, *arguments)
    found = recorded(tmp_path)
    assert len(found) == ROWS and set(Counter(found).values()) == {1}
    assert [int(one.rpartition("-")[2]) for one in found] == list(range(ROWS))
    with ActualStore(tmp_path / "record" / "actuals.db") as store, open_record(Settings(home=tmp_path)) as record:
        assert ROWS * 0.2 < store.join(record).joined < ROWS * 0.8


def test_a_deployment_by_name_with_feedback_is_measured(source: Path, small_saved: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, drain_timeout_s=5.0)
    digest = digest_folder(small_saved)
    shutil.copytree(small_saved, tmp_path / "models" / digest)
    model = ModelVersion(uri="models:/m/1", name="m", version="1", digest=digest)
    target = LocalTarget(settings)
    predictors = (
        Predictor(name="default", model=model, traffic=50),
        Predictor(name="other", model=model, traffic=50),
    )
    shadow = Predictor(name="shadow", model=model)
    deployed = Deployment(name="cooler", namespace="prod", predictors=predictors, shadow=shadow)
    try:
        assert target.apply(deployed, mode="create").state == "healthy"
        arguments = (source, "--to", "cooler", "--rate", "max", "--actuals", "delay=1h,via=feedback", "--json")
        facts = json.loads(done(started(tmp_path, *arguments))[0])
        assert facts["answered"] == ROWS and facts["actuals"] == {"brought": ROWS, "waiting": 0}
        more = (
            "--inject",
            "missing=psa_bar:0.5",
            "--inject",
            "offset=psa_bar:+2bar@30",
            "--seed",
            3,
            "--dialect",
            "tutorial",
        )
        again = json.loads(done(started(tmp_path, *arguments[:-3], "--json", *more, "--rows", 40))[0])
        assert again["key"] != facts["key"] and again["next"] == 40
        assert again["answered"] + again["refused"]["400"] == 40 and again["answered"] > 5
    finally:
        target.delete("prod", "cooler")
        assert kill_leftovers(tmp_path) == []
    with ActualStore(tmp_path / "actuals.db") as store, open_record(settings) as record:
        store.join(record)
        found = {one.served.predictor: one for one in store.labelled(namespace="prod", deployment="cooler")}
        assert len(found["default"]) + len(found["other"]) == ROWS, "feedback need not reach who answered"
        assert len(found["shadow"]) == ROWS
        assert measures(found["shadow"])["accuracy"].value > 0.8


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--to", "http://127.0.0.1:1"), 8, "is it running"),
        (("--to", "cooler", "--env", "moon"), 4, "there are dev, prod"),
        (("--to", "cooler"), 4, "not found"),
        (("--to", "cooler", "--rate", "often"), 2, "10/s, 600/m"),
    ],
)
def test_what_cannot_be_done_is_said(source: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    result = CliRunner().invoke(main, ["replay", str(source), *arguments])
    assert result.exit_code == code and says in result.output
