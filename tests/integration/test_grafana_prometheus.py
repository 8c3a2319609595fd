"""Every query of the dashboard "Service" is asked of a real Prometheus, which scrapes a deployment and a monitor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from mlflow_hydraulic.bundle.digest import digest_folder
from mlflow_hydraulic.cli import main
from mlflow_hydraulic.cli.health import Health
from mlflow_hydraulic.cli.monitor import _metrics
from mlflow_hydraulic.deploy_targets.local.target import LocalTarget
from mlflow_hydraulic.deployment import Deployment, ModelVersion, Predictor
from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.monitor.grafana.service import service_dashboard
from mlflow_hydraulic.monitor.loop import Monitor
from mlflow_hydraulic.plugin import flavor
from mlflow_hydraulic.rig.model import HydraulicModel
from mlflow_hydraulic.settings import Settings
from tests.integration.conftest import make_rows
from tests.prometheus import Prometheus, program, prometheus
from tests.services import free_port
from tests.support.grafana import filled, queries
from tests.support.local import kill_leftovers, until
from tests.support.watching import World, normal

ROWS = make_rows(2, seed=3).to_numpy().tolist()
ONE = {
    "namespace": "prod",
    "deployment": "cooler",
    "predictor": "default",
    "objective": "0.999",
    "__rate_interval": "1m",
    "__range": "15m",
    "__interval": "15s",
}
ALL = {**ONE, "namespace": ".*", "deployment": "(cooler|pump)", "predictor": ".*"}
ASKED = list(queries(service_dashboard()))
COUNTED = (
    "predictor:hydraulic_request_duration_seconds:p99_5m",
    "deployment:hydraulic_error_ratio:rate1h",
    "hydraulic_monitor_looks_total",
    "ALERTS",
)
LABEL_VALUES = "label_values("


@pytest.fixture(scope="module")
def scraped(small_model: HydraulicModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with the shipped rules, a deployment that was asked, a monitor that has looked, and a dead target."""
    program("prometheus")
    home = tmp_path_factory.mktemp("scraped")
    settings = Settings(home=home, drain_timeout_s=5.0)
    rows = make_rows(300)  # that it knows which rows are odd
    known = replace(small_model, reference=make_reference(rows.to_numpy(), tuple(rows.columns)))
    flavor.save_model(known, home / "saved")
    digest = digest_folder(home / "saved")
    shutil.copytree(home / "saved", home / "models" / digest)
    model = ModelVersion(uri="models:/m/1", name="m", version="1", digest=digest)
    target = LocalTarget(settings)
    main_predictor = Predictor(name="default", model=model)
    try:
        seen = target.apply(Deployment(name="cooler", namespace="prod", predictors=(main_predictor,)), mode="create")
        assert seen.state == "healthy", seen
        loop = _looked(home)
        with Health(loop, 0, _metrics(loop), "127.0.0.1", component="monitor") as health:
            config = _configured(home, {"monitor": health.port, "controller": free_port()})
            with prometheus(home, config) as started:

                def asked() -> bool:
                    requests.post(f"{seen.url}/invocations", json={"inputs": ROWS}, timeout=60).raise_for_status()
                    return all(started.query(one) for one in COUNTED)

                until(asked, "scraped twice, and the rules counted", 60)
                yield started
    finally:
        target.delete("prod", "cooler")
        assert kill_leftovers(home) == []


def _looked(home: Path) -> Monitor:
    """A monitor after its first look, at a small world of its own."""
    (home / "world").mkdir()
    world = World(home / "world")
    world.ask("cooler", normal(50, 1))
    loop = Monitor(world.watch(), world.engine, 60.0, "test:1", "default")
    loop._turn()
    return loop


def _configured(home: Path, ports: dict[str, int]) -> Path:
    """What `hydraulic monitor prometheus` writes, hurried."""
    targets = [word for name, port in ports.items() for word in ("--target", f"{name}=127.0.0.1:{port}")]
    command = ["monitor", "prometheus", "-o", str(home / "rules"), *targets]
    done = CliRunner().invoke(main, command, env={"HYDRAULIC_HOME": str(home)})
    assert done.exit_code == 0, done.output
    for path in (home / "rules").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        for often in ("interval: 15s", "interval: 30s"):
            text = text.replace(often, "interval: 1s")
        path.write_text(text, encoding="utf-8")
    assert len(json.loads((home / "rules" / "targets.json").read_text())) == 3
    return home / "rules" / "prometheus.yml"


def answer(started: Prometheus, text: str, values: dict[str, str]) -> list[Any]:
    """Series, or a variable's values; NaN counts as none."""
    text = filled(text, values)
    if text.startswith(LABEL_VALUES):  # Grafana's own word for this
        selector, _, label = text.removeprefix(LABEL_VALUES).removesuffix(")").rpartition(", ")
        found = requests.get(f"{started.url}/api/v1/label/{label}/values", params={"match[]": selector}, timeout=30)
        return list(found.json()["data"])
    return [one for one in started.query(text) if one["value"][1] != "NaN"]


@pytest.mark.parametrize("values", [ONE, ALL], ids=["one", "all"])
@pytest.mark.parametrize(("where", "text"), [(where, text) for where, _, text in ASKED], ids=[one[0] for one in ASKED])
def test_every_query_gives_data(scraped: Prometheus, where: str, text: str, values: dict[str, str]) -> None:
    assert answer(scraped, text, values), f"{where}: {filled(text, values)}"


def test_panels_say_what_happened(scraped: Prometheus) -> None:
    texts = {where: text for where, _, text in ASKED}

    def number(where: str) -> float:
        (series,) = answer(scraped, texts[where], ONE)
        return float(series["value"][1])

    assert number("Up A") == 1 and number("Error budget left A") == 1 and number("Restarts A") == 0
    assert number("Requests A") > 0 and number("Errors A") == 0 and 0 < number("Latency p99 A") < 10
    assert number("Memory A") > 10e6
    assert answer(scraped, texts["$deployment"], ONE) == ["cooler"]
    (model,) = answer(scraped, texts["Models that serve A"], ONE)
    assert model["metric"]["version"] == "1"
    assert answer(scraped, texts["Requests A"], {**ONE, "deployment": "other"}) == []
