"""A deployment on this machine records by itself: who answered, shadows, replicas; nothing is left when it ends."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.deploy_targets.local.locks import holder
from mlflow_hydraulic.deploy_targets.local.shipping import SHIP_LOCK
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.record.opening import open_record
from mlflow_hydraulic.record.store import Store
from mlflow_hydraulic.settings import Settings
from tests.integration.conftest import make_rows
from tests.support.local import kill_leftovers, until
from tests.support.recorded import ids

ROWS = make_rows(2, seed=3).to_numpy().tolist()
ASKED = 40


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    yield Settings(home=tmp_path, drain_timeout_s=5.0)
    assert kill_leftovers(tmp_path) == []


@pytest.fixture
def model(small_saved: Path, settings: Settings) -> ModelVersion:
    digest = digest_folder(small_saved)
    shutil.copytree(small_saved, settings.home / "models" / digest)
    return ModelVersion(uri="models:/m/1", name="m", version="1", digest=digest)


def stored(settings: Settings) -> list[str]:
    """What the shipper has brought so far; nobody helps it here."""
    try:
        with Store(settings.home / "record" / "record.db", make=False) as store:
            return ids(store)
    except Exception:  # noqa: BLE001 - not there yet
        return []


def test_all_that_a_deployment_answers_is_recorded(settings: Settings, model: ModelVersion) -> None:
    target = LocalTarget(settings)
    main = Predictor(name="default", model=model, replicas=2)
    shadow = Predictor(name="shadow", model=model)
    seen = target.apply(Deployment(name="cooler", namespace="prod", predictors=(main,), shadow=shadow), mode="create")
    assert seen.state == "healthy", seen
    sent = []
    try:
        for number in range(ASKED):
            headers = {"X-Prediction-Id": f"p{number}", "X-Hydraulic-Caller": "a test", "X-Hydraulic-Predictor": "me"}
            answer = requests.post(f"{seen.url}/invocations", json={"inputs": ROWS}, headers=headers, timeout=60)
            assert answer.status_code == 200
            sent.append(answer.headers["X-Prediction-Id"])
        until(lambda: len(stored(settings)) >= 2 * ASKED, "the shipper, by itself")
        shipper = holder(settings.home / "record" / SHIP_LOCK)
        assert shipper
        os.kill(shipper, signal.SIGKILL)
        requests.post(f"{seen.url}/invocations", json={"inputs": ROWS}, timeout=60).raise_for_status()
    finally:
        target.delete("prod", "cooler")
    with open_record(settings) as store:
        window = store.window(namespace="prod", deployment="cooler", predictor="default", target="seldon-local")
        assert window.ids.tolist()[: 2 * ASKED] == [one for one in sent for _ in range(2)]
        assert len(window) == 2 * (ASKED + 1)
        assert len(store.window(namespace="prod", deployment="cooler", predictor="shadow")) == 2 * (ASKED + 1)
        assert {one.source.served.predictor for one in store.recorded()} == {"default", "shadow"}
        assert {one.source.served.version for one in store.recorded()} == {"1"}
        (mine, _) = store.find("p0")
        assert mine.caller == "a test"
        assert store.missing() == []
    assert not list((settings.home / "record" / "journal").iterdir())
