"""Every page of metrics that this project writes, read by Prometheus' own parser, with names by its conventions."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from mlflow_hydraulic import exposition
from mlflow_hydraulic.cli.health import Health
from mlflow_hydraulic.deploy_targets.exposition import samples
from mlflow_hydraulic.deploy_targets.local.counts import GONE, Counts, merged
from mlflow_hydraulic.deploy_targets.local.table import Replica
from mlflow_hydraulic.deploy_targets.local.upstream import Upstream
from mlflow_hydraulic.record.intake import Intake
from mlflow_hydraulic.record.store import FILE, Store
from mlflow_hydraulic.schema import Field, Schema
from mlflow_hydraulic.scoring.metrics import Metrics
from mlflow_hydraulic.scoring.values import ModelCard

NASTY = 'a "quoted"\\ name\nof two lines {x="y"} 1'
SCHEMA = Schema(inputs=(Field(name="ps1_bar", unit="bar"),), target="cool_cond_y", labels=(3, 20, 100))


class Loop:
    beat = time.monotonic()


def scorer(_folder: Path) -> str:
    metrics = Metrics(ModelCard(name=NASTY, version="1", digest="d", engine="onnx", schema=SCHEMA))
    metrics.answered("POST", "/predict", 200, 0.004)
    metrics.anomalous = 2
    return metrics.page().decode()


def router(folder: Path) -> str:
    counts = Counts("prod", "cooler")
    counts.serve({"v1": ("1", [Replica("s1", "1", Upstream("127.0.0.1", 1), ready=True)])})
    counts.answered("v1", "1", 200, 0.004)
    counts.unanswered(503)
    own = exposition.page(exposition.of_process("router"))
    return counts.render() + merged([({"replica": "router"}, own), ({"replica": "s1"}, scorer(folder))])


def loop(_folder: Path) -> str:
    told: dict[str, tuple[str, Callable[[], float]]] = {
        "hydraulic_controller_leader": ("Whether it leads.", lambda: True),
        "hydraulic_ship_bytes_total": ("Bytes.", lambda: 10**12),
    }
    with Health(Loop(), 0, told, "127.0.0.1") as health:
        return health.answer("/metrics")[1]


def intake(folder: Path) -> str:
    sent: list[Any] = []  # Any: ASGI's messages

    async def ask(taking: Intake, path: str) -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        await taking({"type": "http", "path": path, "method": "GET", "headers": []}, receive, send)

    with Store(folder / FILE) as store:
        taking = Intake(store)
        asyncio.run(ask(taking, "/nowhere"))
        asyncio.run(ask(taking, "/metrics"))
    return str(sent[-1]["body"].decode())


@pytest.mark.parametrize("page", [scorer, router, loop, intake])
def test_a_page_is_what_prometheus_reads_and_each_family_stands_in_it_once(
    page: Callable[[Path], str], tmp_path: Path
) -> None:
    text = page(tmp_path)
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), names
    assert sum(len(family.samples) for family in families) == sum(1 for _ in samples(text)), "as we read it ourselves"
    for family in families:
        assert family.documentation
        assert re.fullmatch(r"(hydraulic|http|process)_[a-z_]+", family.name)
        assert family.type != "unknown"
        assert not re.search(r"_(ms|mb|seconds_total_seconds)$", family.name), "base units"
    assert {"process_cpu_seconds", "process_start_time_seconds", "hydraulic_build_info"} <= set(names)


@given(st.text(), st.floats(allow_nan=False))
def test_whatever_a_label_holds_is_read_back(value: str, number: float) -> None:
    lines = exposition.family("x_total", "counter", "X.", [({"label": value}, number)])
    if any(char in value for char in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
        return  # our reader splits there; no page of ours has such names
    [found] = samples(exposition.page(lines))
    assert (found.labels["label"], found.value) == (value, number)


def test_a_router_that_lives_for_long_forgets_predictors_that_are_long_gone() -> None:
    counts = Counts("prod", "cooler")
    for version in range(200):
        counts.serve({f"v{version}": (str(version), [])})
        counts.answered(f"v{version}", str(version), 200, 0.004)
    told = {sample.labels["predictor"] for sample in samples(counts.render()) if "predictor" in sample.labels}
    assert told == {f"v{version}" for version in range(199 - GONE, 200)}


def test_series_begin_at_nothing_and_a_shadow_has_no_answers() -> None:
    counts = Counts("prod", "cooler")
    counts.serve({"v1": ("1", []), "shadow": ("2", [])}, "shadow")
    found = [sample for sample in samples(counts.render()) if sample.name == "hydraulic_router_requests_total"]
    assert {sample.labels["predictor"] for sample in found} == {"v1"}
    assert {sample.labels["code"] for sample in found} == {"200", "500", "502", "503", "504"}
    assert {sample.value for sample in found} == {0.0}
