"""Fixtures for every tier: a scrubbed environment, the rig's real data where present, free ports."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """A shell starts what runs in its background with Ctrl-C ignored; what a test starts would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def fresh_stores() -> Iterator[None]:
    """No store that one file of tests chose is the next file's: `set_registry_uri(None)` leaves its variable set."""
    yield
    stores = sys.modules.get("mlflow.tracking")
    if stores is not None:
        stores.set_tracking_uri(None)
        stores.set_registry_uri(None)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def scrubbed_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting, tracking URI or home of the person who runs the tests reaches a test."""
    for name in list(os.environ):
        if name.startswith(("HYDRAULIC_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HYDRAULIC_HOME", str(tmp_path_factory.mktemp("hydraulic-home")))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    fluent = sys.modules.get("mlflow.tracking.fluent")
    if fluent is not None:  # an experiment that another test chose is not there in this test's store
        monkeypatch.setattr(fluent, "_active_experiment_id", None)


def _find_rig_data() -> Path | None:
    candidates = [Path(os.environ["HYDRAULIC_DATA"])] if os.environ.get("HYDRAULIC_DATA") else []
    candidates.append(ROOT.parent / "shared" / "data")
    return next((path for path in candidates if (path / "hydraulic_1hz.parquet").exists()), None)


RIG_DATA = _find_rig_data()  # read at import: the environment is scrubbed before each test


def pytest_report_header() -> str:
    if RIG_DATA is None:
        return "rig data: NOT FOUND, so tests run on SIMULATED cycles where they can and skip where they cannot"
    return f"rig data: real measurements in {RIG_DATA}"


@pytest.fixture(scope="session")
def rig_data() -> Path:
    """The folder of the rig's real measurements; skips, and says so, where it is not present."""
    if RIG_DATA is None:
        pytest.skip("the rig's real data is not here: set HYDRAULIC_DATA to a folder that holds hydraulic_1hz.parquet")
    return RIG_DATA


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago."""
    return services.free_port()
