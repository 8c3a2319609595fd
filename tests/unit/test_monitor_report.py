"""The report: what it tells, and that nothing in it is obeyed, fetched or run."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_hydraulic.cli.monitor_report import made
from mlflow_hydraulic.errors import NotFound
from mlflow_hydraulic.monitor.report_page import page
from tests.support.watching import World, normal


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def text_of(world: World, deployment: str = "cooler") -> str:
    watched = world.watched()
    running = world.targets["prod"].deployments[deployment]
    return page(made(watched, running, world.now - timedelta(days=1), world.now + timedelta(seconds=1)))


def test_it_tells_every_level_with_inputs_accuracy_and_alerts(world: World) -> None:
    ids = world.ask("cooler", normal(300, 5, shift=1.5))
    world.tell(ids[:120], 20)
    world.watch().look()
    text = text_of(world)
    for said in ("tsa_temp", "120 of 300 rows (40%)", "an estimate, no measurement", "at most 1 false red in 90 days"):
        assert said in text, said
    assert re.search(r"Drift is judged on the newest \d+ of 300 rows: windows are judged in calibrated", text)
    assert text.count("<figure") == 3 and "opened" in text and "version 3, digest" in text
    first = re.search(r"<figcaption><strong>([^<]+)", text)
    assert first and first[1] == "tsa_temp"  # the surest deviation comes first


def test_it_fetches_and_runs_nothing_and_escapes_every_text(world: World) -> None:
    hostile = "</style><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"
    world.versions.failing["3"] = NotFound(hostile)
    world.ask("cooler", normal(50, 5))
    world.watch().look()
    world.targets["prod"].deployments["cooler"] = replace(
        world.targets["prod"].deployments["cooler"], environment="prod"
    )
    text = text_of(world)
    assert "&lt;script&gt;" in text
    assert not re.search(r"<(script|img|link|iframe|object)\b", text)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"<!doctype[^>]*>", "", text))
    assert "default-src &#x27;none&#x27;" in text


def test_with_nothing_recorded_it_says_so(world: World) -> None:
    text = text_of(world)
    assert "no request came yet" in text and "There was none in this time." in text
