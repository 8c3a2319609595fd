"""A real Prometheus with the rules that are shipped: by promtool, and with a real scorer, router and controller."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest
import requests
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.deploy_targets.local.folder import Folder
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Observed, Predictor
from mlflow_hydraulic.settings import Settings
from tests.integration.conftest import make_rows
from tests.prometheus import Prometheus, program, prometheus
from tests.services import free_port
from tests.support.local import kill_leftovers, until

ROWS = make_rows(2, seed=3).to_numpy().tolist()
SHIPPED = Path(str(files("mlflow_hydraulic.monitor.prometheus")))
DEADLINE_S = 60.0


def promtool(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [program("promtool"), *words], cwd=folder, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_nothing_wrong_and_the_rules_do_what_they_say(tmp_path: Path) -> None:
    for path in (*SHIPPED.glob("*.yml"), Path(__file__).parent / "rules_test.yml"):
        shutil.copy(path, tmp_path)
    (tmp_path / "targets.json").write_text("[]")
    promtool(tmp_path, "check", "rules", "recording.yml", "alerts.yml")
    promtool(tmp_path, "check", "config", "prometheus.yml")
    promtool(tmp_path, "test", "rules", "rules_test.yml")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HYDRAULIC_HOME", str(home))
    yield Settings(home=home, drain_timeout_s=5.0)
    assert kill_leftovers(home) == []


@contextmanager
def deployed(settings: Settings, saved: Path) -> Iterator[Observed]:
    digest = digest_folder(saved)
    shutil.copytree(saved, settings.home / "models" / digest)
    model = ModelVersion(uri="models:/m/1", name="m", version="1", digest=digest)
    target = LocalTarget(settings)
    predictor = Predictor(name="default", model=model)
    wanted = Deployment(name="cooler", namespace="prod", predictors=(predictor,))
    try:
        yield target.apply(wanted, mode="create")
    finally:
        target.delete("prod", "cooler")


@contextmanager
def controller(folder: Path) -> Iterator[str]:
    """A real one whose registry is away: it goes on, and its page tells of it."""
    port = free_port()
    environ = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "mlflow_hydraulic.cli", "controller", "--dry-run", "--watch"]
    with (folder / "controller.log").open("wb") as log:
        process = subprocess.Popen([*command, "--health-port", str(port)], env=environ, stdout=log, stderr=log)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def scraping(folder: Path, *targets: str) -> Iterator[Prometheus]:
    """As a user would do it, but that it looks every second."""
    words = [word for target in targets for word in ("--target", target)]
    done = CliRunner().invoke(main, ["monitor", "prometheus", "-o", str(folder), *words])
    assert done.exit_code == 0, done.output
    for name in ("prometheus.yml", "recording.yml"):
        path = folder / name
        path.write_text(path.read_text().replace("15s", "1s").replace("30s", "1s"))
    with prometheus(folder, folder / "prometheus.yml") as running:
        yield running


def page(place: str) -> dict[str, set[str]]:
    """The families of a page, by the official parser, with their kinds; each may stand there once."""
    text = requests.get(f"http://{place}/metrics", timeout=10).text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} twice"
        assert family.documentation, family.name
        found[family.name] = {family.type}
    return found


def test_every_recording_rule_has_data_from_real_processes(
    settings: Settings, small_saved: Path, tmp_path: Path
) -> None:
    program("prometheus")
    with deployed(settings, small_saved) as seen, controller(tmp_path) as loop:
        state = Folder(settings.home, "prod", "cooler").read_seen()
        assert state is not None
        scorer = f"127.0.0.1:{state.scorers[0].port}"
        router = seen.url.split("/")[2]
        with scraping(tmp_path / "rules", f"scorer={scorer}", f"controller={loop}") as running:

            def ask() -> bool:
                return requests.post(f"{seen.url}/invocations", json={"inputs": ROWS}, timeout=60).status_code == 200

            rules = yaml.safe_load((SHIPPED / "recording.yml").read_text())["groups"]
            records = {rule["record"] for group in rules for rule in group["rules"]}

            def missing() -> set[str]:
                assert ask()
                return {one for one in records if not running.query(f'{one}{{deployment="cooler"}}')}

            until(lambda: not missing(), f"data of {records}", DEADLINE_S)
            wanted = {"hydraulic-router", "hydraulic-scorer", "hydraulic-controller"}
            until(lambda: {one["metric"]["job"] for one in running.query("up == 1")} == wanted, "all three", DEADLINE_S)
            [up] = running.query('predictor:hydraulic_up:bool{predictor="default"}')
            assert up["value"][1] == "1"
            [memory] = running.query('predictor:hydraulic_memory_bytes:sum{predictor="default"}')
            assert float(memory["value"][1]) > 1e7
            health = {rule["name"]: rule["health"] for g in running.api("rules")["groups"] for rule in g["rules"]}
            assert set(health.values()) == {"ok"}, health
        for place in (router, scorer, loop):
            found = page(place)
            assert {
                "process_cpu_seconds",
                "process_resident_memory_bytes",
                "process_start_time_seconds",
            } <= found.keys()
            assert "hydraulic_build_info" in found


def test_without_a_folder_the_targets_are_printed_and_wrong_ones_refused(settings: Settings) -> None:
    done = CliRunner().invoke(main, ["monitor", "prometheus", "--target", "controller=localhost:8081"])
    assert json.loads(done.output) == [{"targets": ["localhost:8081"], "labels": {"job": "hydraulic-controller"}}]
    wrong = CliRunner().invoke(main, ["monitor", "prometheus", "--target", "localhost:8081"])
    assert wrong.exit_code == 2
    assert "NAME=HOST:PORT" in wrong.output
